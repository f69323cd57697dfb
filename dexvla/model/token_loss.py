"""Next-token loss without holding the logits: a vocabulary of 151 936 makes them the largest tensor of a step.

Shapes: n rows (labelled tokens), h hidden width, v vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ROWS = 128  # rows whose logits exist at a time: 78 MB in float32


def token_loss(hidden_nh: Tensor, weight_vh: Tensor, labels_n: Tensor, *, rows: int = _ROWS) -> Tensor:
    """Sum over the rows of the cross-entropy of hidden @ weight.T against the labels; float32 scalar.

    The same as projecting everything and calling torch's cross_entropy in float32. Logits are made `rows` at a time
    and made again in the backward pass; gradients reach hidden states and weight. Under autocast the product runs in
    autocast's type.
    """
    loss: Tensor = _TokenLoss.apply(hidden_nh, weight_vh, labels_n, rows)
    return loss


class _TokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_nh: Tensor, weight_vh: Tensor, labels_n: Tensor, rows: int) -> Tensor:
        device = hidden_nh.device.type
        ctx.compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_nh.dtype
        ctx.rows = rows
        weight = weight_vh.to(ctx.compute)
        loss = torch.zeros((), dtype=torch.float32, device=hidden_nh.device)
        log_sums = torch.empty(len(labels_n), dtype=torch.float32, device=hidden_nh.device)
        for part in _parts(len(labels_n), rows):
            logits = F.linear(hidden_nh[part].to(ctx.compute), weight).float()
            log_sums[part] = logits.logsumexp(-1)
            loss += (log_sums[part] - logits.gather(1, labels_n[part, None]).squeeze(1)).sum()
        ctx.save_for_backward(hidden_nh, weight_vh, labels_n, log_sums)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        hidden_nh, weight_vh, labels_n, log_sums = ctx.saved_tensors
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        weight = weight_vh.to(ctx.compute)
        to_hidden = torch.empty_like(hidden_nh) if wants_hidden else None
        to_weight = torch.zeros_like(weight_vh) if wants_weight else None
        with torch.autocast(hidden_nh.device.type, enabled=False):
            for part in _parts(len(labels_n), ctx.rows):
                hidden = hidden_nh[part].to(ctx.compute)
                logits = F.linear(hidden, weight).float()
                share = logits.sub_(log_sums[part, None]).exp_()  # softmax, then minus one at the label
                share[torch.arange(len(share), device=share.device), labels_n[part]] -= 1
                share = share.mul_(gradient).to(ctx.compute)
                if to_hidden is not None:
                    to_hidden[part] = share @ weight
                if to_weight is not None and to_weight.dtype == ctx.compute:
                    to_weight.addmm_(share.T, hidden)
                elif to_weight is not None:
                    to_weight += share.T @ hidden
        return to_hidden, to_weight, None, None


def _parts(length: int, rows: int) -> list[slice]:
    return [slice(start, start + rows) for start in range(0, length, rows)]

"""Attention, with a way around a slow kernel: in bfloat16 on a CPU, the backward pass of torch's fused attention.

It takes 33 to 98 ms for 32 samples of 50 to 66 tokens, where the same composed of products takes 2 to 6 ms (torch 2.13,
two cores with AMX, benchmarks/small_step.py), and is still the slower one at 400 tokens. So there, and only while
gradients are wanted, attention is composed; everywhere else it is torch's.

Shapes: b samples, h heads, l queries, k keys, d values of a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

COMPOSED = "composed"  # its name among transformers' kinds of attention
_HIDDEN = -1e4  # added to the score of a key that is not to be seen: the exponential is nought


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """The format that a matrix product of `tensor` runs in: its own, or autocast's."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


def better_composed(tensor: Tensor) -> bool:
    """Whether attention in the format of `tensor`, where it lies, is to be composed now."""
    return tensor.device.type == "cpu" and torch.is_grad_enabled() and compute_dtype(tensor) == torch.bfloat16


def attend(query_bhld: Tensor, key_bhkd: Tensor, value_bhkd: Tensor, *, scale: float | None = None) -> Tensor:
    """(b, h, l, d): every query sees every key."""
    if better_composed(value_bhkd):
        return composed(query_bhld, key_bhkd, value_bhkd, scale=scale)
    return F.scaled_dot_product_attention(query_bhld, key_bhkd, value_bhkd, scale=scale)


def composed(
    query_bhld: Tensor, key_bhkd: Tensor, value_bhkd: Tensor, *, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """(b, h, l, d): softmax(q k^T scale + bias) v. bias: (b, 1, l, k), 0 where a query sees a key, else far below."""
    batch, heads, length, width = query_bhld.shape
    scale = width**-0.5 if scale is None else scale
    query, key, value = (part.flatten(0, 1) for part in (query_bhld * scale, key_bhkd, value_bhkd))
    scores = torch.bmm(query, key.transpose(1, 2))
    if bias is not None:
        scores = (scores.view(batch, heads, length, -1) + bias.to(scores.dtype)).view_as(scores)
    # half the cost of a softmax in float32; inside, torch computes it in float32 anyway
    with torch.autocast(scores.device.type, enabled=False):
        weights = torch.softmax(scores, -1)
    return torch.bmm(weights, value).view(batch, heads, length, -1)


def _language_attention(
    module: torch.nn.Module,
    query_bhld: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """As transformers' language model calls it; keys and values may have fewer heads. Returns (b, l, h, d)."""
    groups = query_bhld.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return composed(query_bhld, key, value, bias=attention_mask, scale=scaling).transpose(1, 2), None


def _language_mask(**options: Any) -> Tensor:
    """Finite, so that a query at padding, which sees nothing, gets numbers rather than NaN."""
    mask: Tensor = eager_mask(**options)
    return mask.clamp(min=_HIDDEN).to(torch.bfloat16)


AttentionInterface.register(COMPOSED, _language_attention)
AttentionMaskInterface.register(COMPOSED, _language_mask)

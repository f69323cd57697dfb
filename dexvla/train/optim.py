"""AdamW, its groups and its learning rate."""

import math

import torch
from torch import nn

from dexvla.spec import OptimSpec, Schedule
from dexvla.train.state import trained_parameters


def learning_rate(optim: OptimSpec, step: int, steps: int) -> float:
    """Rate of the 0-based `step`: linear warm-up, then constant or half a cosine down to 0."""
    warmup = math.ceil(optim.warmup_ratio * steps)
    if step < warmup:
        return optim.learning_rate * (step + 1) / warmup
    if optim.schedule is Schedule.CONSTANT:
        return optim.learning_rate
    return optim.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def make_optimizer(model: nn.Module, optim: OptimSpec) -> torch.optim.AdamW:
    """AdamW; norms, biases and positional tables are not decayed; the towers may have rates of their own.

    Each group carries `scale`, its rate relative to the schedule's."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in trained_parameters(model).items():
        rate = optim.learning_rate
        if ".visual." in name or name.startswith("views."):
            rate = optim.vision_learning_rate or rate
        elif name.startswith(("backbone.", "text.")):
            rate = optim.llm_learning_rate or rate
        decayed = parameter.ndim >= 2 and "pos_embed" not in name and "position_embeddings" not in name
        groups.setdefault((rate / optim.learning_rate, decayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "scale": scale, "weight_decay": optim.weight_decay if decayed else 0.0}
            for (scale, decayed), parameters in groups.items()
        ],
        lr=optim.learning_rate,
        betas=optim.betas,
        eps=optim.eps,
        fused=next(model.parameters()).device.type
        in ("cpu", "cuda"),  # one pass over each weight: four times as fast on a CPU
    )

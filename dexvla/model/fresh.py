"""Fresh weights for experts and fusions: every kind of layer has a rule, and one without a rule is an error."""

import math

import torch
from torch import Tensor, nn

from dexvla.spec import Initialisation

_NORMS = (nn.LayerNorm, nn.GroupNorm)
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.ConvTranspose1d)


def init_weights(
    module: nn.Module, how: Initialisation, generator: torch.Generator, *, tables: tuple[str, ...] = ()
) -> None:
    """Set every parameter of `module`: norms to the identity, biases to zero, weights by `how`.

    zero: Xavier uniform. upstream: Linear N(0, 0.02), as the reference ends up with; its rule says nothing about
    convolutions, which get torch's own (Kaiming uniform with a = sqrt 5).
    tables: names of parameters of `module` itself that the caller fills. Raises TypeError for anything else that has
    parameters: memory that nobody wrote to is not a way to begin.
    """
    for name, part in module.named_modules():
        if isinstance(part, _NORMS):
            if part.weight is not None:
                nn.init.ones_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, _WEIGHTED):
            _init_weight(part.weight, isinstance(part, nn.Linear), how, generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        else:
            unknown = [own for own, _ in part.named_parameters(recurse=False) if name or own not in tables]
            if unknown:
                raise TypeError(f"no rule for fresh weights of {name or 'module'}.{unknown[0]} ({type(part).__name__})")


def close(*layers: nn.Linear | nn.Conv1d) -> None:
    """Zero weights and bias: whatever reads these layers is not disturbed until they have learnt something."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _init_weight(weight: Tensor, linear: bool, how: Initialisation, generator: torch.Generator) -> None:
    if how is Initialisation.ZERO:
        nn.init.xavier_uniform_(weight, generator=generator)
    elif linear:
        nn.init.normal_(weight, std=0.02, generator=generator)
    else:
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)

"""What resuming needs beside a checkpoint: trained weights as they were, optimiser moments, moving average.

Safetensors and JSON only: nothing here is a pickle.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dexvla.errors import CheckpointError
from dexvla.files import atomic_directory, write_json
from dexvla.train.runs import CHECKPOINT_MANIFEST


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


class MovingAverage:
    """Exponential moving average of the trained weights, float32."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.weights = {name: value.detach().float().clone() for name, value in trained_parameters(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for name, value in trained_parameters(model).items():
            self.weights[name].lerp_(value.detach().float(), 1 - self._decay)


def save_state(
    folder: Path, *, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage | None
) -> None:
    """Write `folder` atomically: model, optimizer and average as safetensors, step in its manifest."""
    parameters = trained_parameters(model)
    moments: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state[parameter].items():
            moments[f"{name}|{key}"] = torch.as_tensor(value).detach().contiguous()
    with atomic_directory(folder) as temporary:
        save_file(
            {name: value.detach().contiguous() for name, value in parameters.items()}, temporary / "model.safetensors"
        )
        save_file(moments, temporary / "optimizer.safetensors")
        if average is not None:
            save_file(average.weights, temporary / "average.safetensors")
        write_json(temporary / CHECKPOINT_MANIFEST, {"step": step, "format": 1})


def load_state(
    folder: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage | None
) -> None:
    """Put the state of `folder` back, in place. Raises CheckpointError if it belongs to another model."""
    parameters = trained_parameters(model)
    weights = load_file(folder / "model.safetensors")
    if weights.keys() != parameters.keys():
        odd = sorted(weights.keys() ^ parameters.keys())[0]
        raise CheckpointError(f"{folder}: holds other weights than this run trains, first difference: {odd}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    state: dict[nn.Parameter, dict[str, torch.Tensor]] = {parameter: {} for parameter in parameters.values()}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        name, _, entry = key.rpartition("|")
        target = parameters[name]
        # a fused optimiser counts steps where the weights are, the others on the CPU
        moves = value.ndim or optimizer.defaults.get("fused")
        state[target][entry] = value.to(target.device) if moves else value
    for parameter, entries in state.items():
        if entries:
            optimizer.state[parameter] = entries
    if average is not None:
        for name, value in load_file(folder / "average.safetensors").items():
            average.weights[name].copy_(value)

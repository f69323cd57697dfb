"""What resuming needs beside a checkpoint: trained weights as they were, optimiser moments, moving average.

Safetensors and JSON only: nothing here is a pickle.
"""

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import nn

from dexvla.checksums import check_sums, sums_of
from dexvla.errors import CheckpointError
from dexvla.files import atomic_directory, write_json
from dexvla.model.weights import save_file
from dexvla.train.runs import CHECKPOINT_MANIFEST

_log = logging.getLogger(__name__)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


class OptimizerState(Protocol):
    """What a trainer's state is made from: an optimiser, or what stands for one that is split over processes."""

    @property
    def state(self) -> Mapping[Any, Mapping[str, Any]]: ...  # by parameter


class GatheredState:
    """Optimiser moments of whole parameters."""

    def __init__(self) -> None:
        self.state: dict[nn.Parameter, dict[str, torch.Tensor]] = {}


class WholeAverage(Protocol):
    weights: dict[str, torch.Tensor]

    def update(self, model: nn.Module) -> None: ...


class MovingAverage:
    """Exponential moving average of the trained weights, float32."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.weights = {name: value.detach().float().clone() for name, value in trained_parameters(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        values = [value.float() for value in trained_parameters(model).values()]
        torch._foreach_lerp_(list(self.weights.values()), values, 1 - self._decay)


def save_state(
    folder: Path,
    *,
    step: int,
    model: nn.Module,
    optimizer: OptimizerState,
    average: WholeAverage | None,
    recent: Mapping[str, Any] | None = None,
) -> None:
    """Write `folder` atomically: model, optimizer and average as safetensors, step in its manifest.

    recent: what spikes are judged by, see dexvla.train.spikes.
    """
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
        manifest = {"step": step, "format": 2, "recent": recent or {}, "files": sums_of(temporary)}
        write_json(temporary / CHECKPOINT_MANIFEST, manifest)


def read_recent(folder: Path) -> dict[str, Any]:
    """What was given as `recent`; empty for a state from before."""
    found = json.loads((folder / CHECKPOINT_MANIFEST).read_bytes()).get("recent", {})
    return found if isinstance(found, dict) else {}


def load_state(
    folder: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer, average: WholeAverage | None
) -> None:
    """Put the state of `folder` back, in place. Raises CheckpointError if it belongs to another model."""
    parameters = trained_parameters(model)
    weights, moments, averages = read_state(folder, names=parameters.keys(), average=average is not None)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    for name, entries in moments.items():
        parameter = parameters[name]
        # a fused optimiser counts steps where the weights are, the others on the CPU
        fused = optimizer.defaults.get("fused")
        optimizer.state[parameter] = {
            entry: value.to(parameter.device) if value.ndim or fused else value for entry, value in entries.items()
        }
    if average is not None:
        for name, value in averages.items():
            average.weights[name].copy_(value)


def read_state(
    folder: Path, *, names: Collection[str], average: bool
) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """(trained weights, moments of each, moving average or nothing) of `folder`; `names` must be those it holds.

    Every file is compared with its sha256 first. Raises CheckpointError.
    """
    _check(folder)
    weights = load_file(folder / "model.safetensors")
    if weights.keys() != set(names):
        odd = sorted(weights.keys() ^ set(names))[0]
        raise CheckpointError(f"{folder}: holds other weights than this run trains, first difference: {odd}")
    moments: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        name, _, entry = key.rpartition("|")
        moments.setdefault(name, {})[entry] = value
    return weights, moments, load_file(folder / "average.safetensors") if average else {}


def _check(folder: Path) -> None:
    """Raises CheckpointError if a file is not what was saved."""
    manifest = json.loads((folder / CHECKPOINT_MANIFEST).read_bytes())
    if manifest.get("format") == 1:
        _log.warning("%s was written before sums were kept: nothing says whether it is as it was saved", folder)
        return
    remedy = (
        "The run cannot go on from it: restore its folder from a backup, or start a new run, of stage 3 from the last "
        "checkpoint if that is whole"
    )
    check_sums(folder, manifest["files"], source=f"its {CHECKPOINT_MANIFEST}", remedy=remedy)

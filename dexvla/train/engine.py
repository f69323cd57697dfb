"""How a step is taken and how its state is gathered: plainly, or split over processes by DeepSpeed (sharded.py)."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn

from dexvla.spec import Precision, TrainSpec
from dexvla.train.launch import Launch, zero_settings
from dexvla.train.optim import make_optimizer
from dexvla.train.precision import used_precision
from dexvla.train.state import MovingAverage, OptimizerState, WholeAverage, load_state, trained_parameters

# How long processes wait for one of them, which may write a checkpoint to a slow disk or validate: NCCL's own ten
# minutes end runs of large models.
PATIENCE = timedelta(hours=4)
_PRECISION = {
    Precision.FLOAT32: "float32 weights and compute",
    Precision.BF16: "float32 weights, bfloat16 compute (autocast)",
    Precision.BF16_PURE: "bfloat16 weights and compute",
}


def under_deepspeed() -> bool:
    """Whether `accelerate launch` started this process with a DeepSpeed configuration."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def launch_of(accelerator: Accelerator) -> Launch:
    """How this run is spread over processes."""
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    _, optimiser = zero_settings(plugin.deepspeed_config["zero_optimization"]) if plugin is not None else (None, "none")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
    return Launch(
        processes=accelerator.num_processes,
        machines=max(1, accelerator.num_processes // here),
        sharded=plugin is not None,
        offload=optimiser != "none",
    )


def device_of(spec: TrainSpec) -> torch.device:
    """Where the run will compute, before accelerate is asked."""
    return torch.device("cuda" if spec.device != "cpu" and torch.cuda.is_available() else "cpu")


def mixed_precision(spec: TrainSpec, device: torch.device) -> str:
    return "bf16" if used_precision(spec.precision, device) is Precision.BF16 else "no"


class Engine:
    """One process, or several with all weights in each (DDP).

    model: what the loop calls, wrapped for several processes. average: the moving average of the weights, if any.
    precision: in words, for the checkpoint's manifest. steps_first: the norm is known only after the step.
    """

    steps_first = False
    model: nn.Module
    average: WholeAverage | None

    def __init__(self, accelerator: Accelerator, model: nn.Module, spec: TrainSpec) -> None:
        self._accelerator, self._plain, self._spec = accelerator, model, spec
        self.precision = _PRECISION[used_precision(spec.precision, accelerator.device)]
        self._prepare()

    def _prepare(self) -> None:
        self._plain.to(self._accelerator.device)
        self._optimizer = make_optimizer(self._plain, self._spec.optim)
        self.average = MovingAverage(self._plain, self._spec.ema_decay) if self._spec.ema_decay is not None else None
        self.model = self._accelerator.prepare_model(self._plain)

    def load(self, folder: Path) -> None:
        """Go on from a trainer's state, whichever engine wrote it."""
        load_state(folder, model=self._plain, optimizer=self._optimizer, average=self.average)

    def set_learning_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["scale"]

    def micro_step(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around the forward and backward pass of one accumulation step."""
        return nullcontext() if last else self._accelerator.no_sync(self.model)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`; over the processes they are averaged."""
        self._accelerator.backward(loss)

    def step(self, takes: Callable[[float], bool]) -> tuple[float, bool]:
        """Clip the gradients, step, forget them, renew the moving average.

        takes: whether gradients of this norm may go into the weights; if not, only they are forgotten.
        Returns their norm before clipping, and whether the step was taken, the same on all processes.
        """
        found = self._accelerator.clip_grad_norm_(self.model.parameters(), self._spec.optim.max_grad_norm)
        norm = float(found or 0.0)
        taken = self._agreed(takes(norm))
        if taken:
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if taken and self.average is not None:
            self.average.update(self._plain)
        return norm, taken

    def _agreed(self, taken: bool) -> bool:
        """The first process decides for all: where norms differ in their last bits, one that takes a step that another
        leaves out would have other weights from then on."""
        if self._accelerator.num_processes == 1:
            return taken
        return bool(broadcast(torch.tensor([float(taken)], device=self._accelerator.device)).item())

    @contextmanager
    def whole(self) -> Iterator[OptimizerState]:
        """All processes enter: for the length of the block the first one has all trained weights in the model at full
        precision, the moments in what is yielded, and the moving average."""
        yield self._optimizer

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """All processes enter: the first one has the moving average, if there is any, in place of the weights."""
        if self.average is None or not self._accelerator.is_main_process:
            yield
            return
        with swapped(self._plain, self.average.weights):
            yield


@contextmanager
def swapped(model: nn.Module, weights: dict[str, torch.Tensor]) -> Iterator[None]:
    """Other values in the trained weights for the length of the block."""
    parameters = trained_parameters(model)
    kept = {name: value.detach().clone() for name, value in parameters.items()}
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(weights[name])
        yield
        for name, value in parameters.items():
            value.copy_(kept[name])

"""DeepSpeed ZeRO-2 under the loop: gradients, float32 weights, moments and moving average split over the processes.

Checkpoints and the trainer's state are gathered into the same files as without DeepSpeed, parameter by parameter, so
that a run may go on with or without it and nothing needs consolidating afterwards.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, KwargsHandler
from torch import nn

from dexvla.errors import UserError
from dexvla.spec import Precision, TrainSpec
from dexvla.train.configs import DEEPSPEED_MISSING, has_deepspeed
from dexvla.train.engine import PATIENCE, Engine, swapped
from dexvla.train.optim import make_optimizer
from dexvla.train.state import GatheredState, OptimizerState, read_state, trained_parameters

_MOMENTS = ("exp_avg", "exp_avg_sq")


def make_sharded_accelerator(spec: TrainSpec) -> Accelerator:
    """The accelerator, its DeepSpeed plugin set to what the spec says; raises UserError for what does not fit."""
    if not has_deepspeed():
        raise UserError(f"accelerate's configuration asks for DeepSpeed: {DEEPSPEED_MISSING}")
    check_sharded(spec)
    if "LOCAL_RANK" not in os.environ:
        raise UserError("DeepSpeed is asked for outside of `accelerate launch`; start the run with accelerate launch")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    accelerator = Accelerator(
        mixed_precision="bf16" if spec.precision is Precision.BF16 else "no", kwargs_handlers=_process_group()
    )
    if spec.device == "cpu" and accelerator.device.type != "cpu":
        raise UserError(f"device cpu, but DeepSpeed runs on {accelerator.device.type}; leave device out, or DeepSpeed")
    config = accelerator.state.deepspeed_plugin.deepspeed_config
    zero = config["zero_optimization"]
    if zero.get("stage") != 2:
        raise UserError(
            f"DeepSpeed's configuration asks for ZeRO stage {zero.get('stage')}; runs here take stage 2 "
            "(dexvla train --print-accelerate-config zero2)"
        )
    for section in ("optimizer", "scheduler"):
        if section in config:
            raise UserError(f"DeepSpeed's configuration has a section {section}; leave it out, the run's spec has it")
    if config.get("fp16", {}).get("enabled") is True:
        raise UserError("DeepSpeed's configuration asks for fp16; leave it out, the run's spec has the precision")
    processes, accumulation = accelerator.num_processes, spec.grad_accumulation
    config |= {
        "train_micro_batch_size_per_gpu": spec.batch_size,
        "gradient_accumulation_steps": accumulation,
        "train_batch_size": spec.batch_size * accumulation * processes,
        "gradient_clipping": spec.optim.max_grad_norm,
        # torch's own fused AdamW, also for weights in main memory: DeepSpeed's needs a compiler on every machine
        "zero_force_ds_cpu_optimizer": False,
    }
    if accumulation > 1 and spec.precision is Precision.BF16:
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    accelerator.gradient_accumulation_steps = accumulation
    return accelerator


def check_sharded(spec: TrainSpec) -> None:
    """Raise UserError for a run that cannot go under DeepSpeed."""
    if spec.precision is Precision.BF16_PURE:
        raise UserError(
            "precision bf16_pure has no use under DeepSpeed; take bf16: weights are bfloat16 on each GPU, and the "
            "float32 ones are split over all"
        )
    if spec.stage == 1:  # a step need not hold a sample of every embodiment, and DeepSpeed would wait for all weights
        raise UserError("stage 1 does not run under DeepSpeed; its model is small, leave out --config_file")
    if spec.optim.skip_spikes is not None:
        raise UserError(
            "optim.skip_spikes has no use under DeepSpeed, which tells the norm after the step; leave it out"
        )
    if spec.lora is not None and spec.lora.quantise:
        raise UserError("lora.quantise does not run under DeepSpeed; leave one of them out")


def _process_group() -> list[KwargsHandler]:
    """Without a GPU, accelerate must be told the backend, and DeepSpeed kept from compiling a transport of its own."""
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    if get_accelerator().device_name() != "cpu":
        return [InitProcessGroupKwargs(timeout=PATIENCE)]
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return [InitProcessGroupKwargs(backend="gloo", timeout=PATIENCE)]


class ShardedEngine(Engine):
    """Several processes (or one), each with all weights but only its part of the optimiser."""

    steps_first = True

    model: Any  # DeepSpeed's engine around the module

    def _prepare(self) -> None:
        accelerator, spec, model = self._accelerator, self._spec, self._plain
        self._parameters = trained_parameters(model)
        rounded = spec.precision is Precision.BF16  # by DeepSpeed, before it copies the float32 weights
        exact = {name: value.data for name, value in self._parameters.items()} if rounded else {}
        self._optimizer = make_optimizer(model, spec.optim)
        self.model, _ = accelerator.prepare(model, self._optimizer)
        self._zero: Any = self.model.optimizer
        for master in self._masters:  # now rather than at the first step, so that a state can be loaded into them
            self._optimizer.state[master] = {
                "step": torch.zeros((), device=master.device if self._optimizer.defaults["fused"] else "cpu"),
                **{key: torch.zeros_like(master, requires_grad=False) for key in _MOMENTS},
            }
        self._zero._lazy_init_hp_params_optimizer_state()
        if rounded:
            self._set_masters(exact)
            self.precision = "bfloat16 weights and compute, float32 master weights split over the processes (ZeRO-2)"
        self._shared = ShardedAverage(self._masters, spec.ema_decay) if spec.ema_decay is not None else None
        self.average = self._shared

    @property
    def _masters(self) -> list[torch.Tensor]:
        """This process's part of the float32 weights, one flat tensor per parameter group."""
        return list(self._zero.single_partition_of_fp32_groups)

    def load(self, folder: Path) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        weights, moments, average = read_state(folder, names=self._parameters.keys(), average=self.average is not None)
        if self._shared is not None:
            self._set_masters(average)
            self._shared.take(self._masters)
        self._set_masters(weights)
        self._zero.update_lp_params()
        steps = [float(entries["step"]) for entries in moments.values() if "step" in entries]
        for master in self._masters:
            self._optimizer.state[master]["step"].fill_(max(steps, default=0.0))
        for name, parameter in self._parameters.items():
            for key in _MOMENTS:
                value = moments.get(name, {}).get(key)
                if value is not None:
                    safe_set_full_optimizer_state(parameter, value, key)

    def micro_step(self, *, last: bool) -> AbstractContextManager[Any]:
        self.model.set_gradient_accumulation_boundary(is_boundary=last)
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        # the loss is a share of the global mean already: no division by the number of accumulation steps
        self.model.backward(loss, scale_wrt_gas=False)

    def step(self, takes: Callable[[float], bool]) -> tuple[float, bool]:
        self.model.step()  # clips and steps in one: the norm is known when it is too late to leave the step out
        norm = float(self.model.get_global_grad_norm() or 0.0)
        if not self._agreed(takes(norm)):
            return norm, False
        if self.average is not None:
            self.average.update(self._plain)
        return norm, True

    @contextmanager
    def whole(self) -> Iterator[OptimizerState]:
        from deepspeed.utils import safe_get_full_optimizer_state

        weights = self._gathered_masters()
        moments = GatheredState()
        step = float(self._optimizer.state[self._masters[0]]["step"])
        for name, parameter in self._parameters.items():
            entries = {key: self._kept(safe_get_full_optimizer_state(parameter, key)) for key in _MOMENTS}
            if name in weights:
                moments.state[parameter] = {"step": torch.tensor(step), **entries}
        with self._average_at_hand():
            # the parameters' own data are views into DeepSpeed's buffers: exchanged, not written to
            views = {name: self._parameters[name].data for name in weights}
            try:
                for name, value in weights.items():
                    self._parameters[name].data = value
                yield moments
            finally:
                for name, value in views.items():
                    self._parameters[name].data = value

    @contextmanager
    def averaged(self) -> Iterator[None]:
        if self.average is None:
            yield
            return
        with self._average_at_hand():
            if self._accelerator.is_main_process:
                with swapped(self._plain, self.average.weights):
                    yield
            else:
                yield

    @contextmanager
    def _average_at_hand(self) -> Iterator[None]:
        """The moving average gathered on the first process for the length of the block."""
        average = self._shared
        if average is None or average.gathered:
            yield
            return
        with average.in_place_of(self._masters):
            average.weights = self._gathered_masters()
        average.gathered = True
        try:
            yield
        finally:
            average.weights, average.gathered = {}, False

    def _set_masters(self, weights: dict[str, torch.Tensor]) -> None:
        from deepspeed.utils import safe_set_full_fp32_param

        with torch.no_grad():
            for name, parameter in self._parameters.items():
                safe_set_full_fp32_param(parameter, weights[name])

    def _gathered_masters(self) -> dict[str, torch.Tensor]:
        """On the first process every float32 weight, in main memory; elsewhere nothing. All processes must call it."""
        from deepspeed.utils import safe_get_full_fp32_param

        found = {name: self._kept(safe_get_full_fp32_param(value)) for name, value in self._parameters.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _kept(self, value: torch.Tensor) -> Any:
        return value.detach().cpu() if self._accelerator.is_main_process else None


class ShardedAverage:
    """Moving average of this process's part of the float32 weights; `weights` is filled while gathered."""

    def __init__(self, masters: list[torch.Tensor], decay: float) -> None:
        self._masters, self._decay = masters, decay
        self._parts = [master.detach().clone() for master in masters]
        self.weights: dict[str, torch.Tensor] = {}
        self.gathered = False

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for part, master in zip(self._parts, self._masters, strict=True):
            part.lerp_(master.detach(), 1 - self._decay)

    def take(self, masters: list[torch.Tensor]) -> None:
        self._parts = [master.detach().clone() for master in masters]

    @contextmanager
    def in_place_of(self, masters: list[torch.Tensor]) -> Iterator[None]:
        with torch.no_grad():
            kept = [master.detach().clone() for master in masters]
            for master, part in zip(masters, self._parts, strict=True):
                master.copy_(part)
            yield
            for master, value in zip(masters, kept, strict=True):
                master.copy_(value)

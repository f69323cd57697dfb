"""Which engine takes the steps: the plain one, or DeepSpeed's."""

from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from torch import nn

from dexvla.spec import TrainSpec
from dexvla.train.allocator import keep_memory
from dexvla.train.engine import PATIENCE, Engine, device_of, mixed_precision, under_deepspeed


def make_accelerator(spec: TrainSpec) -> Accelerator:
    """As the environment says that `accelerate launch` sets; alone it is one process.

    Raises UserError for a DeepSpeed configuration that the run cannot use.
    """
    AcceleratorState._reset_state()  # it outlives a run, and refuses a second one of another precision
    if under_deepspeed():
        from dexvla.train.sharded import make_sharded_accelerator

        return make_sharded_accelerator(spec)
    accelerator = Accelerator(
        mixed_precision=mixed_precision(spec, device_of(spec)),
        cpu=spec.device == "cpu" or None,
        # a step of stage 1 need not hold a sample of every embodiment
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=spec.stage == 1),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )
    if accelerator.device.type == "cpu":
        keep_memory()
    return accelerator


def make_engine(accelerator: Accelerator, model: nn.Module, spec: TrainSpec) -> "Engine":
    if under_deepspeed():
        from dexvla.train.sharded import ShardedEngine

        return ShardedEngine(accelerator, model, spec)
    return Engine(accelerator, model, spec)

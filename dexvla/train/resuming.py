"""Whether a spec goes on with a run that has begun."""

import math
from typing import Any

from dexvla.errors import UserError
from dexvla.spec import TrainSpec
from dexvla.train.runs import Run

# Fields that may change when a run is resumed. More steps also stretch a cosine schedule from there on. batch_size and
# grad_accumulation may where their product stays: the samples of a step and their losses are the same.
_FREE = {
    "steps",
    "log_every",
    "save_every",
    "keep_checkpoints",
    "validation_samples",
    "validation_max_tokens",
    "workers",
    "picture_cache",
    "kept_conditions",
    "device",
    "optim.skip_spikes",
    "gradient_checkpointing",
}


def _fields(spec: TrainSpec) -> dict[str, Any]:
    """Its values by name; those of the optimiser one by one."""
    fields = spec.model_dump()
    return fields | {f"optim.{name}": value for name, value in fields.pop("optim").items()}


def check_same_run(spec: TrainSpec, run: Run) -> None:
    """Raises UserError where `spec` is not the one that `run` began with, but for what may change."""
    reached = run.resumable_step()
    if spec.steps < reached:
        raise UserError(f"{run.path}: the run is at step {reached} already; give steps {reached} or more to go on")
    before = _fields(TrainSpec.model_validate_json(run.spec_file.read_bytes()))
    split = ("batch_size", "grad_accumulation")
    after = _fields(spec)
    if math.prod(after[name] for name in split) == math.prod(before[name] for name in split):
        before |= {name: after[name] for name in split}
    for name, value in after.items():
        if name not in _FREE and value != before[name]:
            raise UserError(
                f"{run.path}: cannot resume with {name} = {value!r}, the run began with {before[name]!r}; "
                "start a new run for another setting"
            )

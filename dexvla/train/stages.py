"""Which data and which task a stage has."""

from dexvla.spec import TrainSpec
from dexvla.train.embodiments import EmbodimentData, load_embodiments, prepare_embodiments
from dexvla.train.policies import PolicyTask
from dexvla.train.prepare import RunData, load_data, prepare_data
from dexvla.train.pretraining import PretrainTask
from dexvla.train.runs import Run
from dexvla.train.trainer_task import TrainerTask


def read_data(spec: TrainSpec) -> RunData | EmbodimentData:
    """Read every episode of a new run."""
    return prepare_embodiments(spec) if spec.stage == 1 else prepare_data(spec)


def kept_data(spec: TrainSpec, run: Run) -> RunData | EmbodimentData:
    """The data of a run that is resumed."""
    return load_embodiments(run) if spec.stage == 1 else load_data(run)


def new_task(spec: TrainSpec, data: RunData | EmbodimentData) -> TrainerTask:
    """What the run starts from, frozen and adapted as it will train."""
    if isinstance(data, RunData):
        return PolicyTask(spec, data)
    return PretrainTask(spec, data)

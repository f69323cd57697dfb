"""The folder of a run, and what may be found in it. Torch-free.

run.json             the TrainSpec
dataset.json         manifest of the data, labels embedded, as it was when the run began
split.json           identities of the training and of the held-out episodes
preflight.json       what was found before the run started, with estimates of memory and disk
metrics.jsonl        one line per logged step
embodiments/NAME/    dataset.json and split.json of each embodiment, in stage 1; order.json: their names in order
tensorboard/         the same for TensorBoard
checkpoints/step-N/  what evaluation and serving load (model, norm statistics, processor, manifest)
state/step-N/        what resuming needs beside it (trained weights, optimiser)
lock                 held for as long as a trainer lives
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dexvla.demo import demo_checkpoint
from dexvla.errors import CheckpointError, UserError
from dexvla.files import atomic_file
from dexvla.spec import step_name, step_of

CHECKPOINT_MANIFEST = "manifest.json"


def steps_of(folder: Path) -> list[int]:
    """Steps of the finished step-N folders below `folder`, ascending."""
    if not folder.is_dir():
        return []
    finished = [entry.name for entry in folder.iterdir() if (entry / CHECKPOINT_MANIFEST).is_file()]
    return sorted(step for name in finished if (step := step_of(name)) is not None)


def resolve_checkpoint(path: str | os.PathLike[str]) -> Path:
    """A checkpoint directory, or the newest checkpoint of a run's folder.

    The word "demo" is the demo checkpoint, unless a folder of that name is one of the two.

    Raises CheckpointError if there is none.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    steps = steps_of(path / "checkpoints")
    if steps:
        return path / "checkpoints" / step_name(steps[-1])
    if (path / "run.json").is_file():
        raise CheckpointError(f"{path}: this run has saved no checkpoint yet")
    if path == Path("demo"):
        return demo_checkpoint()
    found = "no such folder" if not path.exists() else "no config.json and no checkpoints/ in it"
    raise CheckpointError(f"{path}: {found}; expected a checkpoint directory or the folder of a run")


class Run:
    """The folder of one run. Opening it for training takes its lock."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.spec_file = self.path / "run.json"
        self.dataset_file = self.path / "dataset.json"
        self.preflight_file = self.path / "preflight.json"
        self.split_file = self.path / "split.json"
        self.embodiments_file = self.path / "embodiments" / "order.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.states = self.path / "state"

    def of_embodiment(self, name: str) -> "Run":
        """The folder with the data of one embodiment; it is no run of its own."""
        return Run(self.path / "embodiments" / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock. Raises UserError if another trainer holds it, or the folder cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{self.path}: another training is running in this folder") from error
            yield
        finally:
            os.close(descriptor)

    def resumable_step(self) -> int:
        """Newest step that has both a checkpoint and a trainer state; 0 if none."""
        both = set(steps_of(self.checkpoints)) & set(steps_of(self.states))
        return max(both, default=0)

    def best_step(self) -> int | None:
        """The saved step with the lowest validation loss; None if nothing was validated."""
        saved = set(steps_of(self.checkpoints))
        scores = [(line["val_loss"], line["step"]) for line in read_metrics(self.metrics_file) if "val_loss" in line]
        return min((score for score in scores if score[1] in saved), default=(0.0, None))[1]

    def prune(self, *, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints and the best one, and all trainer states but the one to resume.

        A state without its checkpoint (the trainer was killed between the two) may be newer than that one.
        """
        best, resumable = self.best_step(), self.resumable_step()
        for step in steps_of(self.checkpoints)[:-keep]:
            if step != best:
                shutil.rmtree(self.checkpoints / step_name(step))
        for step in steps_of(self.states):
            if step != resumable:
                shutil.rmtree(self.states / step_name(step))

    def sweep(self) -> None:
        """Remove what a killed trainer left half-written."""
        for folder in (self.path, self.checkpoints, self.states):
            for entry in folder.glob(".*.tmp"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


class MetricsLog:
    """Metrics as JSON lines, and for TensorBoard where it is installed. Resuming cuts both back to its step."""

    def __init__(self, run: Run, *, resume_step: int) -> None:
        kept = [line for line in read_metrics(run.metrics_file) if line["step"] <= resume_step]
        if run.metrics_file.exists():
            with atomic_file(run.metrics_file) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file = run.metrics_file.open("a", encoding="utf-8")
        self._board = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(run.tensorboard), purge_step=resume_step + 1 if resume_step else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The logged lines of a run, oldest first; a last line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines

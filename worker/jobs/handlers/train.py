"""Training: `dexvla train` under accelerate, on as many GPUs as the worker has; its curves and checkpoints as rows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

import dexvla
from backend.base_models.whole import require_whole
from backend.jobs.repository import LostError
from backend.store.base import StoreAwayError
from backend.store.small import publish
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.checkpoint import Checkpoint
from backend.tables.job import Job
from backend.tables.run import Run
from backend.training.jobs import TrainPayload
from backend.training.places import From, on_this_machine
from backend.training.recipe import spec_yaml
from backend.training.tail import MetricsTail
from dexvla.errors import UserError
from dexvla.files import atomic_file
from dexvla.spec import TrainSpec
from dexvla.train import runs
from worker.core.gpus import visible_gpus
from worker.jobs.handlers.base import Handler, JobContext, Progress
from worker.jobs.handlers.saved import CheckpointRegistrar, Fence

ACCELERATE_CONFIG = "STUDIO_ACCELERATE_CONFIG"


class TrainHandler(Handler):
    """One attempt. A later one goes on from the run's last checkpoint.

    Rows follow the files of the run: what the trainer wrote is the truth, also after a crash between file and row.
    """

    payload = TrainPayload
    resumes = "it goes on from its last checkpoint by itself"
    ends_in_order = True
    grace = 900.0  # a checkpoint and the trainer's state of a large model are tens of gigabytes
    patience = 3600.0  # reading a large dataset and preparing its images say little

    def __init__(self) -> None:
        self._spec: TrainSpec | None = None
        self._run: runs.Run | None = None
        self._tail: MetricsTail | None = None
        self._saved: CheckpointRegistrar | None = None

    def command(self, job: JobContext) -> list[str] | None:
        """The spec as a file, and the trainer that reads it. Raises UserError if what the run starts from is gone."""
        run_id = job.read(TrainPayload).run_id
        revision = git_revision()
        with job.fenced() as db:
            row = db.get(Run, run_id)
            if row is None or row.deleted_at is not None:
                raise UserError("this run was deleted")
            row.git = revision or row.git
            spec, begins = TrainSpec.model_validate(row.spec), From.of_run(row)
            saved = db.scalar(select(Checkpoint.step).where(Checkpoint.run_id == run_id).limit(1)) is not None
        folder = job.studio.settings.folder
        output, held = folder.run(run_id), folder.held(job.id)
        self._spec = spec = on_this_machine(job.studio, spec, begins, output_dir=output, held=held)
        self._run = run = runs.Run(spec.output_dir)
        resume = run.spec_file.is_file()
        # an attempt before this one trained to the end and died before its row said so
        finished = resume and spec.steps in runs.steps_of(run.checkpoints)
        if saved and not finished and not run.resumable_step():
            if job.studio.store.remote and not run.path.is_dir():
                raise UserError(
                    "what this run would go on from (the trainer's state) is on the machine that trained it; resume it "
                    "while a worker runs there alone, or start stage 3 from its newest checkpoint"
                )
            raise UserError(
                "the checkpoint that this run would go on from is gone, or the trainer's state beside it; starting at "
                "step 0 again would overwrite its curves: copy the run to train anew"
            )
        self._tail = MetricsTail(run.metrics_file, run_id)
        self._saved = CheckpointRegistrar(run, run_id, name=spec.name, keep=spec.keep_checkpoints)
        if finished:
            return None
        self._still_there(job.studio, spec, resume=resume)
        file = run.path / "spec.yaml"
        with atomic_file(file) as temporary:
            temporary.write_text(spec_yaml(spec), encoding="utf-8")
        arguments = ["train", str(file), "--json", str(job.folder / "result.json"), *(["--resume"] if resume else [])]
        return launch(arguments, processes=processes_for(spec))

    def poll(self, job: JobContext) -> Progress | None:
        """Rows for new points and checkpoints, then how far it is."""
        assert self._spec is not None
        assert self._tail is not None
        assert self._saved is not None
        if self._tail.changed():
            with job.fenced() as db:
                self._tail.store(db, job.attempt)
                publish_after_commit(db, job.studio, "run", self._tail.run_id)
        self._saved.look(job, job.fenced)
        self._tell_preflight(job)
        reported = job.reported()
        if reported is not None and reported.total == self._spec.steps:
            return reported
        step = max(self._tail.last_step, self._run_step())
        return Progress(done=step, total=self._spec.steps, note="" if reported is None else reported.note)

    def _tell_preflight(self, job: JobContext) -> None:
        """What was found before it started is read by the API, perhaps on another machine."""
        assert self._run is not None
        file = self._run.preflight_file
        if "preflight" not in job.memory and file.is_file():
            job.memory["preflight"] = True
            with suppress(StoreAwayError):
                publish(job.studio.store, job.studio.settings.data, file)

    def finish(self, job: JobContext) -> dict[str, Any]:
        assert self._run is not None
        assert self._spec is not None
        self._settle(job, job.fenced)
        steps = runs.steps_of(self._run.checkpoints)
        best = self._run.best_step()
        return {"step": steps[-1] if steps else None, "best_step": best, "steps": self._spec.steps}

    def clean(self, job: JobContext) -> None:
        """Nothing is thrown away: a cancelled run goes on from its last checkpoint when it is resumed.

        Rows for the checkpoint that it saved on its way out, unless a later attempt has begun, which writes them.
        """
        if self._saved is not None:
            with suppress(LostError):
                self._settle(job, lambda: _newest_attempt(job))

    def _settle(self, job: JobContext, fence: Fence) -> None:
        """The last rows; waits for the hashes of checkpoints that are still being computed."""
        assert self._tail is not None
        assert self._saved is not None
        with fence() as db:
            self._tail.store(db, job.attempt)
            publish_after_commit(db, job.studio, "run", self._tail.run_id)
        self._saved.look(job, fence, wait=True)

    def _run_step(self) -> int:
        assert self._run is not None
        return max(runs.steps_of(self._run.checkpoints), default=0)

    def _still_there(self, studio: Studio, spec: TrainSpec, *, resume: bool) -> None:
        """A cause that says what to do, instead of the first file that a trainer misses, or weights that changed."""
        needed = [] if resume and self._run_step() else [spec.init_from, spec.pretrained_expert]
        for place in needed:
            if place is not None and not Path(place).exists():
                raise UserError(
                    f"{place}: what the run starts from is gone; put it back there and resume the run, or copy the run "
                    "and choose another"
                )
            if place is not None:
                require_whole(studio, place)


@contextmanager
def _newest_attempt(job: JobContext) -> Iterator[Session]:
    """A transaction as long as no later attempt has begun, though the job is over. Raises LostError otherwise."""
    with job.studio.db.transaction() as db:
        if db.scalar(select(Job.attempt).where(Job.id == job.id).with_for_update()) != job.attempt:
            raise LostError(f"job {job.id} has a later attempt than {job.attempt}")
        yield db


def processes_for(spec: TrainSpec) -> int:
    return 1 if spec.device == "cpu" else max(1, visible_gpus())


def launch(arguments: list[str], *, processes: int) -> list[str]:
    """argv of `dexvla ...` in as many processes as are wanted, one a GPU."""
    config = os.environ.get(ACCELERATE_CONFIG)
    trainer = ["-m", "dexvla.cli", *arguments]
    if config:
        accelerate = ["-m", "accelerate.commands.launch", "--config_file", config]
        return [sys.executable, *accelerate, "--num_processes", str(processes), *trainer]
    if processes == 1:
        return [sys.executable, *trainer]
    return [sys.executable, "-m", "worker.jobs.launch", str(processes), *arguments]


def git_revision() -> str | None:
    """Of the program, with + for local changes; None where it does not run from a checkout."""
    root = Path(dexvla.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        ask = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
        found = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, or not our repository: lineage lacks it, nothing else
        return None
    return found.stdout.strip()[:64] or None

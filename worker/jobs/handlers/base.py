"""What a kind of job is to the runner: a command, how far it is, and what becomes of its results.

The runner (worker/jobs/runner.py) owns the process; a handler says what to run and turns what the process leaves into
rows and results. Handlers run in the runner, which never loads torch: whatever needs it belongs into the command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from sqlalchemy.orm import Session

from backend.jobs import repository
from backend.jobs.kinds import Payload
from backend.studio import events
from backend.studio.context import Studio
from backend.tables.job import JobKind
from dexvla.progress import ProgressLine, last_progress

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is. done of total: what the kind counts (episodes, steps); total None: not known yet."""

    done: int
    total: int | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """One attempt at a job, as its handler sees it. folder: DataFolder.job(id), there before anything is called."""

    studio: Studio
    id: str
    kind: JobKind
    attempt: int
    title: str
    subject_id: str | None
    created_by: str | None
    payload: dict[str, Any]
    folder: Path
    memory: dict[str, Any] = field(default_factory=dict)  # for the handler, as long as the attempt lives

    def read(self, kind: type[P]) -> P:
        """The payload. Raises pydantic.ValidationError for one that does not fit."""
        return kind.model_validate(self.payload)

    @property
    def log(self) -> Path:
        """Everything that the command said, of all attempts."""
        return self.folder / "log.txt"

    @property
    def progress_file(self) -> Path:
        """What DEXVLA_PROGRESS names in this attempt."""
        return self.folder / f"progress-{self.attempt}.jsonl"

    @contextmanager
    def fenced(self) -> Iterator[Session]:
        """A transaction that writes only as long as this attempt owns the job.

        Raises backend.jobs.repository.LostError, before anything is written, if another attempt took over: the runner
        then stops at once and leaves everything to the other. Handlers let it pass.
        """
        with self.studio.db.transaction() as db:
            repository.assert_owned(db, self.id, self.attempt)
            yield db

    def publish(self, topic: events.Topic, subject: str) -> None:
        """Tell open pages; after the transaction, or with events.publish_after_commit inside it."""
        events.publish(self.studio, topic, subject)

    def reported(self) -> Progress | None:
        """The last line that the command told in this attempt, as a job shows it."""
        line = self.last_line()
        return None if line is None else Progress(done=line.done, total=line.total, note=line.text)

    def last_line(self) -> ProgressLine | None:
        return last_progress(self.progress_file)


class Handler(Protocol):
    """Subclass it, set `payload`, write `command` and `finish`; register it in worker/jobs/handlers/__init__.py.

    One is made for each attempt. Only `poll` and `finish` may write rows, and only inside `job.fenced()`.
    An error of the user is a dexvla.errors.UserError (or backend.core.errors.ApiError) anywhere: its message becomes
    the job's cause. Any other exception fails the attempt, with its traceback in the log.
    """

    payload: ClassVar[type[Payload]]
    # what a job that was interrupted does next, for its cause
    resumes: ClassVar[str] = "it starts again by itself"
    # the command ends in order on SIGTERM (a training saves a checkpoint): it gets `grace` seconds before SIGKILL when
    # it is cancelled, and SIGTERM instead of SIGKILL should the runner vanish
    ends_in_order: ClassVar[bool] = False
    grace: ClassVar[float] = 60.0
    # seconds without any sign of life (progress, output) after which it is stopped
    patience: ClassVar[float] = 900.0

    def command(self, job: JobContext) -> list[str] | None:
        """argv of the process, `[sys.executable, "-m", "dexvla.cli", ...]`. None: nothing is left to run."""
        ...

    def environment(self, job: JobContext) -> dict[str, str]:
        """What the process gets beside the runner's own environment."""
        return {}

    def poll(self, job: JobContext) -> Progress | None:
        """About once a second while the process lives, and once after it ended, however it ended."""
        return job.reported()

    def finish(self, job: JobContext) -> dict[str, Any]:
        """After exit status 0: publish the results; what is returned becomes Job.result. May be called again by a later
        attempt if this one dies before its row says done, so it must not do things twice."""
        ...

    def clean(self, job: JobContext) -> None:
        """After the job failed or was cancelled for good: remove what is half-made. Keep what `resume` goes on from."""
        return

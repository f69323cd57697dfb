"""Episodes of a source of another tool as files of ours, one by one, or how they look; read by confined processes.

A process that a source brings down costs the episode that it was at; another one goes on with those after it.
"""

import json
import threading
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from backend.intake.accept import words
from backend.intake.broken import Broken, Why, by_status
from backend.intake.child import TRIES, Child, LostError, started
from backend.intake.foreign import READY
from dexvla.errors import UserError
from dexvla.spec import ImportProfile

CPU_SECONDS = 1200  # of one episode
_SECONDS = 1800
_LOOK_CPU_SECONDS = 60
_LOOK_SECONDS = 120
_LONGEST_LINE = 64 * 2**20  # bytes, with images of all cameras
_MOST = 256 * 2**20  # bytes of one process: thousands of episodes with all that can be said of them
_ENDED = "its reader was ended from outside, again and again; try it again"
_AHEAD = 2  # episodes: one is converted while the one before is looked at


@dataclass(frozen=True, kw_only=True)
class Converted:
    """file: ours, to be removed by whoever takes it. total: episodes of the source."""

    name: str
    total: int
    file: Path
    warnings: tuple[str, ...]
    guesses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NotConverted:
    name: str
    total: int
    reason: str


def conversions(
    source: Path, out: Path, profile: ImportProfile, *, done: Collection[str] = ()
) -> Iterator[Converted | NotConverted]:
    """Every episode but those of `done`. out: an empty folder; what was made and not taken may lie there at the end.

    Raises UserError for what is no source, DiskFullError and NoReaderError.
    """
    over, lost = set(done), 0
    while lost < TRIES:
        at = _At()
        order = {
            "work": "convert",
            "source": str(source.resolve()),
            "out": str(out.resolve()),
            "profile": profile.model_dump(mode="json"),
            "done": sorted(over),
            "cpu_seconds": CPU_SECONDS,
        }
        try:
            for became in _of_one_process(order, at):
                over.add(became.name)
                lost = 0
                yield became
        except LostError:  # none of the source's faults: another process goes on with the episode
            lost += 1
            continue
        if at.why is None:
            return
        if at.name is None or at.name in over:
            raise UserError(f"{source.name}: {at.why}")
        over.add(at.name)
        yield NotConverted(name=at.name, total=at.total, reason=at.why)
    raise UserError(_ENDED)


@dataclass
class _At:
    """Where a process is. why: it ended before it was through, where the source brought that about."""

    name: str | None = None
    total: int = 0
    why: str | None = None


def _of_one_process(order: Mapping[str, Any], at: _At) -> Iterator[Converted | NotConverted]:
    with reader(order, seconds=_SECONDS) as (child, lines):
        child.send(b"\n" * _AHEAD)
        for line in lines:
            match line:
                case {"format": str(), "episodes": int(total)}:
                    at.total = total
                case {"begun": str(name)}:
                    at.name = name
                case {"imported": str(name), "file": str(file), "warnings": list(said), "guesses": list(guesses)}:
                    if not _made_in(Path(order["out"]), Path(file)):
                        at.why = "the reader of this source named a file that it did not make; the source misleads it"
                        return
                    yield Converted(
                        name=name, total=at.total, file=Path(file), warnings=tuple(said), guesses=tuple(guesses)
                    )
                    child.send(b"\n")
                case {"refused": str(reason), "episode": str(name)}:
                    yield NotConverted(name=name, total=at.total, reason=reason)
                    child.send(b"\n")
                case {"refused": str(reason)}:
                    raise UserError(reason)
                case {"broke": dict(broke)}:
                    at.why = words(Broken.from_json(broke), CPU_SECONDS)
                case {"over": True}:
                    return
    if at.why is None:
        at.why = words(by_status(child.status), CPU_SECONDS)


def _made_in(folder: Path, file: Path) -> bool:
    """Whether the process can have made the file: whoever takes it opens and removes it with rights of their own."""
    try:
        return file.resolve(strict=True).is_relative_to(folder) and file.is_file() and not file.is_symlink()
    except (OSError, ValueError):
        return False


def look(source: Path, profile: ImportProfile, *, episode: str | None = None) -> dict[str, Any]:
    """What is in a source, by one of its episodes (None: the first): see backend.intake.showing.

    Raises UserError, in a sentence without its end, where nothing of it can be shown, DiskFullError and
    NoReaderError.
    """
    order = {
        "work": "show",
        "source": str(source.resolve()),
        "out": None,
        "profile": profile.model_dump(mode="json"),
        "episode": episode,
        "cpu_seconds": _LOOK_CPU_SECONDS,
    }
    for _ in range(TRIES):
        with suppress(LostError), reader(order, seconds=_LOOK_SECONDS) as (child, lines):
            for line in lines:
                match line:
                    case {"shown": dict(shown)}:
                        return shown
                    case {"refused": str(reason)}:
                        raise UserError(reason)
                    case {"broke": dict(broke)}:
                        raise UserError(words(Broken.from_json(broke), _LOOK_CPU_SECONDS))
            raise UserError(words(by_status(child.status), _LOOK_CPU_SECONDS))
    raise UserError(_ENDED)


@contextmanager
def reader(order: Mapping[str, Any], *, seconds: float) -> Iterator[tuple[Child, Generator[dict[str, Any]]]]:
    """A confined process and what it says, line by line. It is ended with the context, and where it says nothing for
    `seconds`, or more than it could have to say: the last line is then a {"broke": ...}."""
    with started("backend.intake.foreign") as child, closing(_lines(child, seconds)) as lines:
        child.send(json.dumps(order).encode() + b"\n")
        yield child, lines


def _lines(child: Child, seconds: float) -> Generator[dict[str, Any]]:
    with _Patience(child, seconds) as patience:
        for line in _bounded(child, patience):
            try:
                said = json.loads(line)
            except ValueError:
                yield {"broke": Broken(why=Why.MISLEADING, what="its reader says what is no JSON").to_json()}
                return
            yield said
        with patience.waiting():
            child.wait()
    complaints = child.complaints()
    assert READY in complaints, f"the reader does not start: {complaints}"


class _Patience:
    """A thread that ends a child which is waited for and does nothing for `seconds`."""

    def __init__(self, child: Child, seconds: float) -> None:
        self._child, self._seconds = child, seconds
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _watch(self) -> None:
        left = self._seconds
        while not self._over.wait(left):
            since = self._since
            left = self._seconds if since is None else since + self._seconds - time.monotonic()
            if left <= 0:
                self._child.end()
                return


def _bounded(child: Child, patience: _Patience) -> Iterator[bytes]:
    """Whole lines; one that is too long, or one too many, becomes what is said of it."""
    left = _MOST
    while True:
        with patience.waiting():
            line = child.stdout.readline(_LONGEST_LINE)
        left -= len(line)
        if len(line) == _LONGEST_LINE or left < 0:
            child.end()
            in_all, line_of = f"more than {_MOST // 2**20} MiB", f"a line of {_LONGEST_LINE // 2**20} MiB and more"
            broke = Broken(why=Why.TALKATIVE, what=in_all if left < 0 else line_of)
            yield json.dumps({"broke": broke.to_json()}).encode()
            return
        if not line.endswith(b"\n"):  # it has ended, perhaps within a line
            return
        yield line

"""Episodes of a source of another tool as files of ours, one by one, or how they look; read by confined processes.

A process that a source brings down costs the episode that it was at; another one goes on with those after it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import backend
from backend.intake.accept import ENVIRONMENT, words
from backend.intake.broken import Broken, by_status
from backend.intake.foreign import READY
from dexvla.errors import UserError
from dexvla.spec import ImportProfile

CPU_SECONDS = 1200  # of one episode
_SECONDS = 1800
_LOOK_CPU_SECONDS = 60
_LOOK_SECONDS = 120
_LONGEST_LINE = 64 * 2**20  # with images of all cameras
_LONGEST_COMPLAINT, _COMPLAINTS = 4096, 256
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

    Raises UserError for what is no source, and DiskFullError.
    """
    over = set(done)
    while True:
        at = _At()
        order = {
            "work": "convert",
            "source": str(source.resolve()),
            "out": str(out.resolve()),
            "profile": profile.model_dump(mode="json"),
            "done": sorted(over),
            "cpu_seconds": CPU_SECONDS,
        }
        for became in _of_one_process(order, at):
            over.add(became.name)
            yield became
        if at.why is None:
            return
        if at.name is None or at.name in over:
            raise UserError(f"{source.name}: {at.why}")
        over.add(at.name)
        yield NotConverted(name=at.name, total=at.total, reason=at.why)


@dataclass
class _At:
    """Where a process is. why: it ended before it was through, where the source brought that about."""

    name: str | None = None
    total: int = 0
    why: str | None = None


def _of_one_process(order: Mapping[str, Any], at: _At) -> Iterator[Converted | NotConverted]:
    with reader(order, seconds=_SECONDS) as (child, lines):
        assert child.stdin is not None
        _send(child.stdin, b"\n" * _AHEAD)
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
                    _send(child.stdin, b"\n")
                case {"refused": str(reason), "episode": str(name)}:
                    yield NotConverted(name=name, total=at.total, reason=reason)
                    _send(child.stdin, b"\n")
                case {"refused": str(reason)}:
                    raise UserError(reason)
                case {"broke": dict(broke)}:
                    at.why = words(Broken.from_json(broke), CPU_SECONDS)
                case {"over": True}:
                    return
    if at.why is None:
        at.why = words(by_status(child.returncode), CPU_SECONDS)


def _made_in(folder: Path, file: Path) -> bool:
    """Whether the process can have made the file: whoever takes it opens and removes it with rights of their own."""
    try:
        return file.resolve(strict=True).is_relative_to(folder) and file.is_file() and not file.is_symlink()
    except (OSError, ValueError):
        return False


def look(source: Path, profile: ImportProfile, *, episode: str | None = None) -> dict[str, Any]:
    """What is in a source, by one of its episodes (None: the first): see backend.intake.showing.

    Raises UserError, in a sentence without its end, where nothing of it can be shown, and DiskFullError.
    """
    order = {
        "work": "show",
        "source": str(source.resolve()),
        "out": None,
        "profile": profile.model_dump(mode="json"),
        "episode": episode,
        "cpu_seconds": _LOOK_CPU_SECONDS,
    }
    with reader(order, seconds=_LOOK_SECONDS) as (child, lines):
        for line in lines:
            match line:
                case {"shown": dict(shown)}:
                    return shown
                case {"refused": str(reason)}:
                    raise UserError(reason)
                case {"broke": dict(broke)}:
                    raise UserError(words(Broken.from_json(broke), _LOOK_CPU_SECONDS))
    raise UserError(words(by_status(child.returncode), _LOOK_CPU_SECONDS))


@contextmanager
def reader(
    order: Mapping[str, Any], *, seconds: float
) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[dict[str, Any]]]]:
    """A confined process and what it says, line by line. It is ended with the context, and where it says nothing for
    `seconds`."""
    environment = {key: value for key, value in os.environ.items() if key in ENVIRONMENT}
    with subprocess.Popen(
        [sys.executable, "-m", "backend.intake.foreign"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, "HDF5_PLUGIN_PATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd=Path(backend.__file__).parent.parent,
        start_new_session=True,
    ) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        complaints: deque[bytes] = deque(maxlen=_COMPLAINTS)
        listener = threading.Thread(target=_listen, args=(child.stderr, complaints), daemon=True)
        listener.start()
        try:
            _send(child.stdin, json.dumps(order).encode() + b"\n")
            yield child, _lines(child, complaints, listener, seconds)
        finally:
            _end(child)
            child.wait()
            listener.join()
            with suppress(BrokenPipeError):
                child.stdin.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """With whatever it has started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _listen(stderr: IO[bytes], complaints: deque[bytes]) -> None:
    while part := stderr.readline(_LONGEST_COMPLAINT):
        complaints.append(part)


def _lines(
    child: subprocess.Popen[bytes], complaints: deque[bytes], listener: threading.Thread, seconds: float
) -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    while True:
        patience = threading.Timer(seconds, _end, (child,))
        patience.start()
        try:
            line = child.stdout.readline(_LONGEST_LINE)
        finally:
            patience.cancel()
        if not line.endswith(b"\n"):  # it has ended, perhaps within a line; or says more than it could have to say
            break
        yield json.loads(line)
    child.wait()
    listener.join()
    said = b"".join(complaints).decode(errors="replace")
    assert READY in said, f"the reader does not start: {said}"


def _send(stdin: IO[bytes], line: bytes) -> None:
    with suppress(BrokenPipeError):  # it has ended; what it said last is still to be read
        stdin.write(line)
        stdin.flush()

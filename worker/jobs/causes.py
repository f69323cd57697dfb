"""Why a command failed, in words for people: from what it told (dexvla.progress), else from how its process ended."""

import signal
from dataclasses import dataclass
from pathlib import Path

from dexvla.progress import Cause, FailureLine

_TAIL_BYTES = 20_000
_MOST = 500  # characters of an error that nobody foresaw
DISK_FULL = "the disk is full; free some space and resume the job"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """final: trying again by itself would end the same way."""

    cause: str
    final: bool


def explain(status: int, failure: FailureLine | None, log: Path, *, start: int) -> Failure:
    """status: as subprocess gives it, negative for a signal; start: where the attempt's lines begin in the log.

    The log counts only for a process that could tell nothing: killed from outside, crashed in foreign code, or one of
    other people's launchers.
    """
    if failure is not None:
        return _of(failure, status)
    if status == -signal.SIGKILL:
        return Failure(
            cause="the system killed the process, most likely because the machine ran out of memory; "
            "take a smaller batch size or model, or stop other programs",
            final=False,
        )
    last = _last_line(log, start)
    if status < 0:
        return Failure(cause=f"the process crashed ({signal.Signals(-status).name}): {last[:300]}", final=False)
    return Failure(cause=f"the process ended with status {status}: {last[:_MOST]}", final=False)


def _of(failure: FailureLine, status: int) -> Failure:
    match failure.failed:
        case Cause.REFUSED:
            return Failure(cause=failure.message, final=True)
        case Cause.DISK_FULL:
            return Failure(cause=f"{DISK_FULL} ({failure.message[:_MOST]})", final=True)
        case Cause.MEMORY:
            advice = failure.advice or f"take a smaller batch size or model ({failure.message[:300]})"
            return Failure(cause=f"out of memory; {advice}", final=False)
        case Cause.DEFECT:
            cause = f"the process ended with status {status}: {failure.message[:_MOST]}"
            return Failure(cause=cause, final=False)


def _last_line(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"

"""Why a command failed, in words for people: from its exit status and the last lines that it said."""

import signal
from dataclasses import dataclass
from pathlib import Path

_TAIL_BYTES = 20_000
DISK_FULL = "the disk is full; free some space and resume the job"
_MARK = "dexvla: "  # how our commands begin the one line that says what a user did wrong


@dataclass(frozen=True, kw_only=True)
class Failure:
    """final: trying again by itself would end the same way."""

    cause: str
    final: bool


def explain(status: int, log: Path, *, start: int) -> Failure:
    """status: as subprocess gives it, negative for a signal; start: where the attempt's lines begin in the log."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    text = "\n".join(lines[-60:])
    told = next((line.removeprefix(_MARK) for line in reversed(lines) if line.startswith(_MARK)), None)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return Failure(cause=f"{DISK_FULL} ({told})" if told else DISK_FULL, final=True)
    if told is not None:
        return Failure(cause=told, final=True)
    if status == -signal.SIGKILL:
        return Failure(
            cause="the system killed the process, most likely because the machine ran out of memory; "
            "take a smaller batch size or model, or stop other programs",
            final=False,
        )
    last = lines[-1] if lines else "it said nothing"
    if "out of memory" in text.lower() or "MemoryError" in text:
        return Failure(cause=f"out of memory; take a smaller batch size or model ({last[:300]})", final=False)
    if status < 0:
        return Failure(cause=f"the process crashed ({signal.Signals(-status).name}): {last[:300]}", final=False)
    return Failure(cause=f"the process ended with status {status}: {last[:500]}", final=False)

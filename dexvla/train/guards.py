"""What a training says when the machine has no more room: of memory, of disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dexvla.errors import OutOfMemoryError, UserError
from dexvla.progress import says_no_memory
from dexvla.train.memory import in_words, lighter
from dexvla.train.preflight import Preflight
from dexvla.train.trainer_task import TrainerTask


@contextmanager
def no_memory_is_clear(task: TrainerTask, found: Preflight) -> Iterator[None]:
    """Raises OutOfMemoryError, with what would save how much, where memory ran out inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not says_no_memory(error):
            raise
        estimate = in_words(sum(found.memory.values()))
        saving = [f"{words} saves about {in_words(saved)}" for words, saved in lighter(task, found.launch)]
        advice = " or ".join(saving[:2]) or "use a smaller model, or a machine with more"
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise OutOfMemoryError(
            f"out of memory, the estimate was {estimate} ({told}). The last checkpoint is intact",
            f"{advice}; a resumed run takes either" if saving else advice,
        ) from error


@contextmanager
def disk_full_is_clear(folder: Path) -> Iterator[None]:
    """Raises UserError with what to do where something could not be written inside."""
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        raise UserError(
            f"{place}: {error.strerror or error}; free some space if the disk is full, and resume. "
            "Checkpoints that were finished before are intact"
        ) from error

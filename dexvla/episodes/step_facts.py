"""What an episode file says of single steps beside motion and images: when they were, who commanded them, which were
marked."""

from collections.abc import Collection, Mapping

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.entries import H5PY_ERRORS, Entries, as_text, first_line
from dexvla.episodes.format import IMAGE_TIMES, MARKS, STEP_SOURCE, StepSource
from dexvla.episodes.times import Times
from dexvla.errors import EpisodeError


def stamps(entries: Entries, name: str, steps: int) -> NDArray[np.float64]:
    """(T,) finite numbers that never fall. Raises UnfitError."""
    stored = entries.column(name, steps).astype(np.float64)
    if not np.isfinite(stored).all():
        raise entries.unfit(f"{name} holds values that are not finite")
    if (backwards := stored[1:] < stored[:-1]).any():
        raise entries.unfit(f"{name} runs backwards at step {int(np.argmax(backwards)) + 1}")
    return stored


def image_stamps(
    entries: Entries, names: Mapping[str, str], cameras: Collection[str], times: Times | None, steps: int
) -> dict[str, NDArray[np.float64]]:
    """By camera, on the clock of the episode; what does not fit is left out and told. names: ours by those in the
    file."""
    if not entries.has(IMAGE_TIMES):
        return {}
    if not isinstance(entries.file[IMAGE_TIMES], h5py.Group):
        entries.warn(f"{IMAGE_TIMES} is not a group, expected one with a dataset for each camera; left out")
        return {}
    found: dict[str, NDArray[np.float64]] = {}
    for original, name in names.items():
        if name not in cameras or not entries.has(f"{IMAGE_TIMES}/{original}"):
            continue
        stored = entries.optional(lambda each=f"{IMAGE_TIMES}/{original}": stamps(entries, each, steps))  # type: ignore[misc]
        if stored is None:
            continue
        if times is None:
            found[name] = stored
        elif times.seconds is not None:
            found[name] = times.likewise(stored)
        else:
            entries.warn(f"{IMAGE_TIMES}: on the clock of the timestamp, which is left out; left out too")
    return found


def step_source_of(entries: Entries, steps: int) -> tuple[StepSource, ...]:
    """(T,). Raises EpisodeError for what is none: it decides what is learnt."""
    dataset = entries.dataset(STEP_SOURCE)
    if dataset.dtype != np.uint8 or dataset.shape != (steps,):
        raise EpisodeError(
            f"{entries.path}: {STEP_SOURCE} is {dataset.dtype} {dataset.shape}, expected uint8 ({steps},)"
        )
    try:
        names = [StepSource(as_text(name)) for name in np.atleast_1d(bounds.read_attribute(dataset.attrs, "names"))]
        return tuple(names[index] for index in entries.read(dataset, STEP_SOURCE))
    except (*H5PY_ERRORS, IndexError) as error:
        raise EpisodeError(
            f"{entries.path}: {STEP_SOURCE} holds other sources than {', '.join(StepSource)} ({first_line(error)})"
        ) from error


def marks_of(entries: Entries, steps: int) -> tuple[int, ...]:
    """Steps, rising. Raises UnfitError."""
    dataset = entries.dataset(MARKS)
    if dataset.dtype.kind not in "iu" or dataset.ndim != 1 or dataset.shape[0] > steps:
        raise entries.unfit(f"{MARKS} is {dataset.dtype} {dataset.shape}, expected whole numbers (M,)")
    marks = tuple(int(mark) for mark in entries.read(dataset, MARKS))
    if list(marks) != sorted({mark for mark in marks if 0 <= mark < steps}):
        raise entries.unfit(f"{MARKS} holds {marks[:5]}, expected rising steps from 0 to {steps - 1}")
    return marks

"""Recordings that a robot host on another machine hands in: received piece by piece, compared by their sum, taken in.

What there is of a recording is its file's length: a host asks for it and goes on from there, whichever side was killed
in between. What was begun and not ended is removed after a day, as of any upload.
"""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.core.errors import ConflictError, DiskFullError, InvalidError, NotFoundError
from backend.robot_hosts import service
from backend.studio.context import Studio
from dexvla.checksums import file_sha256
from dexvla.live.hosting import HandedIn, Handover, Received

_SPARE_BYTES = 64 * 2**20
_LOOK_SECONDS = 0.05
_ending: set[Path] = set()
_changed = threading.Condition()


def begin(studio: Studio, robot: str, recording: str, handover: Handover) -> Received:
    """How much of it is there. Raises NotFoundError for the dataset, InvalidError for one that is too large,
    DiskFullError."""
    if service.dataset_facts(studio, handover.dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    _refuse_large(studio, handover.size)
    file = _file(studio, robot, recording)
    there = _size(file)
    if there > handover.size:
        file.unlink(missing_ok=True)
        there = 0
    # the rest of it, and a second one of it that is checked and kept
    if shutil.disk_usage(studio.settings.folder.uploads).free < 2 * handover.size - there + _SPARE_BYTES:
        raise DiskFullError(f"There is no room for {handover.size / 2**20:.0f} MiB. Free some space and try again.")
    return Received(received=there)


def add(studio: Studio, robot: str, recording: str, offset: int, piece: bytes) -> Received:
    """Raises ConflictError, with what is there as its detail, where that is not `offset` bytes; DiskFullError."""
    _refuse_large(studio, offset + len(piece))
    with _file(studio, robot, recording).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a try before this one may still be at it
        there = os.fstat(file.fileno()).st_size
        if there != offset:
            raise _elsewhere(there, f"The studio has {there} bytes of this recording, not {offset}.")
        try:
            file.write(piece)
            file.flush()
        except OSError as error:
            os.ftruncate(file.fileno(), there)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise DiskFullError("The studio's disk is full. Free some space; the recording is kept.") from error
            raise
    return Received(received=there + len(piece))


def end(studio: Studio, robot: str, recording: str, handover: Handover, stop: threading.Event) -> HandedIn:
    """List it in its dataset. Raises ConflictError as `add` where it is not what the host has, and as
    `backend.intake.accept.accept`. stop: nobody waits for the answer any more."""
    file = _file(studio, robot, recording)
    with _alone(file, stop) as there:
        if there != handover.size:
            raise _elsewhere(there, f"The studio has {there} of {handover.size} bytes of this recording.")
        if file_sha256(file) != handover.sha256:
            file.unlink(missing_ok=True)
            raise _elsewhere(0, "What arrived is not what was sent: the sums differ. It has to be sent again.")
        with studio.inspections.turn(stop):
            try:
                episode_id = service.take_in(studio, file, dataset_id=handover.dataset_id, by=handover.by, stop=stop)
            except (InvalidError, NotFoundError):
                if not stop.is_set():  # refused for good
                    file.unlink(missing_ok=True)
                raise
        file.unlink(missing_ok=True)
    return HandedIn(episode_id=episode_id)


@contextmanager
def _alone(file: Path, stop: threading.Event) -> Iterator[int]:
    """No other try of this recording is at its end, in the one application that a studio has (HDF5 locks files itself).
    Gives its size, 0 where there is none, as when another try was taken in just now: it is sent again then, and found
    to be there."""
    with _changed:
        while file in _ending:
            if stop.is_set():
                raise _elsewhere(_size(file), "This attempt was given up.")
            _changed.wait(_LOOK_SECONDS)
        _ending.add(file)
    try:
        yield _size(file)
    finally:
        with _changed:
            _ending.discard(file)
            _changed.notify_all()


def _file(studio: Studio, robot: str, recording: str) -> Path:
    return studio.settings.folder.uploads / f"{robot}.{recording}.hdf5"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _elsewhere(there: int, message: str) -> ConflictError:
    return ConflictError(message, detail=Received(received=there).model_dump())


def _refuse_large(studio: Studio, size: int) -> None:
    most = studio.settings.max_upload_mb
    if size > most * 2**20:
        raise InvalidError(
            f"The recording has {size / 2**20:.0f} MiB, at most {most} MiB are taken (STUDIO_MAX_UPLOAD_MB)."
        )

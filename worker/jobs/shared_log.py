"""A job's log in a store elsewhere, for whoever reads it on a machine that shares no folder with this one."""

import shutil
import threading
from contextlib import suppress
from pathlib import Path

from backend.store.base import StoreAwayError, Stored
from backend.store.small import key_of
from backend.studio.context import Studio

_SECONDS = 15.0  # between two looks, so that it is read a little late
_BYTES_PER_SECOND = 2**18  # of the line, however long it is: a store takes it as a whole each time


def share_while(studio: Studio, log: Path, *, until: threading.Event) -> None:
    """In a thread, until then. Whoever set the event calls `share_log` once more."""
    if studio.store.remote:
        threading.Thread(target=_work, args=(studio, log, until), name="log", daemon=True).start()


def share_log(studio: Studio, log: Path) -> int:
    """As it is now; returns how many bytes the store has of it by now. One that does not answer gets it the next time,
    or never: the log itself stays."""
    if not studio.store.remote:
        return 0
    with suppress(StoreAwayError, OSError):
        beside = log.with_name(".log.tmp")  # it grows while it is sent
        shutil.copyfile(log, beside)
        key = key_of(studio.settings.data, log)
        size = beside.stat().st_size
        studio.store.share(beside, Stored(key=key, sha256=None, size=size))
        return size
    return 0


def _work(studio: Studio, log: Path, until: threading.Event) -> None:
    told = 0
    while not until.wait(max(_SECONDS, told / _BYTES_PER_SECOND)):
        if log.stat().st_size != told:
            told = share_log(studio, log) or told

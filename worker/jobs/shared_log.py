"""A job's log in a store elsewhere, for whoever reads it on a machine that shares no folder with this one."""

import shutil
import threading
from contextlib import suppress
from pathlib import Path

from backend.store.base import StoreAwayError, Stored
from backend.store.small import key_of
from backend.studio.context import Studio

_SECONDS = 15.0  # between two looks, so that it is read a little late


def share_while(studio: Studio, log: Path, *, until: threading.Event) -> None:
    """In a thread, until then. Whoever set the event calls `share_log` once more."""
    if studio.store.remote:
        threading.Thread(target=_work, args=(studio, log, until), name="log", daemon=True).start()


def share_log(studio: Studio, log: Path) -> None:
    """As it is now. A store that does not answer gets it the next time, or never: the log itself stays."""
    if not studio.store.remote:
        return
    with suppress(StoreAwayError, OSError):
        beside = log.with_name(".log.tmp")  # it grows while it is sent
        shutil.copyfile(log, beside)
        key = key_of(studio.settings.data, log)
        studio.store.share(beside, Stored(key=key, sha256=None, size=beside.stat().st_size))


def _work(studio: Studio, log: Path, until: threading.Event) -> None:
    told = 0
    while not until.wait(_SECONDS):
        size = log.stat().st_size
        if size != told:
            share_log(studio, log)
            told = size

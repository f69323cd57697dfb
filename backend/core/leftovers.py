"""What nobody works on any more: how long nothing changed in it, and its removal beside others who remove it, too."""

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import structlog

OLD_SECONDS = 24 * 3600.0  # more than clocks are ever set by
_log = structlog.get_logger(__name__)


def is_old(path: Path) -> bool:
    """Whether nothing in it changed for a day."""
    return path.exists() and age(path) > OLD_SECONDS


def age(path: Path) -> float:
    """Seconds since the newest change of a file, or of anything in a folder."""
    try:
        newest = path.lstat().st_mtime
    except FileNotFoundError:  # another process cleared it away
        return 0.0
    if path.is_dir() and not path.is_symlink():
        for root, _, names in os.walk(path):
            for name in (".", *names):
                try:
                    newest = max(newest, os.lstat(os.path.join(root, name)).st_mtime)
                except FileNotFoundError:
                    newest = time.time()  # somebody is at it
    return time.time() - newest


def clear_away(paths: Iterable[Path]) -> list[Path]:
    """Returns what was removed; what may not be removed keeps no other, and is told in the log."""
    swept = []
    for path in paths:
        try:
            _remove(path)
        except OSError as error:
            _log.warning("sweep.left", path=str(path), error=error.strerror)
            continue
        _log.warning("sweep.swept", path=str(path))
        swept.append(path)
    return swept


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except FileNotFoundError:  # another process is at it, too
            if path.exists():
                raise
    else:
        path.unlink(missing_ok=True)

"""Files of a store in a folder of one's own, for as long as that is there: what trains for days must not lose them."""

import os
import shutil
from pathlib import Path

from dexvla.files import NO_LINKS


def hold(path: Path, target: Path) -> Path:
    """Give `path` the name `target` too: no copy where both lie on one disk, and the cache keeps what has two names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copyfile(path, target)
    return target


def hold_folder(path: Path, target: Path) -> Path:
    """All files of a folder without folders."""
    for file in path.iterdir():
        hold(file, target / file.name)
    return target

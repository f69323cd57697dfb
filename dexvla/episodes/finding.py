"""Find episode files in folders."""

import os
from pathlib import Path

from dexvla.errors import EpisodeError

ENDINGS = (".hdf5", ".h5", ".he5")  # in small letters; capitals are the same


def is_episode_file(path: Path) -> bool:
    """By its name alone."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def find_episodes(folder: str | os.PathLike[str]) -> list[Path]:
    """All episode files in `folder` and below, episode_2 before episode_10. Raises EpisodeError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise EpisodeError(f"{folder}: no such folder")
    paths = [path for path in folder.rglob("*") if is_episode_file(path) and path.is_file()]
    if not paths:
        raise EpisodeError(
            f"{folder}: no *.hdf5 files (or *.h5) in this folder or below; record or import episodes first"
        )
    return sorted(paths, key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key under which episode_2 comes before episode_10."""
    parts: list[tuple[int, int | str]] = []
    digits = ""
    for character in [*str(path), ""]:
        if character.isdecimal():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits)))
            digits = ""
        parts.append((1, character))
    return parts

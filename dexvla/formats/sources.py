"""Files of a source from outside: none leads out of its folder; and packages that not every installation has."""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

from dexvla.episodes.finding import natural_key
from dexvla.formats.base import FormatError

MAX_FILES = 4_000_000  # files of one source: 2 000 000 frames of a camera, and those of another


def package(name: str, extra: str = "formats") -> ModuleType:
    """The module `name` of a package that not every installation has. Raises FormatError saying how to get it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise FormatError(
            f"this format needs the package {name.partition('.')[0]}, which is not installed: "
            f"pip install 'dexvla-studio[{extra}]'"
        ) from error


def inside(folder: Path, path: Path, *, named_by: str) -> Path:
    """`path` with all links followed, if it is a file below `folder`. Raises FormatError otherwise.

    named_by: what led to it, for the message.
    """
    try:
        real = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL in the name
        raise FormatError(f"{named_by}: {str(path)!r} leads nowhere ({error}); refused") from error
    if not real.is_relative_to(folder.resolve()):
        raise FormatError(f"{named_by}: {path} lies outside of {folder}; refused, copy the file into the folder")
    if not real.is_file():
        raise FormatError(f"{named_by}: {path} is not there; expected a file, copy it into {folder} or leave it out")
    return real


def files_of(folder: Path, endings: tuple[str, ...], *, root: Path, deep: bool = False) -> list[Path]:
    """Files of `folder` (deep: and below) with one of `endings` (lower case, with dot), frame_2 before frame_10.

    Hidden files are left out. Raises FormatError for a link that leads out of `root`, and for too many files.
    """
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for path in here.iterdir():
            if path.name.startswith("."):
                continue
            if deep and path.is_dir() and not path.is_symlink():
                waiting.append(path)
            elif path.suffix.lower() in endings and not path.is_dir():
                inside(root, path, named_by=str(folder))
                found.append(path)
                if len(found) > MAX_FILES:
                    raise FormatError(f"{folder}: more than {MAX_FILES} files; expected those of one episode")
    return sorted(found, key=natural_key)


def safe_name(text: str) -> str:
    """`text` as a file's or topic's name: letters, digits, dots, dashes and underscores, never hidden or empty."""
    return re.sub(r"[^\w.-]+", "_", text).lstrip(".-")[:120] or "_"


def safe_names(texts: tuple[str, ...]) -> dict[str, str]:
    """Each of `texts` by a safe name of its own."""
    names: dict[str, str] = {}
    for text in texts:
        name, number = safe_name(text), 2
        while name in names.values():
            name, number = f"{safe_name(text)}_{number}", number + 1
        names[text] = name
    return names

"""Names of cameras that other tools gave, made fit for our files, pages and commands."""

import re
import unicodedata
from collections.abc import Iterable

_LONGEST = 64  # as CameraSpec takes
_SAFE = re.compile(r"[A-Za-z0-9_\-]{1,64}")


def safe_name(name: str) -> str:
    """The name itself where it is safe; else its letters and digits without accents, joined by underscores."""
    if _SAFE.fullmatch(name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9\-]+", "_", plain).strip("_")[:_LONGEST] or "camera"


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Safe name by original name; all different. Names that are safe already stay as they are."""
    names = list(names)
    given: dict[str, str] = {name: name for name in names if _SAFE.fullmatch(name)}
    taken = set(given)
    for name in names:
        if name in given:
            continue
        safe, number = safe_name(name), 2
        while safe in taken:
            ending = f"_{number}"
            safe, number = safe_name(name)[: _LONGEST - len(ending)] + ending, number + 1
        given[name] = safe
        taken.add(safe)
    return given


def renamed_told(names: dict[str, str]) -> list[str]:
    """What is said of names that changed."""
    return [f"camera {old!r} is kept as {new!r}" for old, new in names.items() if old != new]

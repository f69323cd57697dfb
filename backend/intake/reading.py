"""What the confined process does with a source of another tool: convert its episodes, or show what is in it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.intake import confine, showing
from dexvla.errors import UserError
from dexvla.formats.importing import ImportedEpisode, OpenedSource, import_one, open_source
from dexvla.spec import ImportProfile

Say = Callable[[dict[str, Any]], None]
_SAID, _LENGTH = 50, 500
_NAMES = 1000


def _open(order: dict[str, Any], say: Say) -> OpenedSource | None:
    """None, and said why, where it is no source."""
    source = Path(order["source"])
    try:
        return open_source(source, ImportProfile.model_validate(order["profile"]))
    except UserError as error:
        say({"refused": plain(source, str(error))})
        return None


def convert(order: dict[str, Any], say: Say) -> None:
    """Each episode but those of `done`, in order: {"begun": name}, then {"imported": ...} or {"refused": ...}."""
    opened = _open(order, say)
    if opened is None:
        return
    say({"format": opened.importer.name, "episodes": len(opened.names)})
    done, out = set(order["done"]), Path(order["out"])
    for name in opened.names:
        if name in done:
            continue
        if not sys.stdin.readline():
            return
        say({"begun": name})
        confine.allow_seconds(order["cpu_seconds"])
        became = import_one(opened, name, out, ImportProfile.model_validate(order["profile"]))
        if isinstance(became, ImportedEpisode):
            said = [plain(opened.source, text) for text in became.warnings[:_SAID]]
            guesses = [plain(opened.source, text) for text in became.guesses[:_SAID]]
            say({"imported": name, "file": str(became.file), "warnings": said, "guesses": guesses})
        else:
            say({"refused": plain(opened.source, became.reason), "episode": name})
    say({"over": True})


def plain(source: Path, text: str) -> str:
    """Without the place on this machine, which helps nobody, and of a length to be shown."""
    for place in (f"{source}/", f"{source}: "):
        text = text.replace(place, "")
    return text.replace(str(source), "the folder" if source.is_dir() else "the file")[:_LENGTH]


def show(order: dict[str, Any], say: Say) -> None:
    """One episode, as {"shown": ...}, see `backend.intake.showing`; {"refused": ...} where it cannot be opened."""
    opened = _open(order, say)
    if opened is None:
        return
    profile = ImportProfile.model_validate(order["profile"])
    name = order["episode"] if order["episode"] in opened.files else opened.names[0]
    about = {
        "format": opened.importer.name,
        "format_title": opened.importer.title,
        "format_guessed": profile.format is None,
        "episodes": len(opened.names),
        "names": [plain(opened.source, each) for each in opened.names[:_NAMES]],
    }
    try:
        found = showing.shown(opened, name, profile, lambda text: plain(opened.source, text))
    except (OSError, UserError) as error:
        found = {"episode": name, "refusals": [plain(opened.source, str(error))]}
    say({"shown": {**about, **found}})


WORK: dict[str, Callable[[dict[str, Any], Say], None]] = {"convert": convert, "show": show}

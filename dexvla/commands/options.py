"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from dexvla import console


def _json_target(path: Path | None) -> Path | None:
    """With "-" standard output belongs to the JSON alone; a file is tried before the work, not after hours of it."""
    if path is not None and str(path) == "-":
        console.keep_stdout_for_json()
    elif path is not None:
        console.try_folder(path.parent)
    return path


def writable_folder(path: Path | None) -> Path | None:
    if path is not None:
        console.try_folder(path)
    return path


def comma_separated(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", callback=_json_target, help="Write the result as JSON to this file; - for stdout"),
]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda:NUMBER")]

"""`dexvla import`: data of other tools into our episode files."""

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from dexvla import console
from dexvla.commands import flags
from dexvla.commands.options import JsonFile, comma_separated, writable_folder
from dexvla.episodes.bounds import MAX_DIMENSIONS
from dexvla.errors import UserError
from dexvla.formats.instructions import table_of
from dexvla.mappings import read_mapping
from dexvla.spec import CameraProfile, ImportProfile

_LEAVE_OUT = {"instruction_from", "instruction_table", "cameras", "state", "action", "grippers"}


@flags.ready
@flags.flags_of(ImportProfile, leave_out=_LEAVE_OUT)
def import_(
    source: Annotated[Path, typer.Argument(help="File or folder of another tool", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="Folder for our episode files; nothing is overwritten", callback=writable_folder)
    ],
    profile_file: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="Fields of the profile as YAML or JSON; flags override them"),
    ] = None,
    instruction_from: Annotated[
        str | None,
        typer.Option(help="Where instructions come from first: file (default), folder, table or text"),
    ] = None,
    instruction_table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV (columns episode, instruction) or JSON of instructions by episode"),
    ] = None,
    cameras: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Cameras to keep, comma separated, in order; SOURCE=NAME renames one"),
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="Dimensions that are the state, comma separated: 0-6,14")
    ] = None,
    action: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="Dimensions that are the action, comma separated: 0-6,14")
    ] = None,
    grippers: Annotated[
        str | None,
        typer.Option(
            metavar="RANGES",
            help="Grippers to be brought to 0 closed .. 1 open: DIMENSION=CLOSED:OPENED, comma separated",
        ),
    ] = None,
    json_file: JsonFile = None,
    **given: Any,
) -> None:
    """Import data of other tools (ACT, ALOHA, DexVLA, ...) as episode files. Exit status 1 if nothing was imported."""
    from dexvla.formats.importing import import_source

    fields: dict[str, Any] = {} if profile_file is None else read_mapping(profile_file, "the fields of a profile")
    fields |= flags.part_of(given, ImportProfile.model_fields)
    if instruction_from is not None:
        fields["instruction_from"] = instruction_from
    if instruction_table is not None:
        fields["instruction_table"] = read_table(instruction_table)
        if "instruction_from" not in fields:
            fields["instruction_from"] = "table"
    if cameras is not None:
        fields["cameras"] = _cameras(cameras, fields.get("cameras"))
    for name, text in (("state", state), ("action", action)):
        if text is not None:
            fields[name] = _numbers(name, text)
    if grippers is not None:
        fields["grippers"] = [_gripper(text) for text in comma_separated(grippers)]
    profile = ImportProfile.model_validate(fields)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is half written is removed on the way out
    with console.bar("importing", total=0) as bar:

        def show(done: int, total: int, became: Any) -> None:
            bar.expect(total)
            bar.set(done, Path(became.source).name)

        report = import_source(source, out, profile, on_episode=show)
    for each in report.imported:
        said = each.to_json()["warnings"]
        console.say(f"{each.source} -> {each.file}: {each.steps} steps" + (f", {len(said)} notes" if said else ""))
        for text in said:
            console.say(f"  note: {text}")
    for refused in report.refused:
        console.say(f"refused: {refused.source}: {refused.reason}")
    console.say(f"{len(report.imported)} of {len(report.imported) + len(report.refused)} episodes imported into {out}")
    console.write_json(json_file, report.to_json())
    if not report.imported:
        first = report.refused[0]
        raise UserError(f"nothing was imported; {first.source}: {first.reason}")


def read_table(path: Path) -> dict[str, str]:
    """Instructions by episode: a JSON object of texts, or a CSV with a header. Raises UserError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a CSV in UTF-8: {error}") from error
    return table_of(str(path), text)


def _cameras(text: str, before: Any) -> list[dict[str, Any]]:
    """NAME or SOURCE=NAME, each; what a profile says of a camera beside its name stays."""
    known = {camera.source: camera for camera in map(CameraProfile.model_validate, before or [])}
    found = []
    for each in comma_separated(text):
        source, _, name = (part.strip() for part in each.partition("="))
        before_this = known[source].model_dump() if source in known else {}
        found.append({**before_this, "source": source, "name": name or None})
    return found


def _gripper(text: str) -> dict[str, Any]:
    """6=0.002:0.058 -> dimension 6, closed at 0.002, opened at 0.058."""
    dimension, _, ends = text.partition("=")
    closed, _, opened = ends.partition(":")
    try:
        return {"dimension": int(dimension), "closed": float(closed), "opened": float(opened)}
    except ValueError as error:
        raise UserError(f"--grippers {text}: expected DIMENSION=CLOSED:OPENED, as in 6=0.002:0.058") from error


def _numbers(name: str, text: str) -> list[int]:
    """0-6,14 -> 0, 1, ..., 6, 14."""
    found: list[int] = []
    for part in comma_separated(text):
        first, dash, last = part.partition("-")
        try:
            start, end = int(first), int(last if dash else first)
        except ValueError as error:
            raise UserError(f"--{name} {text}: expected numbers and ranges, as in 0-6,14") from error
        if not 0 <= start <= end <= MAX_DIMENSIONS:
            raise UserError(f"--{name} {text}: {part} is no range of dimensions, 0 to {MAX_DIMENSIONS}")
        found += range(start, end + 1)
    return found

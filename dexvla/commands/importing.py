"""`dexvla import`: data of other tools into our episode files."""

import csv
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from dexvla import console
from dexvla.commands import flags
from dexvla.commands.options import JsonFile, comma_separated, writable_folder
from dexvla.episodes.bounds import MAX_DIMENSIONS
from dexvla.errors import UserError
from dexvla.mappings import read_mapping
from dexvla.spec import CameraProfile, ImportProfile

_NAME_COLUMNS = ("episode", "name", "file", "folder", "path")
_TEXT_COLUMNS = ("instruction", "text", "language", "task")
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
    if path.suffix.lower() in {".json", ".yaml", ".yml"}:
        table = read_mapping(path, "instructions by episode")
        return {str(name): str(text) for name, text in table.items()}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV in UTF-8: {error}") from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    name = next((header.index(each) for each in _NAME_COLUMNS if each in header), None)
    text = next((header.index(each) for each in _TEXT_COLUMNS if each in header), None)
    if name is None or text is None:
        raise UserError(f"{path}: its columns are {', '.join(header) or 'none'}; expected episode and instruction")
    short = next((number for number, row in enumerate(rows, 1) if len(row) <= max(name, text)), None)
    if short is not None:
        raise UserError(
            f"{path}: row {short} has {len(rows[short - 1])} cells, expected at least {max(name, text) + 1}"
        )
    return {row[name].strip(): row[text].strip() for row in rows[1:] if row[text].strip()}


def _cameras(text: str, before: Any) -> list[dict[str, Any]]:
    """NAME or SOURCE=NAME, each; what a profile says of a camera's colours stays."""
    known = {camera.source: camera for camera in map(CameraProfile.model_validate, before or [])}
    found = []
    for each in comma_separated(text):
        source, _, name = (part.strip() for part in each.partition("="))
        colours = known[source].colours if source in known else None
        found.append({"source": source, "name": name or None, "colours": colours})
    return found


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

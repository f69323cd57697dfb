"""Tables of instructions by episode, as people write them: a CSV with a header, or a JSON or YAML object of texts."""

import csv
import json
from pathlib import PurePath

from dexvla.errors import UserError
from dexvla.mappings import read_yaml

_NAME_COLUMNS = ("episode", "name", "file", "folder", "path")
_TEXT_COLUMNS = ("instruction", "text", "language", "task")


def table_of(name: str, text: str) -> dict[str, str]:
    """Instructions by episode. name: of the file, whose ending says how it is read. Raises UserError."""
    if PurePath(name).suffix.lower() in {".json", ".yaml", ".yml"}:
        return _object(name, text)
    try:
        rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{name}: not a CSV in UTF-8: {error}") from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    episode = next((header.index(each) for each in _NAME_COLUMNS if each in header), None)
    column = next((header.index(each) for each in _TEXT_COLUMNS if each in header), None)
    if episode is None or column is None:
        raise UserError(f"{name}: its columns are {', '.join(header) or 'none'}; expected episode and instruction")
    short = next((number for number, row in enumerate(rows, 1) if len(row) <= max(episode, column)), None)
    if short is not None:
        raise UserError(
            f"{name}: row {short} has {len(rows[short - 1])} cells, expected at least {max(episode, column) + 1}"
        )
    return {row[episode].strip(): row[column].strip() for row in rows[1:] if row[column].strip()}


def _object(name: str, text: str) -> dict[str, str]:
    is_json = name.lower().endswith(".json")
    try:
        found = json.loads(text) if is_json else read_yaml(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise UserError(f"{name}: expected instructions by episode, found {type(found).__name__}")
    for episode, said in found.items():  # before any is put into words: aliases may repeat each other without end
        if not isinstance(episode, str | int | float) or not isinstance(said, str | int | float):
            raise UserError(f"{name}: holds {type(said).__name__} for an episode, expected a text for each")
    return {str(episode): str(said) for episode, said in found.items()}

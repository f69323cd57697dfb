"""CSV tables of steps from outside: which columns are state, action, time, substep and file names.

Columns are found by their names (`state_0`, `observation.state[3]`, `action.left_waist`) or said by a profile: a
pattern with * or ?, names separated by commas, or what the names begin with. A cell may hold a list, `[0.1, 2]`.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.finding import natural_key
from dexvla.episodes.format import StepSource
from dexvla.episodes.segments import run_length
from dexvla.formats.base import FormatError, Guess, GuessAbout
from dexvla.formats.csv_files import FACTS
from dexvla.spec import FPS_LEAST, FPS_MOST, ImportProfile, Segment

_LARGEST = 2**29  # bytes of a table
_MOST_CELLS = 2**24
_WIDEST = 4 * bounds.MAX_DIMENSIONS  # columns
_LONGEST_CELL = 2**20  # characters
_STATE = ("state", "observation.state", "observation_state", "qpos", "joint_position", "joint_positions", "joints")
_ACTION = ("action", "actions", "target", "command")
_VELOCITY = ("velocity", "qvel", "observation.velocity")
_TIME = ("time", "timestamp", "t", "time_s", "timestamp_s", "timestamp_ns", "timestamp_us", "timestamp_ms", "seconds")
_SUBSTEP = ("substep", "substep_reasoning", "substep_reasonings", "subtask", "reasoning")
_INSTRUCTION = ("instruction", "language_instruction", "language_raw", "task")
_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")  # a number as spreadsheets of some countries write it
_COUNTERS = ("step", "frame", "index", "frame_index", "step_index")


@dataclass(frozen=True, kw_only=True)
class StepTable:
    """T rows. action (T, A), qpos and qvel (T, S). texts: columns that are none of the others, (T,) each."""

    action: NDArray[np.float32]
    qpos: NDArray[np.float32]
    qvel: NDArray[np.float32] | None
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    timestamp: NDArray[Any] | None
    step_source: tuple[StepSource, ...] | None
    substeps: tuple[Segment, ...] | None
    instructions: tuple[str, ...]
    texts: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...]
    guesses: tuple[Guess, ...]

    @property
    def steps(self) -> int:
        return int(self.action.shape[0])


def read_steps(path: Path, profile: ImportProfile) -> StepTable:
    """The table at `path`. Raises FormatError naming line, column, what was found and expected."""
    names, rows, decimal_comma = read_rows(path)
    if not rows:
        raise FormatError(f"{path}: a header and no rows; expected one row a step")
    lower = [name.strip().lower() for name in names]
    guesses: list[Guess] = []
    if decimal_comma:
        guesses.append(Guess(GuessAbout.STATE, "numbers are written with a decimal comma: 0,5 is read as 0.5"))
    state = _motion(path, names, profile.state_entry, _STATE, GuessAbout.STATE, guesses)
    action = _motion(path, names, profile.action_entry, _ACTION, GuessAbout.ACTION, guesses)
    velocity = [] if profile.state_entry else _beginning(names, _VELOCITY)
    time = next((lower.index(name) for name in _TIME if name in lower), None)
    substep = next((lower.index(name) for name in _SUBSTEP if name in lower), None)
    said = next((lower.index(name) for name in _INSTRUCTION if name in lower), None)
    used = {*state, *action, *velocity, time, substep, said}
    others = [place for place in range(len(names)) if place not in used and lower[place] not in _COUNTERS]
    qpos = _numbers(path, names, rows, state)
    qvel = _numbers(path, names, rows, velocity) if velocity else None
    warnings = []
    if qvel is not None and qvel.shape != qpos.shape:
        warnings.append(f"velocities have {qvel.shape[1]} dimensions, the state {qpos.shape[1]}: they were left out")
        qvel = None
    texts = {names[place]: tuple(row[place] for row in rows) for place in others}
    sources = next((column for name, column in texts.items() if name.strip().lower() == "source"), None)
    if sources is not None and not set(sources) <= set(StepSource):
        if any(sources):
            warnings.append(f"column source holds other words than {', '.join(StepSource)}: it was left out")
        sources = None
    labels = None if substep is None else [row[substep] for row in rows]
    return StepTable(
        action=_numbers(path, names, rows, action),
        qpos=qpos,
        qvel=qvel,
        state_names=_named(names, state, qpos),
        action_names=_named(names, action, None),
        timestamp=None if time is None else _times(path, names[time], [row[time] for row in rows]),
        step_source=None if sources is None else tuple(StepSource(source) for source in sources),
        substeps=run_length(labels) if labels and any(text.strip() for text in labels) else None,
        instructions=() if said is None else tuple(dict.fromkeys(row[said] for row in rows if row[said].strip())),
        texts=texts,
        warnings=tuple(warnings),
        guesses=tuple(guesses),
    )


def read_rows(path: Path) -> tuple[list[str], list[list[str]], bool]:
    """(header, rows, whether numbers had a decimal comma, which is a point then); rows of one length.

    Raises FormatError for a table that is too large, uneven or not text.
    """
    size = path.stat().st_size
    if size > _LARGEST:
        raise FormatError(f"{path}: {size} bytes, at most {_LARGEST} of a table are read; cut it into episodes")
    previous = csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            names, rows = _even(path, csv.reader(file, delimiter=delimiter, strict=True))
            comma = delimiter != "," and any(_COMMA.fullmatch(cell) for row in rows for cell in row)
            if comma:
                rows = [[cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in row] for row in rows]
            return names, rows, comma
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 text ({error.reason}); save the table as CSV in UTF-8") from error
    except csv.Error as error:
        raise FormatError(f"{path}: not a CSV table ({error}); save it again as CSV") from error
    finally:
        csv.field_size_limit(previous)


def _even(path: Path, lines: Iterator[list[str]]) -> tuple[list[str], list[list[str]]]:
    names = next(lines, [])
    if not any(name.strip() for name in names):
        raise FormatError(f"{path}: an empty first line; expected the names of the columns")
    if len(names) > _WIDEST:
        raise FormatError(f"{path}: {len(names)} columns, at most {_WIDEST} are read")
    rows: list[list[str]] = []
    for row in lines:
        if not row:
            continue
        if len(row) != len(names):
            raise FormatError(
                f"{path}: row {len(rows) + 2} has {len(row)} cells, expected {len(names)} as the first line; mend it"
            )
        rows.append(row)
        if len(rows) > bounds.MAX_STEPS or len(rows) * len(names) > _MOST_CELLS:
            raise FormatError(f"{path}: more rows than an episode may have steps; cut it into episodes")
    return names, rows


# --- columns ----------------------------------------------------------------------------------------------


def _motion(
    path: Path, names: list[str], entry: str | None, usual: Sequence[str], what: GuessAbout, guesses: list[Guess]
) -> list[int]:
    if entry is None:
        found = _beginning(names, usual)
        if found:
            text = f"{what} is {_few([names[place] for place in found])}, by the names of the columns"
            guesses.append(Guess(what, text))
    elif "*" in entry or "?" in entry:
        found = _sorted(names, [place for place, name in enumerate(names) if fnmatchcase(name, entry)])
    elif "," in entry:
        found = [_place(path, names, name.strip()) for name in entry.split(",") if name.strip()]
    else:
        found = _beginning(names, (entry,))
    if not found:
        named = f" named {entry!r}" if entry else ""
        raise FormatError(
            f"{path}: no columns of the {what}{named}; it has {_few(names)}. Say which with {what}_entry: a pattern "
            f"like {what}_*, or names separated by commas"
        )
    return found


def _place(path: Path, names: list[str], name: str) -> int:
    if name not in names:
        raise FormatError(f"{path}: no column {name!r}; it has {_few(names)}")
    return names.index(name)


def _beginning(names: list[str], words: Sequence[str]) -> list[int]:
    """Columns that are called so, alone or with more behind: `state`, `state_0`, `state[0]`, `state.waist`."""
    for word in words:
        pattern = re.compile(rf"{re.escape(word)}([_.\[/ -].*)?", re.I)
        found = [place for place, name in enumerate(names) if pattern.fullmatch(name.strip())]
        if found:
            return _sorted(names, found)
    return []


def _sorted(names: list[str], places: list[int]) -> list[int]:
    """In the order of their numbers, where all end with one; otherwise as they stand."""
    if all(re.search(r"\d+\W*$", names[place]) for place in places):
        return sorted(places, key=lambda place: natural_key(Path(names[place])))
    return places


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" ... ({len(names)})" if len(names) > 12 else "")


def _named(names: list[str], places: list[int], values: NDArray[np.float32] | None) -> tuple[str, ...]:
    """Of the dimensions, where each has a column of its own that says more than a number."""
    texts = tuple(names[place] for place in places)
    if values is not None and values.shape[1] != len(texts):
        return ()
    return () if all(re.search(r"\d+\W*$", text) for text in texts) else texts


# --- cells ------------------------------------------------------------------------------------------------


def _numbers(path: Path, names: list[str], rows: list[list[str]], places: list[int]) -> NDArray[np.float32]:
    """(T, D): a column each, or lists, one behind the other."""
    made: list[list[float]] = []
    for line, row in enumerate(rows, 2):
        values: list[float] = []
        for place in places:
            values += _cell(path, names[place], line, row[place])
        if made and len(values) != len(made[0]):
            raise FormatError(f"{path}: row {line} holds {len(values)} values, expected {len(made[0])} as the first")
        made.append(values)
        if len(values) > bounds.MAX_DIMENSIONS or len(made) * len(values) > bounds.MAX_VALUES:
            raise FormatError(f"{path}: row {line}: more values than an episode may hold; cut it into episodes")
    with np.errstate(over="ignore"):
        array = np.asarray(made, np.float64).astype(np.float32)
    if not np.isfinite(array).all():
        line = int(np.nonzero(~np.isfinite(array).all(axis=1))[0][0]) + 2
        raise FormatError(f"{path}: row {line} holds a value that is not finite or no float32; mend it or leave it out")
    return array


def _cell(path: Path, name: str, line: int, text: str) -> list[float]:
    text = text.strip()
    try:
        if text.startswith(("[", "(")):
            parts = text.strip("[]()").replace(",", " ").split()
            return [float(part) for part in parts]
        return [float(text)]
    except ValueError as error:
        raise FormatError(f"{path}: row {line}, column {name}: {text[:40]!r}, expected a number") from error


def _times(path: Path, name: str, texts: list[str]) -> NDArray[Any]:
    """Integers as they are: their unit is told apart later. Otherwise float64."""
    if all(re.fullmatch(r"-?\d{1,18}", text.strip()) for text in texts):
        return np.asarray([int(text) for text in texts], np.int64)
    return np.asarray([_number(path, name, line, text) for line, text in enumerate(texts, 2)], np.float64)


def _number(path: Path, name: str, line: int, text: str) -> float:
    values = _cell(path, name, line, text)
    if len(values) != 1:
        raise FormatError(f"{path}: row {line}, column {name}: {text[:40]!r}, expected one number")
    return values[0]


# --- the table of episodes ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a row of episodes.csv says of one. ours: what our own export adds, see dexvla.formats.stored."""

    fps: float | None = None
    instructions: tuple[str, ...] = ()
    success: bool | None = None
    robot: str | None = None
    task: str | None = None
    label_source: str | None = None
    ours: Mapping[str, Any] = field(default_factory=dict)


def read_episode_table(path: Path) -> dict[str, Said]:
    """By episode, what the `episodes.csv` of dexvla.formats.csv_files says; other columns are passed over."""
    names, rows, _ = read_rows(path)
    said: dict[str, Said] = {}
    for line, row in enumerate(rows, 2):
        cells = dict(zip(names, (cell.strip() for cell in row), strict=True))
        fps, success = cells.get("fps"), cells.get("success", "").lower()
        more = _list(path, line, cells.get("paraphrases", ""))
        rate = _number(path, "fps", line, fps) if fps else None
        if rate is not None and not FPS_LEAST <= rate <= FPS_MOST:
            raise FormatError(f"{path}: row {line}, fps {rate:g}, expected {FPS_LEAST:g} to {FPS_MOST:g} Hz")
        said[cells.get("name", "")] = Said(
            fps=rate,
            instructions=tuple(text for text in (cells.get("instruction", ""), *more) if text),
            success={"true": True, "1": True, "false": False, "0": False}.get(success),
            robot=cells.get("robot") or None,
            task=cells.get("task") or None,
            label_source=cells.get("label_source") or None,
            ours=_facts(cells.get(FACTS, "")),
        )
    return said


def _facts(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _list(path: Path, line: int, text: str) -> list[str]:
    if not text:
        return []
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: row {line}, column paraphrases: {text[:40]!r}, expected a JSON list") from error
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise FormatError(f"{path}: row {line}, column paraphrases: {text[:40]!r}, expected a JSON list of texts")
    return values

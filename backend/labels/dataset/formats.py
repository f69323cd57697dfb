"""Labels without motion and images: JSON, CSV with steps and seconds, and the tab-delimited text of ELAN. Reading; the
other direction is backend.labels.dataset.writing."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.core.errors import InvalidError, field_errors
from backend.core.limits import MAX_SEGMENTS, MAX_STEPS
from backend.core.schemas import Prose
from backend.labels.core.segments import Instruction, LabelText, Tag
from backend.labels.dataset.writing import ELAN
from backend.tables.document import Quality, Tier
from backend.tables.segment import Provenance
from dexvla.spec import FPS_LEAST, FPS_MOST

MAX_NUMBER = 2**31 - 1


class LabelledSegment(BaseModel):
    """Half open, steps."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    start: int = Field(ge=0, le=MAX_STEPS)
    end: int = Field(gt=0, le=MAX_STEPS)
    text: LabelText
    provenance: Provenance = Provenance.IMPORTED
    source: Prose | None = Field(None, max_length=64)
    confidence: float | None = Field(None, ge=0, le=1)


class LabelledEpisode(BaseModel):
    """What is not given is not changed by an import. annotator: a name, for ELAN's column of participants."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    number: int = Field(ge=0, le=MAX_NUMBER)
    identity: str | None = Field(None, max_length=64)
    steps: int | None = Field(None, ge=1, le=MAX_STEPS)
    fps: float | None = Field(None, ge=FPS_LEAST, le=FPS_MOST)
    annotator: str | None = Field(None, max_length=64)
    instruction: Instruction | None = None
    paraphrases: list[Instruction] | None = None
    success: bool | None = None
    failure_step: int | None = Field(None, ge=0, le=MAX_STEPS)
    quality: Quality | None = None
    tags: list[Tag] | None = None
    segments: list[LabelledSegment] = Field(min_length=1, max_length=MAX_SEGMENTS, fail_fast=True)


class LabelFile(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    format: Literal["dexvla-labels"] = "dexvla-labels"
    version: Literal[1] = 1
    dataset: str = ""
    tier: Tier = Tier.SUBSTEP
    episodes: list[LabelledEpisode] = Field(fail_fast=True)


# --- reading --------------------------------------------------------------------------------------------------


class KnownEpisode(BaseModel):
    """What turns a file's rows into labels of an episode."""

    number: int
    steps: int
    fps: float | None


def read(content: str, form: str, tier: Tier, known: Sequence[KnownEpisode], only: int | None) -> LabelFile:
    """only: number of the episode that rows without one are about. Raises InvalidError that names the first line or
    field that cannot be read."""
    content = content.removeprefix("\ufeff")
    if form == "json":
        return _read_json(content)
    rows = _csv_rows(content) if form == "csv" else _elan_rows(content)
    return _from_rows(rows, tier, {episode.number: episode for episode in known}, only)


def _read_json(content: str) -> LabelFile:
    try:
        return LabelFile.model_validate_json(content)
    except ValidationError as error:
        place, what = next(iter(field_errors(error).items()))
        raise InvalidError(f"This is not a file of labels: {place or 'the file'}: {what}") from None


class _Row(BaseModel):
    """A line of a table. times in seconds where steps are not given."""

    line: int
    episode: Annotated[int, Field(ge=0)] | None
    start: int | None = None
    end: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    text: str
    tier: str | None = None


def _csv_rows(content: str) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(content))
    try:
        missing = {"text"} - set(reader.fieldnames or ())
        if missing:
            raise InvalidError(f"The first line must name the columns; {', '.join(sorted(missing))} is missing.")
        for cells in reader:
            yield _Row(
                line=reader.line_num,
                episode=_number(cells, "episode", reader.line_num),
                start=_number(cells, "start_step", reader.line_num),
                end=_number(cells, "end_step", reader.line_num),
                start_seconds=_real(cells, "start_seconds", reader.line_num),
                end_seconds=_real(cells, "end_seconds", reader.line_num),
                text=cells.get("text") or "",
                tier=cells.get("tier") or None,
            )
    except csv.Error as error:
        raise InvalidError(f"Line {reader.reader.line_num} is not CSV: {error}") from None


def _number(cells: dict[str, Any], name: str, line: int) -> int | None:
    value = (cells.get(name) or "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise InvalidError(f"Line {line}: {name} is {value[:40]!r}, expected a whole number from 0.")
    return int(value)


def _real(cells: dict[str, Any], name: str, line: int) -> float | None:
    value = (cells.get(name) or "").strip()
    if not value:
        return None
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e7:
        raise InvalidError(f"Line {line}: {name} is {value[:40]!r}, expected seconds from 0.")
    return found


def _elan_rows(content: str) -> Iterator[_Row]:
    """With a line of column names as ELAN writes it on request, or in our own order without it."""
    lines = [line for line in content.split("\n") if line.strip()]
    names = [name.strip() for name in lines[0].rstrip("\r").split("\t")] if lines else []
    headed = any(name.startswith("Begin Time") for name in names)
    if not headed:
        names = list(ELAN)
    begin, end = _column(names, "Begin Time"), _column(names, "End Time")
    for number, line in enumerate(lines[1:] if headed else lines, start=2 if headed else 1):
        cells = dict(zip(names, line.rstrip("\r").split("\t"), strict=False))
        text = cells.get("Annotation") or cells.get(names[-1] if headed and "Annotation" not in names else "", "")
        yield _Row(
            line=number,
            episode=_file_number(cells.get("File", "")),
            start_seconds=_time(cells.get(begin, ""), number),
            end_seconds=_time(cells.get(end, ""), number),
            text=text,
            tier=cells.get("Tier") or None,
        )


def _column(names: list[str], name: str) -> str:
    """Of the forms in which ELAN writes a time, plain seconds first."""
    forms = [f"{name} - {form}" for form in ("ss.msec", "msec", "hh:mm:ss.ms")]
    return next((form for form in forms if form in names), forms[0])


def _time(value: str, line: int) -> float:
    value = value.strip()
    parts = value.split(":")
    try:
        seconds = [float(part) for part in parts]
    except ValueError:
        seconds = [-1.0]
    if not 1 <= len(seconds) <= 3 or min(seconds) < 0 or not max(seconds) < 1e7:
        raise InvalidError(f"Line {line}: {value[:40]!r} is not a time; expected seconds or hh:mm:ss.ms.")
    total = 0.0
    for part in seconds:
        total = total * 60 + part
    return total


def _file_number(name: str) -> int | None:
    digits = "".join(letter for letter in name.rpartition("/")[2] if letter.isascii() and letter.isdigit())
    return int(digits) if digits and len(digits) <= 9 else None


def _from_rows(rows: Iterable[_Row], tier: Tier, known: dict[int, KnownEpisode], only: int | None) -> LabelFile:
    """Rows of other tiers are left out; what no row covers is a segment without text."""
    found: dict[int, list[LabelledSegment]] = {}
    for row in rows:
        if row.tier not in {None, tier.value} and {row.tier} <= {member.value for member in Tier}:
            continue
        number = row.episode if row.episode is not None else only
        if number is None or number not in known:
            what = "names no episode" if number is None else f"is about episode {number}, which is not there"
            raise InvalidError(f"Line {row.line} {what}.")
        segments = found.setdefault(number, [])
        if len(segments) >= known[number].steps:
            raise InvalidError(f"Line {row.line}: episode {number} has {known[number].steps} steps and more segments.")
        segments.append(_segment(row, known[number]))
    return LabelFile(
        tier=tier,
        episodes=[
            LabelledEpisode(number=number, segments=_without_gaps(number, segments, known[number].steps))
            for number, segments in sorted(found.items())
        ],
    )


def _segment(row: _Row, episode: KnownEpisode) -> LabelledSegment:
    start, end = row.start, row.end
    if start is None or end is None:
        if row.start_seconds is None or row.end_seconds is None:
            raise InvalidError(f"Line {row.line} has neither steps nor seconds.")
        if episode.fps is None:
            raise InvalidError(f"Line {row.line} has seconds, but episode {episode.number} has no known rate.")
        start, end = round(row.start_seconds * episode.fps), round(row.end_seconds * episode.fps)
    try:
        return LabelledSegment(start=start, end=min(end, MAX_STEPS), text=row.text)
    except ValidationError as error:
        place, what = next(iter(field_errors(error).items()))
        raise InvalidError(f"Line {row.line}: {place}: {what}") from None


def _without_gaps(number: int, segments: list[LabelledSegment], steps: int) -> list[LabelledSegment]:
    segments = sorted(segments, key=lambda one: one.start)
    filled: list[LabelledSegment] = []
    position = 0
    for one in segments:
        if one.start < position or one.end <= one.start or one.end > steps:
            raise InvalidError(
                f"Episode {number}: {one.text[:60]!r} is on steps {one.start} to {one.end - 1}; expected no overlap "
                f"and steps from {position} to {steps - 1}."
            )
        if one.start > position:
            filled.append(LabelledSegment(start=position, end=one.start, text=""))
        filled.append(one)
        position = one.end
    if position < steps:
        filled.append(LabelledSegment(start=position, end=steps, text=""))
    return filled

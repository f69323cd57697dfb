"""What people ask for -> new episodes, each with its pieces, before anything is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from backend.core.errors import NotFoundError
from backend.core.limits import MAX_SEGMENTS
from backend.editing.labels import Moving
from backend.editing.schemas import EditIn, EpisodeRef, PlannedOut, Range
from backend.episodes.files import file_of
from backend.studio.context import Studio
from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EditAction
from dexvla.editing import plans
from dexvla.editing.apply import check_edit
from dexvla.episodes.reader import read_positions
from dexvla.errors import UserError
from dexvla.spec import Edit, Piece
from dexvla.spec.survey import Run

_LOOKED_AT = 20  # files that a preview opens; the job looks at all before it writes one
SHARED = frozenset((EditAction.MOVE, EditAction.COPY))


@dataclass(frozen=True, kw_only=True)
class Item:
    """One new episode. edit None: the source's file itself. problem: why it cannot be made."""

    sources: tuple[EpisodeRow, ...]
    edit: Edit | None
    ends: bool = True
    notes: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        if self.edit is not None:
            return self.edit.pieces
        return (Piece(start=0, end=self.sources[0].steps),)


def plan(studio: Studio, rows: Sequence[EpisodeRow], body: EditIn) -> tuple[list[Item], list[EpisodeRow]]:
    """(what would be made, episodes that would stay as they are), in the order of the rows."""
    if body.action is EditAction.JOIN:
        return [_join(studio, rows, body)], []
    items: list[Item] = []
    skipped = []
    for row in rows:
        if body.action in SHARED:
            items.append(Item(sources=(row,), edit=None))
            continue
        try:
            edits = _edits(studio, row, body)
        except UserError as error:
            items.append(Item(sources=(row,), edit=None, problem=str(error)))
            continue
        if not edits:
            skipped.append(row)
        for edit in edits:
            ends = body.action is not EditAction.SPLIT or edit.pieces[-1].end == row.steps
            item = Item(sources=(row,), edit=edit, ends=ends)
            items.append(_checked(studio, item, body, look=len(items) < _LOOKED_AT))
    return items, skipped


def _edits(studio: Studio, row: EpisodeRow, body: EditIn) -> Sequence[Edit]:
    """Raises UserError for steps that the episode does not have."""
    match body.action:
        case EditAction.KEEP:
            assert body.first is not None
            assert body.last is not None
            return [plans.keep(row.steps, body.first, body.last)]
        case EditAction.CUT:
            assert body.first is not None
            assert body.last is not None
            return [plans.cut(row.steps, body.first, body.last)]
        case EditAction.SPLIT:
            return plans.split(row.steps, body.at)
        case EditAction.RENAME:
            return [plans.rename(row.steps)]
        case _:
            runs = _rest(studio, row, body)
            return [plans.without(row.steps, runs)] if runs else []


def _rest(studio: Studio, row: EpisodeRow, body: EditIn) -> Sequence[Run]:
    if row.id in body.drop:
        return [Run(start=one.first, end=one.last + 1) for one in body.drop[row.id]]
    try:
        path = file_of(studio, row)
    except NotFoundError as error:
        raise UserError(error.message) from error
    try:
        qpos = read_positions(path)
    except (UserError, OSError) as error:
        raise UserError(_plain(str(error), [row], [path])) from error
    return plans.idle_runs(qpos, row.fps, ends_only=body.action is EditAction.TRIM_IDLE)


def _join(studio: Studio, rows: Sequence[EpisodeRow], body: EditIn) -> Item:
    try:
        edit = plans.join([row.steps for row in rows])
    except UserError as error:
        return Item(sources=tuple(rows), edit=None, problem=str(error))
    wordings = dict.fromkeys(row.instruction for row in rows)
    if body.instruction is None and len(wordings) > 1:
        shown = ", ".join(f"“{text[:60]}”" for text in list(wordings)[:3])
        return Item(
            sources=tuple(rows),
            edit=edit,
            problem=f"The episodes have {len(wordings)} instructions ({shown}); give one for the new episode.",
        )
    return _checked(studio, Item(sources=tuple(rows), edit=edit), body, look=True)


def _checked(studio: Studio, item: Item, body: EditIn, *, look: bool) -> Item:
    """With what the file is to say of instruction and outcome, which are what people published; and with notes."""
    assert item.edit is not None
    last = item.sources[item.edit.pieces[-1].source]
    success = last.success if item.ends else None
    edit = Edit.model_validate(
        {
            **item.edit.model_dump(),
            "cameras": body.cameras,
            "dimensions": body.dimensions,
            "instruction": body.instruction or item.sources[0].instruction or None,
            "outcome": {True: "success", False: "failure", None: "unknown"}[success],
        }
    )
    notes: tuple[str, ...] = ()
    problem = None
    if look:
        paths: list[Path] = []
        try:
            paths = [file_of(studio, row) for row in item.sources]
            notes = check_edit(paths, edit)
        except NotFoundError as error:
            problem = error.message
        except (UserError, OSError) as error:
            problem = _plain(str(error), item.sources, paths)
    return Item(sources=item.sources, edit=edit, ends=item.ends, notes=notes, problem=problem)


def _plain(text: str, rows: Sequence[EpisodeRow], paths: Sequence[Path]) -> str:
    """Episodes by their numbers instead of their files."""
    for row, path in zip(rows, paths, strict=False):  # fewer paths: one of them is what went wrong
        text = text.replace(str(path), f"episode {row.number}")
    return text


def shown(item: Item, drafts: dict[str, Draft]) -> PlannedOut:
    """drafts: of the substeps, by episode."""
    pieces = item.pieces
    sources = item.sources
    moving = Moving(row=sources[0], sources=sources, pieces=pieces)
    parts = [drafts[row.id].segments if row.id in drafts else () for row in sources]
    before = [[one for one in part if one.text.strip()] for part in parts]
    after = moving.segments(before) if any(before) and item.problem is None else ()
    texts = {one.text for one in after}
    problem = item.problem
    if problem is None and len(after) > MAX_SEGMENTS:
        problem = f"it would have {len(after)} substeps, at most {MAX_SEGMENTS} can be edited; join fewer"
    lost = dict.fromkeys(one.text for part in before for one in part if one.text not in texts)
    return PlannedOut(
        sources=[EpisodeRef(episode_id=row.id, number=row.number) for row in sources],
        steps_before=sum(row.steps for row in sources),
        steps=sum(one.steps for one in pieces),
        pieces=[Range(first=one.start, last=one.end - 1) for one in pieces[:100]],
        dropped=_gaps(pieces, sources[0].steps) if len(sources) == 1 else [],
        substeps_before=sum(map(len, before)),
        substeps=len(after),
        lost=[] if item.problem else list(lost),
        notes=list(item.notes),
        problem=problem,
    )


def _gaps(pieces: Sequence[Piece], steps: int) -> list[Range]:
    """Steps of one source that are in no piece, which rise."""
    borders = [0, *(edge for one in pieces for edge in (one.start, one.end)), steps]
    return [Range(first=a, last=b - 1) for a, b in list(pairwise(borders))[::2] if a < b]


SUBSTEPS = Tier.SUBSTEP

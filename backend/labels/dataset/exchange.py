"""Labels alone, out of a dataset and into it."""

import tempfile
from collections.abc import Iterator
from typing import IO, Any

from sqlalchemy.orm import Session
from starlette.responses import Response, StreamingResponse

from backend.core.errors import InvalidError, NotFoundError
from backend.identity.actor import Actor
from backend.labels.core.settings import Labelling
from backend.labels.dataset import repository
from backend.labels.dataset.changes import change_draft, store_change
from backend.labels.dataset.formats import KnownEpisode, LabelledEpisode, read
from backend.labels.dataset.repository import Item
from backend.labels.dataset.schemas import ChangeResult, ImportLabelsIn, SkippedOut
from backend.labels.dataset.service import dataset_row
from backend.labels.dataset.writing import MEDIA, SUFFIX, WrittenEpisode, without_rate, write
from backend.labels.drafts import repository as draft_queries
from backend.labels.drafts.repository import blind_for
from backend.labels.drafts.service import visible
from backend.studio.context import Studio
from backend.tables.bulk_change import ChangeKind
from backend.tables.dataset import Dataset
from backend.tables.document import DOCUMENT, Tier
from backend.tables.draft import SUBMITTED_STATES, Draft, WorkState
from backend.tables.episode import LabelState
from backend.tables.label_history import HistoryKind
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment, Provenance

_PART = 2**20  # bytes of a file that are sent at once

# --- out ------------------------------------------------------------------------------------------------------


def export_dataset(studio: Studio, me: Actor, dataset_id: str, tier: Tier, form: str, *, drafts: bool) -> Response:
    """Published labels, or the drafts as they are now; what blind labelling hides from this person is left out. From
    one moment of the database, a batch at a time, into a file that is sent: whoever reads slowly keeps no transaction
    open, and what cannot be written is told before anything is sent."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    try:
        with studio.db.transaction(write=False) as db:
            dataset = dataset_row(db, dataset_id)
            name = dataset.name
            if form == "elan" and dataset.fps is None:
                number = repository.first_without_rate(db, dataset_id, tier, drafts=drafts)
                if number is not None:
                    raise without_rate(number)
            hidden = {one for one, its_tier in blind_for(db, dataset_id, me.id) if its_tier is tier}
            for part in write(name, tier, form, _labelled(db, dataset, tier, hidden, drafts=drafts)):
                file.write(part.encode())
    except BaseException:
        file.close()
        raise
    headers = {**_named(name, tier, form), "Content-Length": str(file.tell())}
    return StreamingResponse(_sent(file), media_type=MEDIA[form], headers=headers)


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while part := file.read(_PART):
            yield part


def _labelled(db: Session, dataset: Dataset, tier: Tier, hidden: set[str], *, drafts: bool) -> Iterator[WrittenEpisode]:
    """By number."""
    names = repository.everybody(db)
    for episode, document, person in repository.documents(db, dataset.id, tier, drafts=drafts):
        if episode.id not in hidden:
            yield _written(episode, document, dataset.fps, names.get(person or ""))


def _written(episode: Any, document: Any, fps: float | None, annotator: str | None) -> WrittenEpisode:
    said = {name: getattr(document, name) for name in DOCUMENT}
    about = {"number": episode.number, "identity": episode.identity, "steps": episode.steps}
    return WrittenEpisode(**about, fps=episode.fps or fps, annotator=annotator, **said)


def export_episode(db: Session, me: Actor, episode_id: str, tier: Tier, form: str, *, drafts: bool) -> Response:
    here = visible(db, me, episode_id, tier, 0)
    dataset = dataset_row(db, here.row.dataset_id)
    source = here.draft if drafts else draft_queries.last_revision(db, episode_id, tier)
    if source is None:
        raise NotFoundError("This episode has no such labels yet.")
    person = source.published_by if isinstance(source, LabelRevision) else source.updated_by
    annotator = draft_queries.names(db, {person}).get(person or "")
    content = "".join(write(dataset.name, tier, form, [_written(here.row, source, dataset.fps, annotator)]))
    headers = _named(f"{dataset.name}-{here.row.number}", tier, form)
    return Response(content, media_type=MEDIA[form], headers=headers)


def _named(name: str, tier: Tier, form: str) -> dict[str, str]:
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name).strip("-") or "labels"
    return {"Content-Disposition": f'attachment; filename="{plain}-{tier.value}.{SUFFIX[form]}"'}


# --- in -------------------------------------------------------------------------------------------------------


def import_labels(db: Session, me: Actor, studio: Studio, dataset_id: str, body: ImportLabelsIn) -> ChangeResult:
    """As drafts, in one transaction that can be undone. What does not fit an episode is left out and named."""
    dataset = dataset_row(db, dataset_id, lock=True)
    items = {item.row.number: item for item in repository.items(db, dataset_id, body.tier, lock=True)}
    known = [
        KnownEpisode(number=number, steps=item.row.steps, fps=item.row.fps or dataset.fps)
        for number, item in items.items()
    ]
    labels = read(body.content, body.format, body.tier, known, body.episode)
    if labels.tier is not body.tier:
        raise InvalidError(f"The file holds the tier {labels.tier.value}, not {body.tier.value}.")
    hidden = blind_for(db, dataset_id, me.id)
    matched: list[tuple[Item, LabelledEpisode]] = []
    skipped: list[SkippedOut] = []
    misfits = 0
    for episode in labels.episodes:
        item = items.get(episode.number)
        if item is None:
            raise InvalidError(f"The dataset has no episode {episode.number}.")
        misfit = _misfit(item, episode)
        reason = misfit or _not_importable(dataset, item, overwrite=body.overwrite)
        misfits += misfit is not None
        if (item.row.id, body.tier) in hidden:
            reason = "you label it blind"
        if reason is None:
            matched.append((item, episode))
        else:
            skipped.append(SkippedOut(episode_id=item.row.id, number=item.row.number, reason=reason))
    if skipped and misfits == len(labels.episodes):
        raise InvalidError(f"Nothing of the file fits. Episode {skipped[0].number}: {skipped[0].reason}.")
    if body.preview or not matched:
        return ChangeResult(change=None, changed=len(matched), skipped=skipped)
    entries = [_take(db, me, item, episode, body.tier) for item, episode in matched]
    parameters = {"tier": body.tier.value, "format": body.format}
    change = store_change(db, me, studio, dataset, ChangeKind.IMPORT, parameters, entries)
    return ChangeResult(change=change, changed=len(matched), skipped=skipped)


def _misfit(item: Item, episode: LabelledEpisode) -> str | None:
    """Why these labels cannot be the episode's."""
    if episode.identity not in (None, item.row.identity, item.row.former_identity):
        return "the file's is another one, its motion or images differ"
    position = 0
    for one in episode.segments:
        if one.start != position or one.end <= one.start:
            return (
                f"a segment is on steps {one.start} to {one.end - 1}, expected it to start at {position}: labels have "
                "neither gaps nor overlaps"
            )
        position = one.end
    if position != item.row.steps:
        return f"the file's labels end at {position}, not at {item.row.steps}"
    if episode.failure_step is not None and episode.failure_step >= item.row.steps:
        return f"it has no step {episode.failure_step} at which it could fail"
    return None


def _not_importable(dataset: Dataset, item: Item, *, overwrite: bool) -> str | None:
    if item.held:
        return "somebody is editing it"
    if item.draft is None:
        return None
    if item.draft.state in SUBMITTED_STATES and Labelling.model_validate(dataset.labelling).review:
        return f"it is {item.draft.state.value}; reopen it first"
    if item.draft.edit and not overwrite and any(one.text for one in item.draft.segments):
        return "somebody labelled it already"
    return None


def _take(db: Session, me: Actor, item: Item, episode: LabelledEpisode, tier: Tier) -> dict[str, Any]:
    segments = tuple(
        LabelSegment(one.start, one.end, one.text, Provenance.IMPORTED, one.source, one.confidence)
        for one in episode.segments
    )
    given = episode.model_fields_set & {"instruction", "paraphrases", "success", "failure_step", "quality", "tags"}
    document = {name: getattr(episode, name) for name in given if getattr(episode, name) is not None}
    if document.get("success"):
        document["failure_step"] = None
    entry = change_draft(db, me, item, segments, HistoryKind.IMPORTED, tier=tier, document=document)
    draft = db.get_one(Draft, (item.row.id, tier, 0))
    draft.contributors = list(dict.fromkeys([*draft.contributors, me.id]))
    if draft.state in {WorkState.UNASSIGNED, WorkState.CLAIMED}:
        draft.state = WorkState.IN_PROGRESS
    elif draft.state in {*SUBMITTED_STATES, WorkState.REJECTED}:
        draft.state = WorkState.REOPENED
    if tier is Tier.SUBSTEP:
        item.row.label_state = LabelState.DRAFT
    return entry

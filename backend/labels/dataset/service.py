"""A dataset's labelling settings and its vocabulary, which is also the guideline of those who label."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import NO_KEY
from backend.core.errors import ConflictError, InvalidError, NotFoundError
from backend.identity.actor import Actor
from backend.labels.core.settings import Labelling
from backend.labels.dataset import repository
from backend.labels.dataset.schemas import EntryOut, ExampleOut, LabellingPatch, PersonOut, VocabularyIn, VocabularyOut
from backend.labels.sets import repository as sets
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow

_STRANGERS = 100


def dataset_row(db: Session, dataset_id: str, *, lock: bool = False) -> Dataset:
    row = db.get(Dataset, dataset_id, with_for_update=NO_KEY if lock else None)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return row


def labelling(db: Session, dataset_id: str) -> Labelling:
    return Labelling.model_validate(dataset_row(db, dataset_id).labelling)


def change_labelling(db: Session, me: Actor, studio: Studio, dataset_id: str, body: LabellingPatch) -> Labelling:
    row = dataset_row(db, dataset_id, lock=True)
    given = body.model_dump(mode="json", exclude_unset=True)
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise InvalidError(f"{missing[0]} has no value; leave it out to keep it.", fields={missing[0]: "no value"})
    merged = {**row.labelling, **given}
    try:
        settings = Labelling.model_validate(merged)
    except ValidationError as error:
        raise InvalidError(str(error.errors()[0]["msg"])) from error
    if settings.short_seconds >= settings.long_seconds:
        raise InvalidError(
            f"Substeps under {settings.short_seconds:g} s are called short and over {settings.long_seconds:g} s long; "
            "the first must be less.",
            fields={"short_seconds": "not less than long_seconds"},
        )
    row.labelling = merged
    record(db, me, "dataset.labelling", dataset_id, **given)
    publish_after_commit(db, studio, "dataset", dataset_id)
    return settings


def people(db: Session) -> list[PersonOut]:
    return [PersonOut.model_validate(user) for user in repository.annotators(db)]


# --- vocabulary -----------------------------------------------------------------------------------------------


def texts_of(row: Dataset, tier: Tier) -> list[str]:
    return list(row.vocabulary if tier is Tier.SUBSTEP else row.plan_vocabulary)


def set_texts(row: Dataset, tier: Tier, texts: list[str], guideline: dict[str, Any]) -> None:
    """guideline: of the tier; what it says about texts that are gone goes too."""
    if tier is Tier.SUBSTEP:
        row.vocabulary = texts
    else:
        row.plan_vocabulary = texts
    row.guideline = {**row.guideline, tier.value: {text: guideline[text] for text in texts if text in guideline}}
    row.vocabulary_edit += 1


def vocabulary(db: Session, dataset_id: str, tier: Tier) -> VocabularyOut:
    row = dataset_row(db, dataset_id)
    used = _used(db, dataset_id, tier)
    known = texts_of(row, tier)
    details = row.guideline.get(tier.value, {})
    episode_ids = [example["episode_id"] for about in details.values() for example in about["examples"]]
    steps = _steps(db, dataset_id, episode_ids)
    entries = [
        EntryOut(
            text=text,
            digit=place if place <= 9 else None,
            description=details.get(text, {}).get("description", ""),
            examples=[
                ExampleOut(**example, there=example["step"] < steps.get(example["episode_id"], 0))
                for example in details.get(text, {}).get("examples", [])
            ],
            segments=used[text],
        )
        for place, text in enumerate(known, start=1)
    ]
    listed = set(known)
    strangers = [text for text, _ in used.most_common() if text not in listed]
    return VocabularyOut(tier=tier, edit=row.vocabulary_edit, entries=entries, strangers=strangers[:_STRANGERS])


def _steps(db: Session, dataset_id: str, ids: Iterable[str]) -> dict[str, int]:
    """Of those episodes that are in the dataset."""
    query = select(EpisodeRow.id, EpisodeRow.steps).where(
        EpisodeRow.id.in_(set(ids)), EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None)
    )
    return {row.id: row.steps for row in db.execute(query)}


def _used(db: Session, dataset_id: str, tier: Tier) -> Counter[str]:
    """Segments of each text, in the first rater's drafts; where there is none, in what is published."""
    found = Counter(sets.used(db, dataset_id, tier, 0))
    found.update(sets.published_alone(db, dataset_id, tier))
    return found


def change_vocabulary(db: Session, me: Actor, studio: Studio, dataset_id: str, body: VocabularyIn) -> VocabularyOut:
    """Order, entries and what they mean. Labels keep their texts: see the rename for those."""
    row = dataset_row(db, dataset_id, lock=True)
    if row.vocabulary_edit != body.edit:
        raise ConflictError(
            "Somebody changed this vocabulary meanwhile, or a publication added to it. Look at it again.",
            detail=vocabulary(db, dataset_id, body.tier).model_dump(mode="json"),
        )
    ids = {example.episode_id for entry in body.entries for example in entry.examples}
    steps = _steps(db, dataset_id, ids)
    for place, entry in enumerate(body.entries):
        for number, example in enumerate(entry.examples):
            if example.step >= steps.get(example.episode_id, 0):
                raise InvalidError(
                    f"Example {number + 1} of {entry.text!r} names step {example.step} of an episode that is not in "
                    "this dataset, or is shorter.",
                    fields={f"entries.{place}.examples.{number}": "no such step"},
                )
    guideline = {
        entry.text: {
            "description": entry.description,
            "examples": [example.model_dump(mode="json") for example in entry.examples],
        }
        for entry in body.entries
        if entry.description or entry.examples
    }
    set_texts(row, body.tier, [entry.text for entry in body.entries], guideline)
    record(db, me, "dataset.vocabulary", dataset_id, tier=body.tier.value, entries=len(body.entries))
    db.flush()
    publish_after_commit(db, studio, "dataset", dataset_id)
    return vocabulary(db, dataset_id, body.tier)

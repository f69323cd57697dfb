"""The episodes of a choice with their labels, as a manifest."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from backend.core.errors import NotFoundError
from backend.datasets import repository as datasets
from backend.episodes import repository as episodes
from backend.episodes.files import place
from backend.exports.schemas import ExportChoice, Labelled, Outcome
from backend.labels.drafts import repository as labels
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow
from backend.tables.label_revision import LabelRevision
from backend.versions.files import manifest_of_version
from backend.versions.service import manifest_of
from dexvla.episodes.manifest import load_manifest
from dexvla.spec import DatasetManifest, EpisodeEntry


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """rows: the episodes, by number. labelled: ids of those that go out with labels.

    published: newest revisions of all of the dataset, all_rows: its episodes. version: whose labels go out; None: the
    newest. listed: what that version lists, by episode.
    """

    dataset: Dataset
    rows: tuple[EpisodeRow, ...]
    labelled: frozenset[str]
    published: dict[str, LabelRevision]
    all_rows: tuple[EpisodeRow, ...]
    version: DatasetVersion | None = None
    listed: dict[str, EpisodeEntry] | None = None

    def manifest(self, db: Session, studio: Studio, *, here: Path) -> DatasetManifest:
        """here: the folder that paths in it count from. Raises InvalidError if a file is gone."""
        plans = labels.last_revisions(db, self.dataset.id, Tier.PLAN) if self.dataset.labelling.get("plan_tier") else {}
        made = manifest_of(studio, self.dataset, self.rows, self.published, plans, here=here)
        if self.listed is None:
            return made
        folder = studio.settings.folder
        entries = [
            self.listed[row.id].model_copy(update={"path": os.path.relpath(place(folder, row), here)})
            for row in self.rows
        ]
        return made.model_copy(update={"episodes": tuple(entries)})


def choose(db: Session, studio: Studio, dataset_id: str, choice: ExportChoice) -> Chosen:
    """Raises NotFoundError for a dataset or a version that is not there."""
    dataset = datasets.by_id(db, dataset_id)
    if dataset is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    rows = episodes.of_dataset(db, dataset_id)
    published = labels.last_revisions(db, dataset_id)
    version = listed = None
    labelled = frozenset(published)
    if choice.version_id is not None:
        version = datasets.versions_by_id(db, [choice.version_id]).get(choice.version_id)
        if version is None or version.dataset_id != dataset_id:
            raise NotFoundError("This dataset has no such version; look at the list again.")
        path = manifest_of_version(studio, version)
        if not path.is_file():
            raise NotFoundError(f"The manifest of version {version.number} is gone; restore it from a backup.")
        entries = load_manifest(path).episodes
        listed = dict(zip(version.episode_ids, entries, strict=True))
        rows = episodes.with_files(db, dataset_id)  # it keeps those that were edited or deleted since
        labelled = frozenset(key for key, entry in listed.items() if entry.substeps)

    def fits(row: EpisodeRow) -> bool:
        if listed is not None and row.id not in listed:
            return False
        if choice.labels is not Labelled.ANY and (row.id in labelled) is not (choice.labels is Labelled.LABELLED):
            return False
        success = row.success if listed is None else listed[row.id].success
        if choice.outcomes and _outcome(success) not in choice.outcomes:
            return False
        if choice.published_by is not None:
            revision = published.get(row.id)
            if revision is None or revision.published_by != choice.published_by:
                return False
        return set(choice.tags) <= set(row.tags)

    kept = tuple(row for row in rows if fits(row))
    return Chosen(
        dataset=dataset,
        rows=kept,
        labelled=labelled.intersection(row.id for row in kept),
        published=published,
        all_rows=tuple(rows),
        version=version,
        listed=listed,
    )


def people(published: Sequence[LabelRevision]) -> dict[str, str]:
    """Who published them: names by id, in the order of the names."""
    found = {one.published_by: one.published_by_name or "somebody" for one in published if one.published_by}
    return dict(sorted(found.items(), key=lambda entry: entry[1].casefold()))


def _outcome(success: bool | None) -> Outcome:
    if success is None:
        return Outcome.UNKNOWN
    return Outcome.SUCCESS if success else Outcome.FAILURE

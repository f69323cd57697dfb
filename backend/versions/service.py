"""Dataset versions: manifests that list episodes by identity and embed their published labels."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.orm import Session
from starlette.responses import FileResponse

from backend.audit.service import record
from backend.core.db import NO_KEY, new_id
from backend.core.errors import ForbiddenError, InvalidError, NotFoundError
from backend.datasets import repository
from backend.episodes import repository as episodes
from backend.episodes.files import place, present
from backend.identity.actor import Actor
from backend.labels.core.start import label_source
from backend.labels.drafts import repository as labels
from backend.labels.drafts.repository import blind_for
from backend.store.small import publish
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment
from backend.versions.files import manifest_of_version
from backend.versions.schemas import VersionIn, VersionOut
from dexvla.episodes.manifest import manifest_hash, save_manifest
from dexvla.spec import CameraSpec, DatasetManifest, EpisodeEntry, Segment


def versions(db: Session, dataset_id: str | None) -> list[VersionOut]:
    """Newest first; dataset_id None: of all datasets."""
    if dataset_id is not None and repository.by_id(db, dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return _outs(db, list(repository.versions(db, dataset_id)))


def _outs(db: Session, rows: list[DatasetVersion]) -> list[VersionOut]:
    names = repository.names(db, [row.dataset_id for row in rows])
    people = repository.user_names(db, [row.created_by for row in rows])
    runs = repository.runs_by_version(db)
    own = {name for name in VersionOut.model_fields if name not in {"dataset_name", "created_by_name", "runs"}}
    return [
        VersionOut(
            **{name: getattr(row, name) for name in own},
            dataset_name=names[row.dataset_id],
            created_by_name=people.get(row.created_by or ""),
            runs=runs.get(row.id, 0),
        )
        for row in rows
    ]


def version_row(
    db: Session,
    me: Actor | None,
    version_id: str,
    dataset_id: str,
    manifest: DatasetManifest,
    chosen: Sequence[EpisodeRow],
    *,
    note: str,
) -> DatasetVersion:
    """The dataset's next version, with what its row says of the manifest. chosen: in the manifest's order."""
    return DatasetVersion(
        id=version_id,
        dataset_id=dataset_id,
        number=max((version.number for version in repository.versions(db, dataset_id)), default=0) + 1,
        manifest_sha256=manifest_hash(manifest),
        episodes=len(chosen),
        steps=sum(entry.steps for entry in manifest.episodes),
        labelled_steps=sum(
            segment.end - segment.start for entry in manifest.episodes for segment in entry.substeps if segment.text
        ),
        cameras=list(manifest.cameras),
        action_dim=manifest.action_dim,
        state_dim=manifest.state_dim,
        note=note,
        created_by=None if me is None else me.id,
        episode_ids=[episode.id for episode in chosen],
    )


def create(db: Session, me: Actor, studio: Studio, dataset_id: str, body: VersionIn) -> tuple[VersionOut, bool]:
    """(version, whether it is new): the same episodes and labels as a version that is there give that one."""
    row = db.get(Dataset, dataset_id, with_for_update=NO_KEY)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    published = labels.last_revisions(db, dataset_id)
    chosen = _chosen(db, row, body, published)
    version_id = new_id()
    plans = labels.last_revisions(db, dataset_id, Tier.PLAN) if row.labelling.get("plan_tier") else {}
    here = studio.settings.folder.manifest(version_id).parent
    manifest = manifest_of(studio, row, chosen, published, plans, here=here)
    digest, former = manifest_hash(manifest), manifest_hash(_under_former_identities(manifest))
    for version in repository.versions(db, dataset_id):
        same_files = version.episode_ids == [episode.id for episode in chosen]
        if version.manifest_sha256 == digest or (version.manifest_sha256 == former and same_files):
            return _outs(db, [version])[0], False
    version = version_row(db, me, version_id, dataset_id, manifest, chosen, note=body.note)
    path = studio.settings.folder.manifest(version_id)
    path.parent.mkdir(parents=True)
    event.listen(db, "after_rollback", lambda session: shutil.rmtree(path.parent, ignore_errors=True), once=True)
    save_manifest(path, manifest)
    publish(studio.store, studio.settings.data, path)
    db.add(version)
    db.flush()
    record(db, me, "dataset.version", version.id, dataset=dataset_id, number=version.number, sha256=digest)
    publish_after_commit(db, studio, "dataset", dataset_id)
    return _outs(db, [version])[0], True


def _chosen(db: Session, row: Dataset, body: VersionIn, published: dict[str, LabelRevision]) -> list[EpisodeRow]:
    present = {episode.id: episode for episode in episodes.of_dataset(db, row.id)}
    if not present:
        raise InvalidError("The dataset has no episodes yet; record, upload or import some first.")
    if body.episode_ids is not None:
        missing = [wanted for wanted in body.episode_ids if wanted not in present]
        if missing:
            raise InvalidError(f"{len(missing)} of the chosen episodes are not in this dataset (any more).")
        wanted = set(body.episode_ids)
        chosen = [episode for episode in present.values() if episode.id in wanted]
    else:
        chosen = list(present.values())
    if not body.include_unlabelled:
        unlabelled = [episode for episode in chosen if episode.id not in published]
        if body.episode_ids is not None and unlabelled:
            raise InvalidError(
                f"{len(unlabelled)} of the chosen episodes have no published labels; publish them, or include "
                "unlabelled episodes."
            )
        chosen = [episode for episode in chosen if episode.id in published]
    if not chosen:
        raise InvalidError(
            f"None of the {len(present)} episodes has published labels. Label and publish at least one, or include "
            "unlabelled episodes (they train with an empty reasoning)."
        )
    return chosen


def manifest_of(
    studio: Studio,
    row: Dataset,
    chosen: Sequence[EpisodeRow],
    published: dict[str, LabelRevision],
    plans: dict[str, LabelRevision],
    *,
    here: Path,
) -> DatasetManifest:
    """The chosen episodes, one at least, with their published labels. here: the folder that paths in it count from.

    Raises InvalidError if a file is gone.
    """
    there = present(studio, row.id)
    entries = []
    for episode in chosen:
        if episode.id not in there:
            raise InvalidError(f"The file of episode {episode.number} is gone; restore it, or delete the episode.")
        revision, plan = published.get(episode.id), plans.get(episode.id)
        entries.append(
            EpisodeEntry(
                path=os.path.relpath(place(studio.settings.folder, episode), here),
                identity=episode.identity,
                aliases=() if episode.former_identity is None else (episode.former_identity,),
                steps=episode.steps,
                cameras=tuple(CameraSpec.model_validate(camera) for camera in episode.cameras),
                sim=episode.sim,
                fps=episode.fps,
                robot=episode.robot,
                success=episode.success,
                task=episode.task,
                seed=episode.seed,
                render_profile=episode.render_profile,
                instruction=episode.instruction if revision is None else revision.instruction,
                substeps=() if revision is None else _segments(revision.segments),
                label_source=None if revision is None else label_source(revision.segments).value,
                paraphrases=() if revision is None else tuple(revision.paraphrases),
                plan=() if plan is None else _segments(plan.segments),
            )
        )
    first = chosen[0]
    return DatasetManifest(
        name=row.name,
        cameras=tuple(camera["name"] for camera in first.cameras),
        action_dim=first.action_dim,
        state_dim=first.state_dim,
        episodes=tuple(entries),
    )


def _under_former_identities(manifest: DatasetManifest) -> DatasetManifest:
    """As versions listed the same episodes before identities covered colours and sizes."""
    entries = [
        entry.model_copy(update={"identity": (*entry.aliases, entry.identity)[0]}) for entry in manifest.episodes
    ]
    return manifest.model_copy(update={"episodes": tuple(entries)})


def _segments(segments: Sequence[LabelSegment]) -> tuple[Segment, ...]:
    return tuple(Segment(start=one.start, end=one.end, text=one.text) for one in segments)


def manifest_file(db: Session, me: Actor, studio: Studio, version_id: str) -> FileResponse:
    """Raises ForbiddenError while it holds labels that blind labelling hides from this person."""
    version = db.get(DatasetVersion, version_id)
    path = manifest_of_version(studio, version) if version is not None else None
    if version is None or path is None or not path.is_file():
        raise NotFoundError("There is no such dataset version.")
    hidden = {episode_id for episode_id, _ in blind_for(db, version.dataset_id, me.id)}
    if count := len(hidden.intersection(version.episode_ids)):
        raise ForbiddenError(
            f"You label {count} of this version's episodes as their second rater: its manifest holds the first rater's "
            "labels and is shown once yours are submitted."
        )
    return FileResponse(path, media_type="application/json", filename=f"version-{version.number}.json")

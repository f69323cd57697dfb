"""An episode's file with its labels, on its way out."""

import hashlib
from pathlib import Path

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from backend.core.downloads import Content, Part, respond
from backend.episodes.files import own_file
from backend.identity.actor import Actor
from backend.labels.core.start import label_source
from backend.labels.drafts import repository
from backend.labels.drafts.service import visible
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow
from backend.tables.label_revision import LabelRevision
from dexvla.episodes.labelled import EpisodeLabels, with_labels
from dexvla.spec import Segment


def download(db: Session, me: Actor, studio: Studio, request: Request, episode_id: str) -> Response:
    """The file with the newest published labels in it, made while it is sent; without any, as it was taken in.

    Raises NotFoundError for a file that is gone, EpisodeError for one that is damaged or another episode's.
    """
    row = visible(db, me, episode_id, Tier.SUBSTEP, 0).row
    path, revision = own_file(studio, row), repository.last_revision(db, row.id)
    dataset = db.get(Dataset, row.dataset_id)
    assert dataset is not None
    plain = "".join(letter if letter.isalnum() else "-" for letter in dataset.name).strip("-") or "episode"
    parts = (Part(size=path.stat().st_size, file=path),) if revision is None else _labelled(path, revision)
    content = Content(
        name=f"{plain}-{row.number}.hdf5",
        parts=parts,
        tag=_tag(studio, row, path, parts),
        media_type="application/x-hdf5",
    )
    return respond(request, content, studio.settings)


def _labelled(path: Path, revision: LabelRevision) -> tuple[Part, ...]:
    labels = EpisodeLabels(
        instruction=revision.instruction,
        success=revision.success,
        substeps=tuple(Segment(start=one.start, end=one.end, text=one.text) for one in revision.segments),
        source=label_source(revision.segments),
    )
    return tuple(
        Part(size=one.size, file=path, offset=one.offset) if one.data is None else Part(size=one.size, data=one.data)
        for one in with_labels(path, labels)
    )


def _tag(studio: Studio, row: EpisodeRow, path: Path, parts: tuple[Part, ...]) -> str:
    """Another one for other bytes: whoever resumes a download goes on with the same labels or begins anew.

    A file out of a store's cache has another time whenever it was fetched, and is what its row's hash says.
    """
    state = path.stat()
    known = row.sha256 if studio.store.remote else f"{state.st_size}:{state.st_mtime_ns}"
    digest = hashlib.sha256(f"{known}".encode())
    for part in parts:
        digest.update(f";{part.offset}:{part.size}:".encode())
        digest.update(part.data)
    return digest.hexdigest()

"""An episode's file with its labels, on its way out."""

from fastapi import Response
from fastapi.responses import FileResponse
from sqlalchemy.orm import Session

from backend.episodes.service import file_of
from backend.identity.actor import Actor
from backend.labels.drafts.revisions import file_with_labels
from backend.labels.drafts.service import visible
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.document import Tier


def download(db: Session, me: Actor, studio: Studio, episode_id: str) -> Response:
    """The file, with the newest published labels in it."""
    row = visible(db, me, episode_id, Tier.SUBSTEP, 0).row
    file_with_labels(studio, row)
    dataset = db.get(Dataset, row.dataset_id)
    assert dataset is not None
    plain = "".join(letter if letter.isalnum() else "-" for letter in dataset.name).strip("-") or "episode"
    return FileResponse(file_of(studio, row), media_type="application/x-hdf5", filename=f"{plain}-{row.number}.hdf5")

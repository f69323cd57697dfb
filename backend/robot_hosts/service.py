"""What a robot host needs to know before it records, and how its recordings come into their dataset."""

import threading
from pathlib import Path

from sqlalchemy import select

from backend.episodes import repository
from backend.intake.accept import AlreadyThereError, accept
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeSource
from backend.tables.user import User
from dexvla.live.hosting import DatasetFacts

BROKER_AWAY = "the studio's broker does not answer"


def dataset_facts(studio: Studio, dataset_id: str) -> DatasetFacts | None:
    """None if there is no such dataset."""
    with studio.db.transaction(write=False) as db:
        dataset = db.get(Dataset, dataset_id)
        if dataset is None:
            return None
        return DatasetFacts(
            name=dataset.name,
            filled=repository.any_episode(db, dataset_id) is not None,
            action_dim=dataset.action_dim,
            state_dim=dataset.state_dim,
            cameras=list(dataset.cameras),
            render_profile=dataset.render_profile,
            fps=dataset.fps,
        )


def take_in(studio: Studio, file: Path, *, dataset_id: str, by: str, stop: threading.Event | None = None) -> str:
    """List a live recording in its dataset; its episode's id, also where it is listed already. by: who recorded it.

    Raises as `backend.intake.accept.accept`, which does the work.
    """
    with studio.db.transaction(write=False) as db:
        user_id = db.scalar(select(User.id).where(User.name == by))
    try:
        accepted = accept(
            studio, dataset_id=dataset_id, file=file, source=EpisodeSource.LIVE, created_by=user_id, stop=stop
        )
    except AlreadyThereError as error:  # handed in before, by a host that did not hear the answer
        return error.episode_id
    return accepted.episode_id

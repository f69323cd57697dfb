"""Whoever changes an episode and its dataset locks the dataset first: two who do never wait for each other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text, update

from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.actor import Actor
from backend.labels.drafts import revisions
from backend.labels.drafts import service as drafts
from backend.labels.drafts.schemas import DraftIn, PublishIn, RollbackIn
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow
from backend.tables.user import User
from dexvla.episodes.format import EpisodeData
from tests.support.databases import make_tables
from tests.support.labelling_data import STEPS, Labels
from tests.support.robot_hosts import until

ME = Actor(id="m" * 32, name="ada", role=Role.ADMIN)


@pytest.mark.parametrize("how", ["publish", "roll back"])
def test_publishing_waits_for_the_dataset_before_it_holds_the_episode(
    how: str, settings: Settings, postgresql_url: str, make_data: Callable[..., EpisodeData]
) -> None:
    studio = Studio.open(settings.model_copy(update={"database_url": postgresql_url}))
    make_tables(studio.db)
    with studio.db.transaction() as db:
        db.add(User(id=ME.id, name=ME.name, password_hash="", role=Role.ADMIN))
    labels = Labels(studio, make_data)
    (episode,) = labels.ids

    def save(words: str) -> int:
        with studio.db.transaction(write=False) as db:
            edit = drafts.draft(db, ME, episode, Tier.SUBSTEP, 0).edit
        segments = [{"start": 0, "end": STEPS, "text": words}]
        wanted = DraftIn.model_validate({"edit": edit, "segments": segments})
        return drafts.save(studio, ME, episode, Tier.SUBSTEP, 0, wanted).edit

    def publish(edit: int) -> Any:
        with studio.db.transaction() as db:
            return revisions.publish(db, ME, studio, episode, PublishIn(edit=edit, looked_at=True))

    def change() -> Any:
        if how == "publish":
            return publish(edit)
        with studio.db.transaction() as db:
            return revisions.roll_back(db, ME, studio, episode, RollbackIn(revision_id=first, edit=edit))

    first = publish(save("Reach")).published.id
    publish(save("Lift"))
    edit = save("Grasp")
    with ThreadPoolExecutor(1) as pool:
        with studio.db.transaction() as db:  # somebody deletes an episode, or lists one: the dataset, then the episode
            db.get(Dataset, labels.dataset_id, with_for_update=True)
            waiting = pool.submit(change)
            until(lambda: _waiting(studio) == 1, 20)
            db.execute(text("SET LOCAL lock_timeout = '5s'"))
            db.execute(update(EpisodeRow).where(EpisodeRow.id == episode).values(robot="another"))
        assert waiting.result(20).published.number == 3
    studio.close()


def _waiting(studio: Studio) -> int:
    """Connections that wait for a lock."""
    with studio.db.transaction(write=False) as db:
        found: int = db.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        return found

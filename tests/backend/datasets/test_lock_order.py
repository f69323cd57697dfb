"""A dataset is deleted while others change what belongs to it, on PostgreSQL: both end, whoever was first.

All lock the dataset, then the edit, then episodes or uploads, then what refers to those.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from backend.core.db import database_now, utc_now
from backend.core.errors import NotFoundError
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.datasets.service import delete_dataset
from backend.editing import finishing
from backend.editing import service as editing
from backend.identity.actor import Actor
from backend.labels.drafts import service as drafts
from backend.labels.drafts.schemas import DraftIn
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EditAction, EpisodeEdit
from backend.tables.upload import Upload, UploadedFile, UploadKind
from backend.tables.user import User
from backend.uploads import repository as uploads
from dexvla.errors import UserError
from tests.support.databases import make_tables
from tests.support.labelling_data import STEPS, Labels, MakeData
from tests.support.robot_hosts import until

ME = Actor(id="m" * 32, name="ada", role=Role.ADMIN)
EDIT, UPLOAD, FILE = "e" * 32, "u" * 32, "f" * 32


@pytest.fixture
def studio(settings: Settings, postgresql_url: str) -> Iterator[Studio]:
    studio = Studio.open(settings.model_copy(update={"database_url": postgresql_url}))
    make_tables(studio.db)
    with studio.db.transaction() as db:
        db.add(User(id=ME.id, name=ME.name, password_hash="", role=Role.ADMIN))
    yield studio
    studio.close()


@pytest.fixture
def labels(studio: Studio, make_data: MakeData) -> Labels:
    """A dataset with an episode that was set aside long ago, and that a finished edit can bring back."""
    labels = Labels(studio, make_data)
    with studio.db.transaction() as db:
        episode = db.get_one(EpisodeRow, labels.ids[0])
        episode.deleted_at = database_now(db) - timedelta(days=365)
        db.add(
            EpisodeEdit(
                id=EDIT,
                dataset_id=labels.dataset_id,
                target_id=labels.dataset_id,
                action=EditAction.DELETE,
                items=[],
                sources=[{"episode_id": episode.id, "number": 0}],
                results=[],
                finished_at=database_now(db),
            )
        )
    return labels


def waiting(studio: Studio) -> int:
    """Connections that wait for a lock."""
    with studio.db.transaction(write=False) as db:
        found: int = db.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        return found


def free(studio: Studio) -> None:
    assert editing.free(studio) == 0, "its dataset was deleted, and its files with it"


def undo(studio: Studio) -> None:
    with studio.db.transaction(write=False) as db:
        (dataset,) = db.scalars(select(Dataset.id))
    with pytest.raises(NotFoundError), studio.db.transaction() as db:
        editing.undo(db, ME, studio, dataset, EDIT)


def finish(studio: Studio) -> None:
    with pytest.raises(UserError, match="deleted"):
        finishing.finish(studio, EDIT, {}, studio.db.transaction)


@pytest.mark.parametrize("change", [free, undo, finish])
def test_what_changes_episodes_waits_for_the_dataset_first(
    change: Callable[[Studio], None], studio: Studio, labels: Labels
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with studio.db.transaction() as db:
            db.get(Dataset, labels.dataset_id, with_for_update=True)  # as the deletion does first
            other = pool.submit(change, studio)
            until(lambda: waiting(studio) == 1, 20)
            db.execute(text("SET LOCAL lock_timeout = '5s'"))
            delete_dataset(db, ME, studio, labels.dataset_id)
        other.result(20)


def saving(studio: Studio, labels: Labels) -> Callable[[Session], None]:
    """The two halves of saving labels: the episode is locked, then its draft is written."""
    (episode,) = labels.ids
    with studio.db.transaction() as db:
        db.get_one(EpisodeRow, episode).deleted_at = None
    with studio.db.transaction(write=False) as db:
        edit = drafts.draft(db, ME, episode, Tier.SUBSTEP, 0).edit
    wanted = {"edit": edit, "segments": [{"start": 0, "end": STEPS, "text": "Reach"}]}
    drafts.save(studio, ME, episode, Tier.SUBSTEP, 0, DraftIn.model_validate(wanted))

    def write(db: Session) -> None:
        db.execute(update(Draft).where(Draft.episode_id == episode).values(edit=7))

    return write


def removing(studio: Studio, labels: Labels) -> Callable[[Session], None]:
    """The two halves of removing an upload."""
    with studio.db.transaction() as db:
        upload = Upload(id=UPLOAD, dataset_id=labels.dataset_id, kind=UploadKind.FOLDER, touched_at=utc_now())
        db.add(upload)
        db.flush()
        db.add(UploadedFile(id=FILE, upload_id=UPLOAD, path="a.mp4", size=1, is_episode=False))
    return lambda db: uploads.remove(db, UPLOAD)


@pytest.mark.parametrize(("begin", "locked"), [(saving, EpisodeRow), (removing, Upload)])
def test_a_deletion_waits_for_who_locked_a_part(
    begin: Callable[[Studio, Labels], Callable[[Session], None]],
    locked: type[EpisodeRow] | type[Upload],
    studio: Studio,
    labels: Labels,
) -> None:
    write = begin(studio, labels)

    def delete() -> None:
        with studio.db.transaction() as db:
            delete_dataset(db, ME, studio, labels.dataset_id)

    with ThreadPoolExecutor(1) as pool:
        with studio.db.transaction() as db:
            db.scalars(select(locked).where(locked.dataset_id == labels.dataset_id).with_for_update()).all()
            deletion = pool.submit(delete)
            until(lambda: waiting(studio) == 1, 20)
            db.execute(text("SET LOCAL lock_timeout = '5s'"))
            write(db)
        deletion.result(20)
    with studio.db.transaction(write=False) as db:
        assert db.get(Dataset, labels.dataset_id) is None

"""Backups while people upload, save, publish, make versions and delete: each is one consistent moment."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from backend.core.db import new_id
from backend.core.errors import ApiError
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.episodes import service as episodes
from backend.identity.actor import Actor
from backend.intake.accept import accept
from backend.labels.drafts import revisions
from backend.labels.drafts import service as drafts
from backend.labels.drafts.schemas import DraftIn, PublishIn
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.label_revision import LabelRevision
from backend.tables.user import User
from backend.versions import service as versions
from backend.versions.schemas import VersionIn
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.manifest import load_manifest, manifest_hash
from dexvla.episodes.reader import open_episode
from tests.support.databases import make_tables
from tests.support.labelling_data import STEPS, Labels, MakeData
from tests.support.places import Place
from tests.support.studio_contents import files_of, rows_of
from worker.admin.backup.make import backup, verify
from worker.admin.backup.restore import restore

BACKUPS = 5
ME = Actor(id="1" * 32, name="ada", role=Role.ADMIN)


class Busy:
    """People at work, each in a thread, until `stop`."""

    def __init__(self, studio: Studio, labels: Labels, given: Path) -> None:
        self.studio, self.labels, self.given = studio, labels, given
        self.uploads = new_id()
        with studio.db.transaction() as db:
            db.add(Dataset(id=self.uploads, name="uploads"))
        self._stopped = threading.Event()
        self.done = {"upload": 0, "publish": 0, "delete": 0, "version": 0}
        self.failed: list[BaseException] = []
        self._chance = random.Random(7)
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, work))
            for name, work in (
                ("upload", self._upload),
                ("publish", self._publish),
                ("delete", self._delete),
                ("version", self._version),
            )
        ]

    def __enter__(self) -> "Busy":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, name: str, work: Callable[[int], None]) -> None:
        number = 0
        try:
            while not self._stopped.is_set():
                try:
                    work(number)
                    self.done[name] += 1
                except ApiError:
                    pass  # it was deleted meanwhile, or is in a version: what people see every day
                number += 1
                self._stopped.wait(0.02)
        except BaseException as error:
            self.failed.append(error)

    def _present(self, dataset_id: str) -> list[str]:
        with self.studio.db.transaction(write=False) as db:
            query = select(EpisodeRow.id).where(EpisodeRow.deleted_at.is_(None), EpisodeRow.dataset_id == dataset_id)
            return list(db.scalars(query.order_by(EpisodeRow.number)))

    def _upload(self, number: int) -> None:
        dataset, file = self.uploads, self.given / f"{number}.hdf5"
        self.labels_file(file, 1000 + number)
        accept(self.studio, dataset_id=dataset, file=file, source=EpisodeSource.UPLOADED, created_by=ME.id)
        file.unlink()

    labels_file: Callable[[Path, int], Any]

    def _publish(self, number: int) -> None:
        episode = self._chance.choice(self._present(self.labels.dataset_id))
        with self.studio.db.transaction(write=False) as db:
            edit = drafts.draft(db, ME, episode, Tier.SUBSTEP, 0).edit
        cut = 1 + number % (STEPS - 1)
        segments = [{"start": 0, "end": cut, "text": f"Text {number}"}, {"start": cut, "end": STEPS, "text": "Lift"}]
        wanted = DraftIn.model_validate({"edit": edit, "segments": segments})
        saved = drafts.save(self.studio, ME, episode, Tier.SUBSTEP, 0, wanted)
        with self.studio.db.transaction() as db:
            revisions.publish(db, ME, self.studio, episode, PublishIn(edit=saved.edit, looked_at=True))

    def _delete(self, number: int) -> None:
        uploaded = self._present(self.uploads)
        if not uploaded and number % 10:
            return
        episode = uploaded[0] if uploaded else self._present(self.labels.dataset_id)[-1]
        with self.studio.db.transaction() as db:
            episodes.delete_episode(db, ME, self.studio, episode)

    def _version(self, number: int) -> None:
        chosen = self._chance.sample(self._present(self.labels.dataset_id)[:6], 2)
        body = VersionIn(episode_ids=chosen, include_unlabelled=True)
        with self.studio.db.transaction() as db:
            versions.create(db, ME, self.studio, self.labels.dataset_id, body)


@pytest.fixture
def studio(place: Place, dialect: str) -> Iterator[Studio]:
    settings = place("busy", dialect)
    settings.folder.prepare()
    studio = Studio.open(settings)
    make_tables(studio.db)
    with studio.db.transaction() as db:
        db.add(User(id=ME.id, name=ME.name, password_hash="", role=Role.ADMIN))
    yield studio
    studio.close()


@pytest.mark.timeout(600)
def test_each_backup_is_one_moment(
    studio: Studio,
    make_data: MakeData,
    make_episode: Callable[..., Path],
    place: Place,
    dialect: str,
    tmp_path: Path,
) -> None:
    labels = Labels(studio, make_data, 12)
    (tmp_path / "given").mkdir()
    busy = Busy(studio, labels, tmp_path / "given")
    busy.labels_file = lambda path, seed: make_episode(path, seed=seed, size=(32, 32), steps=STEPS)
    with busy:
        made = []
        while not busy.failed and (len(made) < BACKUPS or min(busy.done.values()) < 2):
            assert len(made) < 200, busy.done
            made.append(backup(studio.settings, tmp_path / "backups"))
    assert busy.failed == []
    assert all(one.missing == [] and one.notes == [] for one in made)
    assert verify(tmp_path / "backups").damaged == {}
    for number, one in enumerate(made[-BACKUPS:]):
        settings = place(f"restored-{number}", dialect)
        restore(settings, tmp_path / "backups", snapshot=one.snapshot)
        _holds_together(settings)
    quiet = backup(studio.settings, tmp_path / "backups")
    last = place("last", dialect)
    restore(last, tmp_path / "backups", snapshot=quiet.snapshot)
    before, after = rows_of(studio.settings), rows_of(last)
    before.pop("audit")
    after.pop("audit")
    assert after == before
    assert files_of(last) == files_of(studio.settings)


def _holds_together(settings: Settings) -> None:
    """Every row has its file, every file is what its row says, and no file is without a row."""
    studio = Studio.open(settings)
    try:
        with studio.db.transaction(write=False) as db:
            rows = list(db.scalars(select(EpisodeRow)))
            made = list(db.scalars(select(DatasetVersion)))
            revised = {(one.episode_id, one.number) for one in db.scalars(select(LabelRevision))}
        assert rows
        present = [row for row in rows if row.freed_at is None]
        for row in present:
            with open_episode(settings.folder.episode(row.dataset_id, row.id)) as episode:
                assert episode_identity(episode) == row.identity
                assert episode.steps == row.steps
        on_disk = {path.stem for path in settings.folder.episodes.rglob("*.hdf5")}
        assert on_disk == {row.id for row in present}
        for version in made:
            manifest = load_manifest(settings.folder.manifest(version.id))
            assert manifest_hash(manifest) == version.manifest_sha256
            assert set(version.episode_ids) <= on_disk
        assert {episode for episode, _ in revised} <= {row.id for row in rows}
    finally:
        studio.close()

"""A studio's files move to a real S3 server and back: whole, resumable; every process has to agree where they are."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest

from backend.core.db import Database, utc_now
from backend.core.settings import Settings
from backend.episodes.files import file_of
from backend.identity.actor import Actor
from backend.migrations.migrate import downgrade, migrate
from backend.storage import service as storage
from backend.studio.context import Studio
from backend.studio.whereabouts import agree, known
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.user import User
from backend.versions import service as versions
from backend.versions.schemas import VersionIn
from dexvla.errors import UserError
from tests.support.intake import take
from tests.support.s3_server import Server
from worker.admin.backup.make import backup
from worker.admin.move_store import move, told
from worker.admin.sweeper import sweep_store


@pytest.fixture
def given(s3: Server, tmp_path: Path) -> Settings:
    """On one disk, with the keys of a store."""
    place = s3.place()
    settings = Settings(
        data=tmp_path / "studio", redis_url=f"unix://{tmp_path}/no-broker",
        store_endpoint=place.endpoint, store_key=place.key, store_secret=place.secret,
    )  # fmt: skip
    settings.folder.prepare()
    return settings


@pytest.fixture
def ids(given: Settings, make_episode: Callable[..., Path], tmp_path: Path) -> list[str]:
    """Two episodes in a version, the second as an older studio listed it: without a hash."""
    studio = Studio.open(given)
    migrate(studio.db)
    with studio.db.transaction() as db:
        user, dataset = User(name="ada", password_hash="", role="operator"), Dataset(name="cubes")
        db.add_all([user, dataset])
    found = [take(studio, dataset.id, make_episode(tmp_path / f"{seed}.hdf5", seed=seed)) for seed in (1, 2)]
    with studio.db.transaction() as db:
        me = Actor(id=user.id, name=user.name, role=user.role)
        versions.create(db, me, studio, dataset.id, VersionIn(include_unlabelled=True))
        db.get_one(EpisodeRow, found[1]).sha256 = None
    studio.close()
    return found


def row(studio: Studio, episode_id: str) -> EpisodeRow:
    with studio.db.transaction(write=False) as db:
        return db.get_one(EpisodeRow, episode_id)


def test_files_move_there_and_back(
    given: Settings, ids: list[str], s3: Server, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    place = s3.place()
    studio = Studio.open(given)
    listed = [row(studio, one) for one in ids]
    paths = [file_of(studio, one) for one in listed]
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]

    shutil.copy(paths[0], tmp_path / "whole")
    paths[0].write_bytes(paths[0].read_bytes()[:-1] + b"x")  # the disk lost a byte
    first = move(given, place.url)
    assert not first.switched
    assert "episode 0: its sha256 is" in told(first)
    assert "nothing was switched" in told(first)
    shutil.copy(tmp_path / "whole", paths[0])

    with studio.db.transaction() as db:  # set aside, the second one is needed by its version alone
        db.get_one(EpisodeRow, ids[1]).deleted_at = utc_now()
    deleted = take(studio, listed[0].dataset_id, make_episode(tmp_path / "3.hdf5", seed=3))
    with studio.db.transaction() as db:
        db.get_one(EpisodeRow, deleted).deleted_at = utc_now()
    file_of(studio, row(studio, deleted)).write_bytes(b"damaged")
    paths[1].rename(tmp_path / "second")
    assert storage.look(studio)[1] == [f"the file of episode 1 ({ids[1]}), which version 1 lists"]
    without = move(given, place.url)
    assert (without.switched, len(without.damaged), len(without.unneeded)) == (False, 1, 1), told(without)
    (tmp_path / "second").rename(paths[1])
    second = move(given, place.url)
    assert (second.switched, second.files, second.before) == (True, 3, 3), told(second)
    assert "warning: episode 2: " in told(second)
    with studio.db.transaction() as db:
        db.get_one(EpisodeRow, ids[1]).deleted_at = None
        db.get_one(EpisodeRow, deleted).freed_at = utc_now()
    assert f"STUDIO_STORE={place.url}" in told(second)
    assert row(studio, ids[1]).sha256 == sums[1]
    with pytest.raises(UserError, match=rf"are in {place.url}, .* set STUDIO_STORE={place.url}"):
        agree(studio)
    studio.close()

    there = given.model_copy(update={"store": place.url})
    third = move(there, place.url, free=True)
    assert third.freed_bytes == sum(one.size_bytes for one in listed)
    assert not any(path.exists() for path in paths)
    studio = Studio.open(there)
    agree(studio)
    assert storage.look(studio)[1] == [], "nothing is missing"
    assert [hashlib.sha256(file_of(studio, row(studio, one)).read_bytes()).hexdigest() for one in ids] == sums
    made = backup(there, tmp_path / "backup")
    assert made.missing == []
    assert any("2 files are in s3://" in note for note in made.notes)

    # an object without a row is told, and adopted or kept in lost/; those of deleted rows go
    with studio.db.transaction() as db:
        deleted = db.get_one(EpisodeRow, ids[1])
        key = f"episodes/{deleted.dataset_id}/{'f' * 32}.hdf5"
        obstore.put(s3.client(place), key, b"nobody's", use_multipart=False)
        obstore.put(s3.client(place), "exports/x/kept", b"of no row", use_multipart=False)
    strays, _ = storage.look(studio, fresh_seconds=0)
    assert [path.stem for path in strays["episode"]] == ["f" * 32]
    assert storage.lose(studio, None, fresh_seconds=0).startswith("1 ")
    assert studio.store.size(key) is None
    assert [path.read_bytes() for path in there.folder.lost.iterdir()] == [b"nobody's"]
    assert sweep_store(studio) == []
    studio.close()

    back = move(there, "folder")
    assert back.switched, told(back)
    studio = Studio.open(given)
    agree(studio)
    with studio.db.transaction(write=False) as db:
        assert known(db) == "folder"
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == sums
    studio.close()


def test_an_older_studio_is_refused_while_files_are_elsewhere(given: Settings, ids: list[str], s3: Server) -> None:
    place = s3.place()
    assert move(given, place.url).switched
    database = Database(given.sql_url)
    with pytest.raises(UserError, match="a store elsewhere"):
        downgrade(database, "b00ffea20048")
    assert move(given.model_copy(update={"store": place.url}), "folder").switched
    downgrade(database, "b00ffea20048")
    migrate(database)
    studio = Studio.open(given)
    assert file_of(studio, row(studio, ids[0])).is_file()
    studio.close()
    database.close()


def test_a_place_that_cannot_be_written_says_so(given: Settings, ids: list[str]) -> None:
    with pytest.raises(UserError, match=r"expected s3://BUCKET/PREFIX|expected s3://BUCKET"):
        move(given, "/some/folder")
    with pytest.raises(UserError, match=r"NoSuchBucket|no such bucket"):
        move(given, "s3://nobody-made-this/x")
    assert not list(given.data.glob("store-move*"))

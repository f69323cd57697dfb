"""Episodes that look different are different episodes, also in a data folder from before their identity said so."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select, text
from structlog.testing import capture_logs

from backend.core.db import new_id
from backend.episodes.renew import Renewal, renew
from backend.intake.accept import AlreadyThereError, accept
from backend.studio.context import Studio
from backend.tables.audit_entry import AuditEntry
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.versions.contents import read
from dexvla.episodes.format import EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.writer import write_episode
from tests.support.robot_hosts import until

pytestmark = pytest.mark.slow

SignIn = Callable[[str], TestClient]


@pytest.fixture
def twins(tmp_path: Path, make_episode: Callable[..., Path]) -> tuple[Path, Path]:
    """The same JPEG rows without and with `jpeg_channels`."""
    marked = make_episode(tmp_path / "rgb.hdf5", cameras=("cam_high",))
    plain = tmp_path / "plain.hdf5"
    shutil.copyfile(marked, plain)
    with h5py.File(plain, "a") as file:
        del file.attrs["jpeg_channels"]
    return plain, marked


@pytest.fixture
def dataset_id(studio: Studio) -> str:
    with studio.db.transaction() as db:
        row = Dataset(id=new_id(), name="cubes")
        db.add(row)
        return row.id


def take(studio: Studio, dataset_id: str, file: Path) -> str:
    return accept(studio, dataset_id=dataset_id, file=file, source=EpisodeSource.UPLOADED).episode_id


def as_before(studio: Studio, episode_id: str) -> str:
    """The row as an older studio left it; returns its identity then."""
    with studio.db.transaction() as db:
        row = db.get(EpisodeRow, episode_id)
        assert row is not None
        assert row.former_identity is not None
        row.identity, row.former_identity = row.former_identity, None
        return row.identity


def identity(studio: Studio, episode_id: str) -> tuple[str, str | None]:
    with studio.db.transaction(write=False) as db:
        row = db.get(EpisodeRow, episode_id)
        assert row is not None
        return row.identity, row.former_identity


def pixels(jpeg: bytes) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.float64)


def test_the_corrected_file_is_no_duplicate_and_has_its_own_thumbnail(
    studio: Studio, client: SignIn, dataset_id: str, twins: tuple[Path, Path]
) -> None:
    ids = [take(studio, dataset_id, path) for path in twins]
    answers = [client("viewer").get(f"/api/episodes/{id}/thumbnail") for id in ids]
    plain, marked = (pixels(answer.content) for answer in answers)
    swapped, as_it_is = np.abs(plain[..., ::-1] - marked).mean(), np.abs(plain - marked).mean()
    assert swapped < as_it_is / 3, "red and blue change places, but for the losses of JPEG"
    assert answers[0].headers["etag"] != answers[1].headers["etag"]
    with pytest.raises(AlreadyThereError):
        take(studio, dataset_id, twins[0])


def test_a_red_scene_is_shown_red_and_bgr_pixels_have_images_of_their_own(
    studio: Studio,
    client: SignIn,
    dataset_id: str,
    tmp_path: Path,
    make_data: Callable[..., EpisodeData],
) -> None:
    """True-colour JPEG rows, RGB pixels, and BGR pixels, which no mark tells apart from RGB ones."""
    data = make_data(cameras=("cam_high",), steps=3)
    rgb = np.zeros((3, 48, 64, 3), np.uint8)
    rgb[..., 0] = 255
    shown, etags, identities = [], set(), set()
    for name, rows in (("jpeg", [encode_jpeg(one) for one in rgb]), ("rgb", rgb), ("bgr", rgb[..., ::-1].copy())):
        write_episode(tmp_path / name, EpisodeData(**{**vars(data), "images": {"cam_high": rows}}))
        url = f"/api/episodes/{take(studio, dataset_id, tmp_path / name)}"
        identities.add(client("viewer").get(url).json()["identity"])
        for _ in range(2):  # made, and kept
            thumbnail = client("viewer").get(f"{url}/thumbnail")
            frame = client("viewer").get(f"{url}/frames/cam_high/1")
            pack = client("viewer").get(f"{url}/pack?start=0&count=3")
            first = pack.content.index(b"\xff\xd8")
            images = [pixels(thumbnail.content), pixels(frame.content), pixels(pack.content[first:])]
            shown.append([image.mean((0, 1)) for image in images])
            etags |= {answer.headers["etag"] for answer in (thumbnail, frame, pack)}
    assert len(identities) == 3
    assert len(etags) == 9, "no browser shows one for another"
    assert len(list(studio.settings.folder.cache.glob("*.jpg"))) == 3
    red, blue = (255, 0, 0), (0, 0, 255)
    assert np.allclose(shown, [[red] * 3] * 4 + [[blue] * 3] * 2, atol=5), "blue: as the pixels lie in the file"


def test_an_older_data_folder_gets_todays_identities(
    studio: Studio, client: SignIn, dataset_id: str, twins: tuple[Path, Path]
) -> None:
    episode_id = take(studio, dataset_id, twins[0])
    today = identity(studio, episode_id)
    former = as_before(studio, episode_id)
    cache = studio.settings.folder.cache
    (cache / "pictures" / "ab").mkdir(parents=True)
    (cache / "suggestions").mkdir(exist_ok=True)
    stale = [
        cache / f"{former}.jpg",
        cache / "pictures" / "ab" / "x.npy",
        cache / "suggestions" / f"{former}-2.tracks.json",
    ]
    for path in stale:
        path.write_bytes(b"another episode's")
    assert renew(studio) == 1
    assert identity(studio, episode_id) == today
    assert not [path for path in stale if path.exists()]
    assert client("viewer").get(f"/api/episodes/{episode_id}/thumbnail").content.startswith(b"\xff\xd8")
    with studio.db.transaction(write=False) as db:
        noted = db.scalars(select(AuditEntry).where(AuditEntry.action == "episode.identity")).one()
        assert noted.subject == episode_id
        assert (noted.detail["former"], noted.detail["identity"]) == (former, today[0])
    assert renew(studio) == 0


_KILLED = """
import os, signal, sys
import backend.tables
from backend.studio.context import Studio
from backend.episodes import renew as module
from backend.core.settings import Settings

where, times = sys.argv[1], int(sys.argv[2])
real, calls = getattr(module, where), 0

def killed(*args):
    global calls
    calls += 1
    done = real(*args) if where == "give" else None
    if calls == times:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(module, where, killed)
module.renew(Studio.open(Settings()))
"""


@pytest.mark.parametrize(
    ("where", "times", "left"),
    [("give", 3, 2), ("forget_former", 1, 0)],
    ids=["within the third episode", "before the caches"],
)
def test_a_renewal_that_was_killed_is_gone_on_with(
    studio: Studio,
    dataset_id: str,
    make_episode: Callable[..., Path],
    tmp_path: Path,
    where: str,
    times: int,
    left: int,
) -> None:
    files = [make_episode(tmp_path / f"{seed}.hdf5", seed=seed, cameras=("cam_high",)) for seed in range(4)]
    ids = [take(studio, dataset_id, path) for path in files]
    today = [identity(studio, id) for id in ids]
    former = [as_before(studio, id) for id in ids]
    stale = studio.settings.folder.cache / f"{former[0]}.jpg"
    stale.write_bytes(b"another episode's")
    child = subprocess.run(
        [sys.executable, "-c", _KILLED, where, str(times)],
        env=os.environ | studio.settings.environment(),
        capture_output=True,
        timeout=120,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert stale.exists()
    assert renew(studio) == left
    assert [identity(studio, id) for id in ids] == today
    assert not stale.exists()
    with studio.db.transaction(write=False) as db:
        noted = db.scalars(select(AuditEntry.subject).where(AuditEntry.action == "episode.identity")).all()
    assert sorted(map(str, noted)) == sorted(ids), "each once"


def test_a_long_renewal_tells_how_far_it_is(
    studio: Studio, dataset_id: str, twins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_before(studio, take(studio, dataset_id, twins[0]))
    monkeypatch.setattr("backend.episodes.renew._TELL_SECONDS", 0.0)
    with capture_logs() as said:
        renew(studio)
    assert {"event": "episodes.identities_begin", "episodes": 1, "log_level": "info"} in said
    assert {"event": "episodes.identities_progress", "looked_at": 0, "episodes": 1, "log_level": "info"} in said


def test_a_database_that_fails_is_asked_again(
    studio: Studio, dataset_id: str, twins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    episode_id = take(studio, dataset_id, twins[0])
    former = as_before(studio, episode_id)
    monkeypatch.setattr("backend.episodes.renew._AGAIN_SECONDS", 0.01)
    with studio.db.transaction() as db:
        db.execute(text("ALTER TABLE audit RENAME TO audit_away"))
    with capture_logs() as entries:
        renewal = Renewal(studio)
        renewal.start()
        until(lambda: any(one["event"] == "episodes.identities_failed" for one in entries))
        with studio.db.transaction() as db:
            db.execute(text("ALTER TABLE audit_away RENAME TO audit"))
        until(lambda: identity(studio, episode_id)[1] == former)
        renewal.stop()


def test_an_episode_without_its_file_keeps_its_former_identity(
    studio: Studio, dataset_id: str, twins: tuple[Path, Path], make_episode: Callable[..., Path]
) -> None:
    ids = [take(studio, dataset_id, path) for path in twins]
    former = [as_before(studio, id) for id in ids]
    studio.settings.folder.episode(dataset_id, ids[0]).unlink()
    assert renew(studio) == 1
    assert identity(studio, ids[0]) == (former[0], None)
    assert identity(studio, ids[1])[1] == former[1]


def test_before_they_are_renewed_the_corrected_file_comes_in_too(
    studio: Studio, dataset_id: str, twins: tuple[Path, Path]
) -> None:
    first = take(studio, dataset_id, twins[0])
    former = as_before(studio, first)
    second = take(studio, dataset_id, twins[1])
    assert identity(studio, first)[1] == identity(studio, second)[1] == former
    with pytest.raises(AlreadyThereError):
        take(studio, dataset_id, twins[0])


def test_an_older_version_stays_and_is_found_again(
    studio: Studio, client: SignIn, dataset_id: str, twins: tuple[Path, Path]
) -> None:
    episode_id = take(studio, dataset_id, twins[1])
    as_before(studio, episode_id)
    body = {"include_unlabelled": True}
    made = client("operator").post(f"/api/datasets/{dataset_id}/versions", json=body).json()
    manifest = studio.settings.folder.manifest(made["id"])
    before = manifest.read_bytes()
    assert renew(studio) == 1
    assert manifest.read_bytes() == before
    again = client("operator").post(f"/api/datasets/{dataset_id}/versions", json=body).json()
    assert again["id"] == made["id"], "the same episodes and labels"
    trained, _ = build_manifest(find_set(str(manifest)))
    assert (trained.episodes[0].content, trained.episodes[0].identity) == identity(studio, episode_id)
    with studio.db.transaction(write=False) as db:
        episodes = read(db, studio, [made["id"]])[made["id"]].episodes
    assert [one.identity for one in episodes] == [identity(studio, episode_id)[0]]

"""Episodes that look different are different episodes, also in a data folder from before their identity said so."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from backend.audit.models import AuditEntry
from backend.context import Studio
from backend.datasets.models import Dataset
from backend.db import new_id
from backend.episodes.ingest import AlreadyThereError, accept
from backend.episodes.models import EpisodeRow, EpisodeSource
from backend.episodes.renew import renew
from backend.training.data import read
from dexvla.episodes.manifest import build_manifest, find_set

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

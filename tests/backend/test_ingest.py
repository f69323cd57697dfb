"""Files from outside: what is fine comes in unchanged, what is harmful or does not fit leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sqlalchemy import select

from backend.context import Studio
from backend.datasets.models import Dataset
from backend.db import new_id
from backend.episodes.ingest import AlreadyThereError, RefusedError, accept
from backend.episodes.models import EpisodeRow, EpisodeSource
from backend.errors import DiskFullError
from dexvla.episodes.format import EpisodeData
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode

MakeData = Callable[..., EpisodeData]


@pytest.fixture
def dataset_id(studio: Studio) -> str:
    with studio.db.transaction() as db:
        row = Dataset(id=new_id(), name="cubes")
        db.add(row)
        return row.id


@pytest.fixture
def good(tmp_path: Path, make_data: MakeData) -> Path:
    write_episode(tmp_path / "good.hdf5", make_data())
    return tmp_path / "good.hdf5"


def take(studio: Studio, dataset_id: str, file: Path, **given: Any) -> str:
    return accept(studio, dataset_id=dataset_id, file=file, source=EpisodeSource.UPLOADED, **given).episode_id


def stored_files(studio: Studio) -> list[Path]:
    return [path for path in studio.settings.folder.episodes.rglob("*") if path.is_file()]


def test_a_good_file_comes_in_with_the_same_identity(studio: Studio, dataset_id: str, good: Path) -> None:
    episode_id = take(studio, dataset_id, good)
    with open_episode(good) as original, open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert episode_identity(original) == episode_identity(stored)
        assert original.substep_reasonings == stored.substep_reasonings
        assert original.attributes == stored.attributes
        identity = episode_identity(stored)
    with studio.db.transaction() as db:
        row = db.get(EpisodeRow, episode_id)
        dataset = db.get(Dataset, dataset_id)
        assert row is not None
        assert dataset is not None
        assert (row.identity, row.steps, row.number, row.fps) == (identity, 24, 0, 50.0)
        assert (dataset.action_dim, dataset.cameras) == (14, ["cam_high", "cam_left_wrist", "cam_right_wrist"])


def test_labels_may_be_left_behind(studio: Studio, dataset_id: str, good: Path) -> None:
    episode_id = take(studio, dataset_id, good, keep_labels=False)
    with open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert stored.substep_reasonings is None


@pytest.mark.parametrize("jpeg", [True, False])
def test_nothing_unknown_is_kept(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData, jpeg: bool
) -> None:
    write_episode(tmp_path / "odd.hdf5", make_data(jpeg=jpeg))
    with h5py.File(tmp_path / "odd.hdf5", "r+") as file:
        file["payload"] = np.zeros(1000)
        file["action"].attrs["note"] = "<script>"
        file.attrs["author"] = "somebody"
    episode_id = take(studio, dataset_id, tmp_path / "odd.hdf5")
    with h5py.File(studio.settings.folder.episode(dataset_id, episode_id)) as file:
        assert "payload" not in file
        assert not file["action"].attrs
        assert "author" not in file.attrs


def hostile_external_link(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["action"]
        file["action"] = h5py.ExternalLink("/etc/passwd", "/action")


def hostile_external_storage(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["observations/qpos"]
        file.create_dataset(
            "observations/qpos", shape=(24, 14), dtype="f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
        )


def hostile_virtual(path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(24, 14), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(24, 14))
    with h5py.File(path, "r+") as file:
        del file["observations/qpos"]
        file.create_virtual_dataset("observations/qpos", layout)


def hostile_huge(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["action"]
        file.create_dataset("action", shape=(10**9, 1000), dtype="f4", chunks=(1000, 1000))


def hostile_bomb(path: Path) -> None:
    """A megabyte of zeros a step, squeezed to nothing."""
    with h5py.File(path, "r+") as file:
        for camera in list(file["observations/images"]):
            del file[f"observations/images/{camera}"]
        file["observations/images"].create_dataset(
            "cam_high", shape=(24, 2**28), dtype="u1", chunks=(1, 2**20), compression="gzip"
        )


def hostile_soft_link(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["observations/images/again"] = h5py.SoftLink("/observations/images")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_hdf5(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 not an episode")


def nan(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["action"][3, 2] = np.nan


def broken_picture(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["observations/images/cam_high"][5] = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (hostile_external_link, "links are refused"),
        (hostile_external_storage, "external or virtual storage"),
        (hostile_virtual, "external or virtual storage"),
        (hostile_huge, "more than 1 GiB"),
        (hostile_bomb, "not a JPEG picture"),
        (hostile_soft_link, "links are refused"),
        (truncated, "not a readable HDF5 file"),
        (no_hdf5, "not a readable HDF5 file"),
        (nan, "NaN or infinite, first at step 3, dimension 2"),
        (broken_picture, "step 5"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_stays(
    studio: Studio, dataset_id: str, good: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(good)
    with pytest.raises(RefusedError) as refused:
        take(studio, dataset_id, good)
    assert message in str(refused.value.errors)
    assert stored_files(studio) == []
    with studio.db.transaction() as db:
        assert db.scalars(select(EpisodeRow)).all() == []


def test_the_same_episode_comes_in_once(studio: Studio, dataset_id: str, good: Path) -> None:
    first = take(studio, dataset_id, good)
    with pytest.raises(AlreadyThereError, match="as episode 0") as refused:
        take(studio, dataset_id, good)
    assert refused.value.episode_id == first
    assert len(stored_files(studio)) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"action_dim": 7}, "action dimensions 7, the dataset's episodes have 14"),
        ({"cameras": ("cam_high",)}, "the cameras cam_high, the dataset's episodes have cam_high, cam_left_wrist"),
        ({"attributes": {"fps": 30.0}}, "steps a second 30.0, the dataset's episodes have 50.0"),
        ({"attributes": {"render_profile": "full"}}, "render profile full"),
    ],
)
def test_episodes_of_a_dataset_agree(
    studio: Studio,
    dataset_id: str,
    good: Path,
    tmp_path: Path,
    make_data: MakeData,
    given: dict[str, Any],
    message: str,
) -> None:
    take(studio, dataset_id, good)
    write_episode(tmp_path / "other.hdf5", make_data(seed=1, **given))
    with pytest.raises(RefusedError) as refused:
        take(studio, dataset_id, tmp_path / "other.hdf5")
    assert message in str(refused.value)
    assert len(stored_files(studio)) == 1


def test_a_full_disk_is_told_before_anything_is_written(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskFullError, match="no room"):
        take(studio, dataset_id, good)
    assert stored_files(studio) == []

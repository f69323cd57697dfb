"""What is harmful, damaged or too large leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from sqlalchemy import select

from backend.core.errors import DiskFullError
from backend.intake import accept as ingest
from backend.intake.accept import RefusedError
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow
from dexvla.episodes.jpeg import encode_jpeg
from tests.support.intake import stored_files, take
from tests.support.small_disk import small_disk


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


def hostile_chunk(path: Path) -> None:
    """Gigabytes in one chunk that are a few kilobytes on the disk: whoever reads one step unpacks them all."""
    with h5py.File(path, "r+") as file:
        del file["observations/images/cam_high"]
        file.create_dataset(
            "observations/images/cam_high", shape=(24, 2**27), dtype="u1", chunks=(24, 2**27), compression="gzip"
        )


def hostile_steps(path: Path) -> None:
    """Pixels that were never written cost nothing, and are pictures."""
    steps = 10**7
    with h5py.File(path, "w") as file:
        file.create_dataset("action", shape=(steps, 1), dtype="f4", chunks=(2**16, 1))
        file.create_dataset("observations/qpos", shape=(steps, 1), dtype="f4", chunks=(2**16, 1))
        file.create_dataset("observations/images/cam", shape=(steps, 8, 8, 3), dtype="u1", chunks=(1, 8, 8, 3))
        file["language_raw"] = ["Do it."]


def hostile_paths(path: Path) -> None:
    """Forty groups, each holding the next one twice: 2 ** 40 ways through a file of a few kilobytes."""
    with h5py.File(path, "r+") as file:
        group = file.create_group("a")
        for _ in range(40):
            group["b"] = following = group.create_group("a")
            group = following


def hostile_nesting(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        group = file
        for _ in range(5000):
            group = group.create_group("a")


def hostile_width(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for number in range(60_000):
            h5py.h5g.create(file.id, str(number).encode())


def hostile_instruction(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["language_raw"]
        file["language_raw"] = np.array([b"Lift\7it"], "S8")


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
        (hostile_huge, "more than 256 MiB"),
        (hostile_bomb, "more than 32 MiB"),
        (hostile_chunk, "chunks of 3072 MiB, at most 64 MiB"),
        (hostile_steps, "10000000 steps of 1 dimensions; at most"),
        (hostile_paths, "nested more than 16 deep"),
        (hostile_nesting, "nested more than 16 deep"),
        (hostile_width, "more than 10000 entries"),
        (hostile_instruction, "its instruction holds control characters"),
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


def test_a_full_disk_is_told_before_anything_is_written(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskFullError, match="no room"):
        take(studio, dataset_id, good)
    assert stored_files(studio) == []


def test_a_full_disk_in_the_middle_leaves_nothing(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = studio.settings.folder.episodes
    with small_disk(folder, kib=96):
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**40})())
        with pytest.raises(DiskFullError, match="became full"):
            take(studio, dataset_id, good)
        assert stored_files(studio) == []


def test_what_expands_beyond_measure_is_refused(
    studio: Studio, dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same picture at every step, squeezed to a hundredth; written plainly it would fill the disk."""
    monkeypatch.setattr(ingest, "_SPARE_BYTES", 2**20)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    picture = np.frombuffer(encode_jpeg(noise), np.uint8)
    steps = 300
    with h5py.File(tmp_path / "e.hdf5", "w") as file:
        file["action"] = file["observations/qpos"] = np.zeros((steps, 2), np.float32)
        rows = np.tile(picture, (steps, 1))
        file.create_dataset("observations/images/cam", data=rows, chunks=(50, len(picture)), compression="gzip")
        file["language_raw"] = ["Do it."]
        file.attrs["compress"] = True
    with pytest.raises(RefusedError, match="more than twice as large as the file"):
        take(studio, dataset_id, tmp_path / "e.hdf5")
    assert stored_files(studio) == []

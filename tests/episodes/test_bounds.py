"""What a small file says never decides how much memory or time it takes."""

import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dexvla.episodes.arms import arms_of
from dexvla.episodes.check import check_file
from dexvla.episodes.contact_sheet import contact_sheets
from dexvla.episodes.jpeg import MAX_PIXELS, decode_jpeg, decode_reduced, encode_jpeg, jpeg_size
from dexvla.episodes.reader import open_episode, read_positions
from dexvla.errors import EpisodeError
from dexvla.segmentation.boundaries import BoundarySettings, candidates, debounced, merged, smoothed

pytestmark = pytest.mark.slow

MIB = 2**20


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fails if Python and NumPy allocate more bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, make_episode: Callable[..., Path]) -> Path:
    return make_episode(tmp_path_factory.mktemp("small") / "a.hdf5", steps=6, cameras=("cam_high",))


NUMBERS = st.one_of(
    st.floats(width=64),
    st.floats(width=16).map(np.float16),
    st.integers(-(2**63), 2**64 - 1).map(lambda value: np.uint64(value) if value >= 2**63 else np.int64(value)),
    st.complex_numbers(),
    st.sampled_from([np.longdouble("1e4000"), 3e8, 1e-300, np.float32(1e38), np.uint8(255), True, False]),
)
VALUES = st.one_of(
    NUMBERS,
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=2000),
    st.binary(min_size=1, max_size=40).map(lambda value: np.bytes_(value.rstrip(b"\0") or b"x")),
    st.lists(st.floats(), min_size=1, max_size=3000).map(np.array),
    st.just(h5py.Empty("f8")),
)
NAMES = st.sampled_from(
    ["fps", "seed", "sim", "compress", "success", "held", "reward", "robot", "task", "render_profile", "jpeg_channels"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, value=VALUES)
def test_no_attribute_costs_memory_or_breaks_the_reader(small: Path, tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "a.hdf5"
    path.write_bytes(small.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with at_most(32 * MIB):
        report = check_file(path)
        assert all(len(line) < 400 for line in report.errors)
        if report.ok:
            with open_episode(path) as episode:
                rate = episode.attributes.fps or 50.0
                found = candidates(episode.qpos, rate, arms_of(None, 14), BoundarySettings())
                merged(found, rate, BoundarySettings())
                contact_sheets(episode, episode.cameras, [0, 5])


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 400), deviation=st.floats(0.01, 1e12), hold=st.integers(1, 10**12))
def test_no_window_is_longer_than_the_series(steps: int, deviation: float, hold: int) -> None:
    series = np.sin(np.arange(steps))
    with at_most(16 * MIB):
        assert smoothed(series, deviation).shape == series.shape
        assert debounced(series, hold).shape == series.shape


def test_a_window_that_fits_is_what_it_was() -> None:
    series = np.random.default_rng(0).normal(size=(200, 3))
    kernel = np.exp(-0.5 * (np.arange(-9, 10) / 3.0) ** 2)
    padded = np.pad(series, ((9, 9), (0, 0)), mode="edge")
    expected = [np.convolve(padded[:, column], kernel / kernel.sum(), mode="valid") for column in range(3)]
    np.testing.assert_allclose(smoothed(series, 3.0), np.stack(expected, axis=1))


def declaring(height: int, width: int) -> bytes:
    """A JPEG whose header says so; its data are those of 16 x 16 pixels."""
    jpeg = encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    start = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[start + 4 :]


@pytest.mark.parametrize("size", [(65500, 65500), (65500, 600), (8192, 8192)])
def test_a_jpeg_is_refused_by_its_header(size: tuple[int, int]) -> None:
    jpeg = declaring(*size)
    with at_most(MIB):
        for read in (jpeg_size, decode_jpeg, lambda data: decode_reduced(data, 64, 64)):
            with pytest.raises(ValueError, match=f"declares {size[0]} x {size[1]} pixels, at most {MAX_PIXELS}"):
                read(jpeg)


def test_a_jpeg_of_more_rows_than_libjpeg_knows_is_refused() -> None:
    for read in (jpeg_size, decode_jpeg, lambda data: decode_reduced(data, 64, 64)):
        with pytest.raises(ValueError, match="not a JPEG"):
            read(declaring(65535, 65535))


def test_a_jpeg_that_is_gone_through_again_and_again_is_named(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    path.write_bytes(small.read_bytes())
    with h5py.File(path, "r+") as file:
        rows = file["observations/images/cam_high"][:]
        scans = b"\xff\xda\x00\x02" * 200
        wide = np.zeros((len(rows), rows.shape[1] + len(scans)), np.uint8)
        for step, row in enumerate(rows):
            data = row.tobytes().rstrip(b"\0")
            wide[step, : len(data) + len(scans)] = np.frombuffer(data[:-2] + scans + data[-2:], np.uint8)
        del file["observations/images/cam_high"]
        file["observations/images/cam_high"] = wide
    (error,) = check_file(path).errors
    assert "6 frames of cam_high cannot be decoded" in error


def shared(file: h5py.File) -> None:
    """3 ** 14 paths, no deeper than groups may be."""
    group = file.create_group("a")
    for _ in range(14):
        group["b"] = group["c"] = following = group.create_group("a")
        group = following


def circle(file: h5py.File) -> None:
    group = file.create_group("a")
    group["b"] = file["/"]


@pytest.mark.parametrize("spoil", [shared, circle])
def test_a_group_is_gone_through_once_however_many_names_it_has(
    small: Path, tmp_path: Path, spoil: Callable[[h5py.File], None]
) -> None:
    path = tmp_path / "a.hdf5"
    path.write_bytes(small.read_bytes())
    with h5py.File(path, "r+") as file:
        spoil(file)
    report = check_file(path)
    assert report.ok, report.errors
    assert report.warnings[-1] == "unknown entries, ignored: a"


def deep(file: h5py.File) -> None:
    group = file
    for _ in range(5000):
        group = group.create_group("a")


def wide(file: h5py.File) -> None:
    for number in range(60_000):
        h5py.h5g.create(file.id, str(number).encode())


def many_cameras(file: h5py.File) -> None:
    rows = file["observations/images/cam_high"]
    for number in range(100):
        file[f"observations/images/c{number}"] = rows


def strip(file: h5py.File) -> None:
    del file["observations/images/cam_high"]
    file.create_dataset("observations/images/cam_high", shape=(6, 1, 10**9, 3), dtype="u1", chunks=(1, 1, 1000, 3))
    file.attrs["compress"] = False


def no_columns(file: h5py.File) -> None:
    del file["observations/images/cam_high"]
    file.create_dataset("observations/images/cam_high", shape=(6, 48, 0, 3), dtype="u1")
    file.attrs["compress"] = False


def big_chunk(file: h5py.File) -> None:
    del file["observations/images/cam_high"]
    whole = (6, 8000, 8000)
    pixels = file.create_dataset(
        "observations/images/cam_high",
        shape=(*whole[:1], 30, 30, 3),
        maxshape=(None,) * 4,
        dtype="u1",
        chunks=(6, 8000, 8000, 1),
        compression="gzip",
    )
    pixels[:] = 0
    file.attrs["compress"] = False


def one_text_for_all(file: h5py.File) -> None:
    """Texts of a fixed length that were never written cost nothing."""
    del file["substep_reasonings"]
    file.create_dataset("substep_reasonings", shape=(6,), dtype="S60000000", chunks=(1,), compression="gzip")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (deep, "nested more than 16 deep"),
        (wide, "more than 10000 entries"),
        (many_cameras, "101 cameras below observations/images, expected at most 64"),
        (strip, "more than 96 MiB at once"),
        (no_columns, r"camera cam_high is uint8 \(6, 48, 0, 3\), expected"),
        (big_chunk, "is stored in chunks of 366 MiB, at most 256 MiB"),
        (one_text_for_all, "more than 64 MiB at once"),
    ],
)
def test_a_small_file_that_means_much_is_refused_in_a_line(
    small: Path, tmp_path: Path, spoil: Callable[[h5py.File], None], message: str
) -> None:
    path = tmp_path / "a.hdf5"
    path.write_bytes(small.read_bytes())
    with h5py.File(path, "r+") as file:
        spoil(file)
    with at_most(64 * MIB):
        (error,) = check_file(path).errors
    assert re.search(message, error)


def test_positions_alone_are_bounded_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("observations/qpos", shape=(10**9, 14), dtype="f4", chunks=(1024, 14))
    with at_most(MIB), pytest.raises(EpisodeError, match="too many to be read"):
        read_positions(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file.create_group("observations/qpos")
    with pytest.raises(EpisodeError, match="cannot be read"):
        read_positions(tmp_path / "b.hdf5")

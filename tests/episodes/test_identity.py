"""What is seen decides who an episode is: colour order, size and the ends of the rows, not the stored bytes alone."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dexvla.data.cache import ImageCache
from dexvla.episodes.format import EpisodeData
from dexvla.episodes.identity import episode_identities, renewed_identity
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import build_manifest, find_set, load_manifest, manifest_hash, save_manifest
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError
from dexvla.spec import CameraSpec, DatasetManifest, EpisodeEntry

CAMERA = CameraSpec(name="cam_high", height=24, width=32)


@pytest.fixture
def twins(tmp_path: Path, make_episode: Callable[..., Path]) -> tuple[Path, Path]:
    """The same JPEG rows without and with `jpeg_channels`: red and blue change places between them."""
    marked = make_episode(tmp_path / "rgb.hdf5", cameras=("cam_high",))
    plain = tmp_path / "plain.hdf5"
    shutil.copyfile(marked, plain)
    with h5py.File(plain, "a") as file:
        del file.attrs["jpeg_channels"]
    return plain, marked


def entry_of(path: Path) -> EpisodeEntry:
    return build_manifest(find_set(str(path)))[0].episodes[0]


def listed_before(manifest: DatasetManifest) -> DatasetManifest:
    """As a list was written before identities said how pictures are read."""
    entries = [entry.model_copy(update={"identity": entry.aliases[0], "aliases": ()}) for entry in manifest.episodes]
    return manifest.model_copy(update={"episodes": tuple(entries)})


def test_the_order_of_the_colours_is_part_of_the_identity(twins: tuple[Path, Path]) -> None:
    plain, marked = map(entry_of, twins)
    assert plain.identity != marked.identity
    assert plain.aliases == marked.aliases, "they were one before"
    assert plain.identity.startswith("v2")
    assert len(plain.identity) == 64


def test_no_picture_is_shared_by_episodes_that_look_different(twins: tuple[Path, Path], tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "cache")
    entries = [entry_of(path) for path in twins]
    cache.prepare(entries, [CAMERA], root=Path("/"))
    plain, marked = (np.asarray(cache.open(entry, CAMERA)) for entry in entries)
    assert (plain[..., ::-1] == marked).all()
    assert np.abs(plain.astype(int) - marked).mean() > 30


def of_pure_red(data: EpisodeData) -> dict[str, EpisodeData]:
    """One scene, as true-colour JPEG rows with their mark, as RGB pixels and as BGR pixels, which carry no mark."""
    rgb = np.zeros((len(data.action), CAMERA.height, CAMERA.width, 3), np.uint8)
    rgb[..., 0] = 255
    stored = {"jpeg": [encode_jpeg(frame) for frame in rgb], "rgb": rgb, "bgr": np.ascontiguousarray(rgb[..., ::-1])}
    return {name: EpisodeData(**{**vars(data), "images": {"cam_high": rows}}) for name, rows in stored.items()}


def test_true_colour_jpeg_of_a_red_scene_is_red_and_bgr_pixels_share_nothing_with_it(
    tmp_path: Path, make_data: Callable[..., EpisodeData]
) -> None:
    """BGR pixels cannot be told from RGB ones; they are another episode, whose pictures are kept apart."""
    scenes = of_pure_red(make_data(cameras=("cam_high",), steps=3))
    for name, data in scenes.items():
        write_episode(tmp_path / f"{name}.hdf5", data)
    with h5py.File(tmp_path / "jpeg.hdf5") as file:
        assert file.attrs["jpeg_channels"] == "rgb"
    entries = [entry_of(tmp_path / f"{name}.hdf5") for name in scenes]
    assert len({entry.identity for entry in entries} | {alias for entry in entries for alias in entry.aliases}) == 6
    cache = ImageCache(tmp_path / "cache")
    cache.prepare(entries, [CAMERA], root=Path("/"))
    assert len({cache.path(entry, CAMERA) for entry in entries}) == 3
    jpeg, rgb, bgr = (np.asarray(cache.open(entry, CAMERA)) for entry in entries)
    assert jpeg[..., 0].min() >= 250
    assert jpeg[..., 1:].max() <= 5
    assert (rgb == (255, 0, 0)).all()
    assert (bgr == (0, 0, 255)).all(), "as they lie in the file"


def test_height_and_width_of_plain_pixels_are_part_of_it(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "high.hdf5", cameras=("cam_high",), jpeg=False)
    wide = tmp_path / "wide.hdf5"
    shutil.copyfile(path, wide)
    with h5py.File(wide, "a") as file:
        pixels = file["observations/images/cam_high"][:]
        del file["observations/images/cam_high"]
        file["observations/images/cam_high"] = pixels.reshape(len(pixels), 64, 48, 3)
    assert entry_of(path).identity != entry_of(wide).identity
    assert entry_of(path).aliases == entry_of(wide).aliases


def test_the_ends_of_the_rows_are_part_of_it(tmp_path: Path, make_data: Callable[..., EpisodeData]) -> None:
    """A second picture behind the first in a row is not seen; the same bytes, cut in another way, show other steps."""
    data = make_data(cameras=("cam_high",), steps=2)
    first, second = data.images["cam_high"]
    found = []
    for name, rows in (("a", [first + second, second]), ("b", [first, second + second])):
        write_episode(tmp_path / name, EpisodeData(**{**vars(data), "images": {"cam_high": rows}}))
        with open_episode(tmp_path / name) as episode:
            found.append(episode_identities(episode))
    assert found[0].former == found[1].former
    assert found[0].value != found[1].value


@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.parametrize("lengths", ["kept", "wrong", "none"])
def test_a_former_identity_is_renewed_without_hashing_again(
    tmp_path: Path, make_episode: Callable[..., Path], jpeg: bool, lengths: str
) -> None:
    path = make_episode(tmp_path / "a.hdf5", jpeg=jpeg)
    with h5py.File(path, "a") as file:
        if jpeg and lengths != "kept":
            stored = file["compress_len"][:]
            del file["compress_len"]
            if lengths == "wrong":
                file["compress_len"] = stored[:, :-1]
    with open_episode(path) as episode:
        identity = episode_identities(episode)
        assert renewed_identity(episode, identity.former, trust_lengths=True) == identity.value
        assert renewed_identity(episode, identity.former, trust_lengths=False) == identity.value


def test_an_older_list_keeps_its_words_and_finds_its_episodes(demos: Path, tmp_path: Path) -> None:
    today, _ = build_manifest(find_set(str(demos)))
    before = listed_before(today)
    save_manifest(tmp_path / "old.json", before)
    again, _ = build_manifest(find_set(str(tmp_path / "old.json")))
    assert [entry.identity for entry in again.episodes] == [entry.identity for entry in before.episodes]
    assert [entry.content for entry in again.episodes] == [entry.identity for entry in today.episodes]
    assert manifest_hash(again) == manifest_hash(before) == manifest_hash(load_manifest(tmp_path / "old.json"))
    assert all(entry.is_in({old.identity}) for entry, old in zip(today.episodes, before.episodes, strict=True))


def test_the_hash_of_a_list_does_not_hang_on_aliases(demos: Path) -> None:
    today, _ = build_manifest(find_set(str(demos)))
    bare = [entry.model_copy(update={"aliases": ()}) for entry in today.episodes]
    assert manifest_hash(today) == manifest_hash(today.model_copy(update={"episodes": tuple(bare)}))


def test_a_list_under_a_former_identity_refuses_another_episode(
    demos: Path, tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    before = listed_before(build_manifest(find_set(str(demos)))[0])
    other = make_episode(tmp_path / "other.hdf5", seed=9)
    entries = (before.episodes[0].model_copy(update={"path": str(other)}), *before.episodes[1:])
    save_manifest(tmp_path / "old.json", before.model_copy(update={"episodes": entries}))
    with pytest.raises(EpisodeError, match="another episode than the manifest lists"):
        build_manifest(find_set(str(tmp_path / "old.json")))


def test_pictures_are_never_kept_under_a_former_identity(demos: Path, tmp_path: Path) -> None:
    entry = listed_before(build_manifest(find_set(str(demos)))[0]).episodes[0]
    with pytest.raises(ValueError, match="does not say how its images are read"):
        ImageCache(tmp_path).path(entry, CAMERA)


def test_the_former_identity_is_still_what_it_was(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    """Older lists hold it: computed here as it was written down then."""
    path = make_episode(tmp_path / "a.hdf5", jpeg=False, cameras=("cam_high",))
    with open_episode(path) as episode:
        found, parts = episode_identities(episode), [b"sim:True;"]
        motion = {"action": episode.action, "qpos": episode.qpos, "qvel": episode.qvel, "timestamp": episode.timestamp}
        for name, values in motion.items():
            assert values is not None
            parts += [f"{name}:{values.dtype.str}:{values.shape};".encode(), values.tobytes()]
        parts.append(b"camera:cam_high:False;")
        parts += [episode.frame("cam_high", step).tobytes() for step in range(episode.steps)]
    assert found.former == hashlib.sha256(b"".join(parts)).hexdigest()

"""Augmentation and the cache of prepared images."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dexvla.data import augment as augmentation
from dexvla.data import images
from dexvla.data.augment import Draw, augment
from dexvla.data.cache import ImageCache
from dexvla.data.images import centre_crop
from dexvla.data.statistics import norm_stats
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.errors import UserError
from dexvla.model.processing import Processor
from dexvla.spec import CameraSpec, PaddedActions, TrainSpec
from dexvla.train.data import EpisodeSamples, SampleSettings
from dexvla.train.loop import train
from dexvla.train.runs import read_metrics

CAMERAS = (
    CameraSpec(name="cam_high", height=56, width=84),
    CameraSpec(name="cam_left_wrist", height=28, width=56),
    CameraSpec(name="cam_right_wrist", height=48, width=64),
)


def samples_of(data: Path, base: Path, *, image_cache: ImageCache | None, **settings: Any) -> EpisodeSamples:
    manifest, motions = build_manifest(find_set(str(data)))
    wanted = SampleSettings(
        cameras=CAMERAS,
        chunk_size=8,
        diffusion_steps=100,
        use_reasoning=True,
        padded_actions=PaddedActions.REPEAT_LAST,
        augment=False,
        seed=0,
    )
    if image_cache is not None:
        image_cache.prepare(manifest.episodes, CAMERAS, root=Path("/"))
    return EpisodeSamples(
        entries=manifest.episodes,
        root=Path("/"),
        stats=norm_stats(motions),
        processor=Processor.from_pretrained(base),
        settings=dataclasses.replace(wanted, **settings),
        image_cache=image_cache,
    )


@pytest.mark.parametrize("augmented", [False, True])
def test_samples_from_the_cache_are_the_same_bit_by_bit(
    demos: Path, base_model: Path, tmp_path: Path, augmented: bool
) -> None:
    direct = samples_of(demos, base_model, image_cache=None, augment=augmented)
    cached = samples_of(demos, base_model, image_cache=ImageCache(tmp_path / "cache"), augment=augmented)
    for place, index in enumerate((0, 23, 24, 50)):
        left, right = direct[place, index], cached[place, index]
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_an_episode_that_changed_gets_files_of_its_own(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    cache = ImageCache(tmp_path / "cache")
    written: list[int] = []
    for seed in (0, 0, 1):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        make_episode(tmp_path / "data" / "episode_0.hdf5", seed=seed, steps=4)
        manifest, _ = build_manifest(find_set(str(tmp_path / "data")))
        cache.prepare(manifest.episodes, CAMERAS, root=Path("/"))
        written.append(len(list(cache.folder.rglob("*.npy"))))
    assert written == [3, 3, 6], "the second time everything was there"
    assert not list(cache.folder.rglob("*.tmp"))


def test_a_damaged_or_missing_file_is_named(demos: Path, base_model: Path, tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "cache")
    samples = samples_of(demos, base_model, image_cache=cache)
    for path in cache.folder.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"\.npy: prepared images are missing or damaged"):
        samples[0, 0]


def test_too_small_a_disk_is_said_before_anything_is_written(
    demos: Path, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match=r"the prepared images take 0\.0 GB, 0\.0 GB are free"):
        samples_of(demos, base_model, image_cache=ImageCache(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


def test_a_run_with_the_cache_has_the_losses_of_one_without(
    make_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    def losses(name: str, **fields: Any) -> list[float]:
        run = train(make_spec(output_dir=str(tmp_path / name), steps=2, augment=True, **fields)).run
        return [line["loss"] for line in read_metrics(run / "metrics.jsonl")]

    assert losses("direct") == losses("cached", picture_cache=str(tmp_path / "cache"))
    assert list((tmp_path / "cache").rglob("*.npy"))


def test_bytes_and_normalised_pictures_give_the_same_losses(demos: Path, base_model: Path) -> None:
    samples = samples_of(demos, base_model, image_cache=None)
    made = [samples[0, 0], samples[1, 30]]
    normalise = Processor.from_pretrained(base_model).image_patches.normalise
    mixed = [made[0], {**made[1], "pixel_values": normalise(made[1]["pixel_values"])}]
    batch = samples.collate(made)
    assert batch["pixel_values"].dtype == torch.uint8
    assert batch["pixel_values"].shape[1] == 588
    assert torch.equal(normalise(batch["pixel_values"]), samples.collate(mixed)["pixel_values"])


# --- augmentation -------------------------------------------------------------------------------------------------

NOTHING = {"left": 0.5, "top": 0.5, "degrees": 0.0, "factors": (1.0, 1.0, 1.0), "order": (0, 1, 2)}


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3))
    return coarse.repeat(8, 0).repeat(8, 1).astype(np.uint8)


def blend(image: np.ndarray, other: np.ndarray | float, ratio: float) -> np.ndarray:
    return np.trunc(np.clip(ratio * image + (1 - ratio) * other, 0, 255))


def grey(image: np.ndarray) -> np.ndarray:
    return np.trunc(image @ [0.2989, 0.587, 0.114])[..., None]


@pytest.mark.parametrize("seed", range(8))
def test_the_colour_jitter_follows_torchvisions_formulas(seed: int) -> None:
    """Applied to the picture that the same draw without jitter gives; two grey levels, half a level on average."""
    draw = Draw.sample(np.random.default_rng(seed))
    geometry = dataclasses.replace(draw, factors=(1.0, 1.0, 1.0))
    expected = augment([scene()], geometry)[0].astype(float)
    for index in draw.order:
        other = (0.0, grey(expected).mean(), grey(expected))[index]
        expected = blend(expected, other, draw.factors[index])
    distance = np.abs(augment([scene()], draw)[0] - expected)
    assert distance.max() <= 2
    assert distance.mean() < 0.5


def test_the_crop_takes_95_percent_and_reaches_every_border() -> None:
    image = scene(104, 200)
    for corner, (top, left) in {(0.0, 0.0): (0, 0), (0.999, 0.999): (6, 10), (0.5, 0.5): (3, 5)}.items():
        draw = Draw(**{**NOTHING, "top": corner[0], "left": corner[1]})
        part = torch.from_numpy(image[top : top + 98, left : left + 190].copy()).permute(2, 0, 1)[None].float()
        expected = torch.nn.functional.interpolate(part, (104, 200), mode="bilinear", antialias=True).round()
        ours = augment([image], draw)[0]
        assert np.abs(ours - expected[0].permute(1, 2, 0).numpy()).max() <= 1


def test_the_rotation_is_counter_clockwise_with_black_corners() -> None:
    image = np.full((96, 128, 3), 200, np.uint8)
    image[40:56, 100:110] = 90  # a mark to the right of the middle
    turned = augment([image], Draw(**{**NOTHING, "degrees": 5.0}))[0]
    assert (turned[0, 0] == 0).all()
    assert (turned[-1, -1] == 0).all()
    straight = augment([image], Draw(**NOTHING))[0]
    rows = [np.nonzero((picture[..., 0] > 60) & (picture[..., 0] < 120))[0].mean() for picture in (straight, turned)]
    assert rows[1] < rows[0] - 2, "the right side went up"


@pytest.mark.skipif(images.compiled() is None, reason="no numba")
@pytest.mark.parametrize("size", [(240, 320), (97, 131), (130, 40)])
def test_the_compiled_augmentation_has_the_bits_of_pillows(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(6)
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8), np.full((*size, 3), 250, np.uint8)]
    draws = [Draw.sample(rng) for _ in range(12)] + [Draw(**NOTHING)]
    assert augmentation._compiled_like_pillow()
    compiled = [augment(pictures, draw) for draw in draws]
    monkeypatch.setattr(augmentation, "_compiled_like_pillow", lambda: False)
    for ours, draw in zip(compiled, draws, strict=True):
        assert all(map(np.array_equal, ours, augment(pictures, draw)))


def test_all_cameras_get_the_same_draw_and_keep_their_place() -> None:
    draw = Draw.sample(np.random.default_rng(3))
    images = [scene(96, 128), scene(48, 64), scene(96, 128), 255 - scene(96, 128)]
    together = augment(images, draw)
    assert [picture.shape for picture in together] == [image.shape for image in images]
    for picture, image in zip(together, images, strict=True):
        assert np.array_equal(picture, augment([image], draw)[0])


def test_pictures_that_are_not_augmented_are_cropped_in_the_middle(
    demos: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pictures(**settings: Any) -> list[np.ndarray]:
        samples = samples_of(demos, base_model, image_cache=None, **settings)
        shown: list[np.ndarray] = []
        monkeypatch.setattr(samples, "inputs", lambda images, *words: shown.extend(images) or {})
        samples[0, 30]
        return shown

    whole = pictures()
    for cropped, picture in zip(pictures(centre_crop=0.95), whole, strict=True):
        assert np.array_equal(cropped, centre_crop(picture, 0.95))
        assert not np.array_equal(cropped, picture)
    augmented = pictures(augment=True)
    assert all(map(np.array_equal, pictures(augment=True, centre_crop=0.95), augmented)), "random crops alone"


def test_draws_cover_the_reference_ranges() -> None:
    draws = [Draw.sample(np.random.default_rng(seed)) for seed in range(2000)]
    factors = np.array([draw.factors for draw in draws])
    np.testing.assert_allclose(factors.min(0), [0.7, 0.6, 0.5], atol=0.01)
    np.testing.assert_allclose(factors.max(0), [1.3, 1.4, 1.5], atol=0.01)
    assert max(abs(draw.degrees) for draw in draws) == pytest.approx(5.0, abs=0.02)
    assert len({draw.order for draw in draws}) == 6

"""Pictures through the reference's resize chain and the Qwen2-VL image processor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dexvla.episodes import images
from dexvla.episodes.images import resize_bilinear
from dexvla.model import pictures as pictures_module
from dexvla.model.processing import Processor

OPENCV = np.load(Path(__file__).resolve().parents[1] / "data" / "resize_opencv.npz")


@pytest.fixture(scope="module")
def processor(parity: Path) -> Processor:
    return Processor.from_pretrained(parity / "tiny" / "processor")


@pytest.mark.parametrize("case", range(6))
def test_resize_is_opencvs(case: int) -> None:
    """Enlarged, shrunk, halved, one side each; made with opencv-python-headless 5.0."""
    expected = OPENCV[f"{case}.resized"]
    assert np.array_equal(resize_bilinear(OPENCV[f"{case}.image"], *expected.shape[:2]), expected)


@pytest.mark.parametrize("name", ["a_480x640", "b_240x320"])
def test_training_chain(parity: Path, processor: Processor, name: str) -> None:
    data = np.load(parity / "preprocess" / f"{name}.npz")
    assert np.array_equal(resize_bilinear(data["image"], 240, 320), data["train.after_cv2_resize"])
    patches, grid = processor.patches(data["image"], (240, 320))
    assert [list(grid)] == data["train.image_grid_thw"].reshape(-1, 3).tolist()
    np.testing.assert_allclose(patches, data["train.pixel_values"], atol=1e-5, rtol=0)
    fitted = data["train.after_fetch_image"]
    patches, grid = processor.patches(fitted, fitted.shape[:2])
    np.testing.assert_allclose(patches, data["train.pixel_values"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["a_480x640", "b_240x320"])
def test_at_camera_resolution(parity: Path, processor: Processor, name: str) -> None:
    data = np.load(parity / "preprocess" / f"{name}.npz")
    image = data["image"]
    patches, grid = processor.patches(image, image.shape[:2])
    assert [list(grid)] == data["direct.image_grid_thw"].reshape(-1, 3).tolist()
    expected = data["direct.pixel_values_every_37th_row"]
    np.testing.assert_allclose(patches[::37], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["a_480x640", "b_240x320"])
def test_the_evaluation_scripts_picture(parity: Path, processor: Processor, name: str) -> None:
    """From its cropped picture on; the policy itself sees pictures resized as in training."""
    data = np.load(parity / "preprocess" / f"{name}.npz")
    image = data["eval.after_crop_resize_uint8"]
    patches, grid = processor.patches(image, image.shape[:2])
    assert [list(grid)] == data["eval.image_grid_thw"].reshape(-1, 3).tolist()
    np.testing.assert_allclose(patches[::37], data["eval.pixel_values_every_37th_row"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(100, 300), (28, 29), (57, 83), (30, 900)])
def test_patches_are_those_of_transformers(processor: Processor, size: tuple[int, int]) -> None:
    """Also for pictures so small that they have to be enlarged first."""
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    settings = processor.image_processor
    assert isinstance(settings, Qwen2VLImageProcessorPil)
    theirs = settings(images=[image], return_tensors="np")
    patches, grid = processor.patches(image, size)
    assert [list(grid)] == theirs["image_grid_thw"].tolist()
    np.testing.assert_allclose(patches, theirs["pixel_values"], atol=1e-5, rtol=0)


def test_pictures_of_different_sizes_keep_their_order(processor: Processor) -> None:
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((60, 60), (60, 60), (56, 84), (60, 60))]
    cut, grids = processor.pictures.cut(images)
    alone = [processor.pictures.cut([image]) for image in images]
    assert torch.equal(cut, torch.cat([pixels for pixels, _ in alone]))
    assert torch.equal(grids, torch.cat([grid for _, grid in alone]))


WITHOUT = pytest.param(False, id="without numba")
WITH = pytest.param(True, id="with numba", marks=pytest.mark.skipif(images.compiled() is None, reason="no numba"))


@pytest.mark.parametrize("compiled", [WITHOUT, WITH])
@pytest.mark.parametrize("sizes", [(240, 320, 252, 308), (480, 640, 476, 644), (60, 80, 56, 84), (30, 300, 28, 308)])
def test_the_bicubic_resize_is_pillows(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int, int, int], compiled: bool
) -> None:
    if not compiled:
        monkeypatch.setattr(images, "compiled", lambda: None)
    image = np.random.default_rng(4).integers(0, 256, (*sizes[:2], 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((sizes[3], sizes[2]), Image.Resampling.BICUBIC))
    assert np.array_equal(images.resize_bicubic(image, *sizes[2:]), expected)


@pytest.mark.skipif(images.compiled() is None, reason="no numba")
def test_compiled_loops_have_the_bits_of_those_without(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert images._like_pillow(240, 320, 252, 308), "the usual size goes through the compiled resize"
    pictures = [np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8) for seed in (1, 2)]
    pictures[1] = np.asfortranarray(pictures[1][::-1])  # neither contiguous nor in order
    compiled = processor.pictures.cut([resize_bilinear(picture, 240, 320) for picture in pictures])
    normalised = processor.pictures.normalise(compiled[0])
    monkeypatch.setattr(images, "compiled", lambda: None)
    monkeypatch.setattr(pictures_module, "compiled", lambda: None)
    assert torch.equal(normalised, processor.pictures.normalise(compiled[0]))
    plain = processor.pictures.cut([resize_bilinear(picture, 240, 320) for picture in pictures])
    assert all(torch.equal(left, right) for left, right in zip(compiled, plain, strict=True))

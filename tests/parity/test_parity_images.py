"""Images through the reference's resize chain and the Qwen2-VL image processor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dexvla.data import images
from dexvla.data.images import centre_crop, resize_bilinear
from dexvla.model import patches as patches_module
from dexvla.model.processing import Processor, build_inputs
from tests.support.paths import ROOT

OPENCV = np.load(ROOT / "tests" / "data" / "resize_opencv.npz")


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
def test_the_evaluation_scripts_image(parity: Path, processor: Processor, name: str) -> None:
    """At camera resolution, as there; a policy sees images resized as in training, then cropped."""
    data = np.load(parity / "preprocess" / f"{name}.npz")
    image = data["image"]
    inputs = build_inputs(processor, images=[image], image_sizes=[image.shape[:2]], instruction="Fold.", crop=0.95)
    assert inputs["image_grid_thw"].tolist() == data["eval.image_grid_thw"].reshape(-1, 3).tolist()
    patches = inputs["pixel_values"].numpy()[::37]
    np.testing.assert_allclose(patches, data["eval.pixel_values_every_37th_row"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(100, 300), (28, 29), (57, 83), (30, 900)])
def test_patches_are_those_of_transformers(processor: Processor, size: tuple[int, int]) -> None:
    """Also for images so small that they have to be enlarged first."""
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    settings = processor.image_processor
    assert isinstance(settings, Qwen2VLImageProcessorPil)
    theirs = settings(images=[image], return_tensors="np")
    patches, grid = processor.patches(image, size)
    assert [list(grid)] == theirs["image_grid_thw"].tolist()
    np.testing.assert_allclose(patches, theirs["pixel_values"], atol=1e-5, rtol=0)


def test_images_of_different_sizes_keep_their_order(processor: Processor) -> None:
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((60, 60), (60, 60), (56, 84), (60, 60))]
    cut, grids = processor.image_patches.cut(images)
    alone = [processor.image_patches.cut([image]) for image in images]
    assert torch.equal(cut, torch.cat([pixels for pixels, _ in alone]))
    assert torch.equal(grids, torch.cat([grid for _, grid in alone]))


WITHOUT = pytest.param(False, id="without numba")
WITH = pytest.param(True, id="with numba", marks=pytest.mark.skipif(images.compiled() is None, reason="no numba"))


@pytest.mark.parametrize("compiled", [WITHOUT, WITH])
@pytest.mark.parametrize("name", ["a_480x640", "b_240x320"])
def test_the_centre_crop_has_the_evaluation_scripts_bits(
    monkeypatch: pytest.MonkeyPatch, parity: Path, name: str, compiled: bool
) -> None:
    if not compiled:
        monkeypatch.setattr(images, "compiled", lambda: None)
    data = np.load(parity / "preprocess" / f"{name}.npz")
    image, (top, bottom, left, right) = data["image"], data["eval.crop_box_top_bottom_left_right"].tolist()
    assert np.array_equal(centre_crop(image, 0.95), data["eval.after_crop_resize_uint8"])
    outside = image.copy()
    outside[top:bottom, left:right] = 0
    assert not centre_crop(outside, 0.95).any(), "nothing outside the box is seen"
    for row, column in ((top, left), (bottom - 1, right - 1)):
        corner = np.zeros_like(image)
        corner[row, column] = 255
        assert centre_crop(corner, 0.95).any(), "all of the box is seen"


@pytest.mark.parametrize("compiled", [WITHOUT, WITH])
@pytest.mark.parametrize("part", [0.95, 0.9, 0.333, 0.01])
@pytest.mark.parametrize("size", [(240, 320), (57, 83), (28, 29), (101, 2)])
def test_the_centre_crop_is_torchs(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], part: float, compiled: bool
) -> None:
    """Also for odd sides and an image that is neither contiguous nor in order."""
    if not compiled:
        monkeypatch.setattr(images, "compiled", lambda: None)
    image = np.random.default_rng(6).integers(0, 256, (*size, 3), dtype=np.uint8)[::-1, ::-1]
    (top, bottom), (left, right) = (
        (int(side * (1 - part) / 2), max(int(side * (1 + part) / 2), int(side * (1 - part) / 2) + 1)) for side in size
    )
    middle = torch.from_numpy(image[top:bottom, left:right].copy()).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(middle, size, mode="bilinear", antialias=True)
    assert np.array_equal(centre_crop(image, part), theirs[0].permute(1, 2, 0).to(torch.uint8).numpy())


def test_a_crop_of_everything_is_the_image_itself() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    assert centre_crop(image, 1.0) is image
    for part in (0.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"expected more than 0 and at most 1"):
            centre_crop(image, part)
    with pytest.raises(ValueError, match="found float64"):
        centre_crop(image / 255, 0.95)


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
    frames = [np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8) for seed in (1, 2)]
    frames[1] = np.asfortranarray(frames[1][::-1])  # neither contiguous nor in order
    compiled = processor.image_patches.cut([resize_bilinear(image, 240, 320) for image in frames])
    normalised = processor.image_patches.normalise(compiled[0])
    monkeypatch.setattr(images, "compiled", lambda: None)
    monkeypatch.setattr(patches_module, "compiled", lambda: None)
    assert torch.equal(normalised, processor.image_patches.normalise(compiled[0]))
    plain = processor.image_patches.cut([resize_bilinear(image, 240, 320) for image in frames])
    assert all(torch.equal(left, right) for left, right in zip(compiled, plain, strict=True))

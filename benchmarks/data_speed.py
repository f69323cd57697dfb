"""Training samples a second on one core: our reader and processing against a plain composition of the same steps.

Three cameras of 480x640 shown at 240x320 with the image settings of Qwen2-VL, chunks of 50, from JPEG and from plain
episodes, with and without augmentation, in batches as the trainer makes them. The plain way opens the file for each
sample and takes each step from a well-known place: h5py, Pillow's decoder, torch's resize and augmentation one
image at a time, transformers' image processor and tokenizer.

Columns: `plain`; `ours`, to the same float32 pixel values; `loader`, ours as far as a loading process takes it (bytes,
which the device normalises); `cache` and `cache+` are these two with `picture_cache` of a training run.

One process, one thread; the ways take turns batch by batch, and the figures are medians of CPU time, so that other work
on the machine disturbs little. `python benchmarks/data_speed.py [--json FILE] [--rounds N]`
"""

import argparse
import io
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dexvla.data.augment import Draw
from dexvla.data.cache import ImageCache
from dexvla.data.images import resize_bilinear
from dexvla.data.statistics import norm_stats
from dexvla.episodes.format import EpisodeAttributes, EpisodeData, LabelSource
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import load_episode
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json
from dexvla.model.init_model import init_model
from dexvla.model.processing import ACTION_MARK, END_TOKEN, Processor
from dexvla.spec import CameraSpec, PaddedActions
from dexvla.train.data import EpisodeSamples, SampleSettings

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
HEIGHT, WIDTH, CHUNK, STEPS, BATCH = 240, 320, 50, 40, 8
GREY = torch.tensor([0.2989, 0.587, 0.114])[:, None, None]


def drifting_scene(seed: int) -> np.ndarray:
    """(STEPS, 480, 640, 3): a soft coloured scene with sharp shapes and sensor noise that drifts by; 55 KB as JPEG."""
    rng = np.random.default_rng(seed)
    scene = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).resize((1280, 800), Image.Resampling.BICUBIC)
    wide = np.asarray(scene).astype(np.int16)
    wide[200:500, 300:700] = (200, 30, 30)
    wide[400:700, 800:1100] = (20, 90, 200)
    frames = [wide[2 * t : 2 * t + 480, 3 * t : 3 * t + 640] + rng.integers(-4, 5, (480, 640, 3)) for t in range(STEPS)]
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)


def write(folder: Path, *, jpeg: bool) -> Path:
    rng = np.random.default_rng(0)
    motion = np.cumsum(rng.normal(0, 0.05, (STEPS, 14)), axis=0).astype(np.float32)
    images: dict[str, Any] = {name: drifting_scene(number) for number, name in enumerate(CAMERAS)}
    if jpeg:
        images = {name: [encode_jpeg(frame) for frame in frames] for name, frames in images.items()}
    data = EpisodeData(
        action=motion,
        qpos=motion,
        qvel=motion,
        images=images,
        instruction="Fold the shirt and put it into the basket.",
        attributes=EpisodeAttributes(sim=True, fps=50.0),
        substep_reasonings=["Grasp the left sleeve of the shirt and lift it."] * STEPS,
        label_source=LabelSource.SCRIPTED,
    )
    path = folder / ("jpeg" if jpeg else "raw") / "episode_0.hdf5"
    write_episode(path, data)
    return path


# --- the plain way ------------------------------------------------------------------------------------------------


def rotate(image: Tensor, degrees: float) -> Tensor:
    """(3, H, W) uint8, nearest pixel, black corners."""
    height, width = image.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    grid = F.affine_grid(turn[None], [1, 3, height, width], align_corners=False)
    return F.grid_sample(image.float()[None], grid, mode="nearest", align_corners=False)[0].to(torch.uint8)


def blend(image: Tensor, other: Tensor | float, ratio: float) -> Tensor:
    return (ratio * image.float() + (1 - ratio) * other).clamp(0, 255).to(torch.uint8)


def plain_augment(image: Tensor, draw: Draw) -> Tensor:
    """(3, H, W) uint8 -> the same shape; the steps of torchvision's functions."""
    height, width = image.shape[-2:]
    rows, columns = int(height * 0.95), int(width * 0.95)
    top, left = int(draw.top * (height - rows + 1)), int(draw.left * (width - columns + 1))
    part = image[None, :, top : top + rows, left : left + columns]
    image = F.interpolate(part.float(), (height, width), mode="bilinear", antialias=True)[0].round().to(torch.uint8)
    image = rotate(image, draw.degrees)
    for index in draw.order:
        if index == 0:
            image = blend(image, 0.0, draw.factors[0])
        else:
            grey = (image * GREY).sum(0, keepdim=True).to(torch.uint8).float()
            image = blend(image, float(grey.mean()) if index == 1 else grey, draw.factors[index])
    return image


class PlainSamples:
    """The same samples, each step as it is usually written."""

    def __init__(self, path: Path, processor: Processor, low: np.ndarray, high: np.ndarray, *, augment: bool) -> None:
        self.path, self.processor, self.low, self.high, self.augment = path, processor, low, high, augment

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        place, step = key
        tokenizer = self.processor.tokenizer
        with h5py.File(self.path) as file:
            rows = [file[f"observations/images/{name}"][step] for name in CAMERAS]
            action, qpos = file["action"][()], file["observations/qpos"][step]
            instruction, reasoning = file["language_raw"][0].decode(), file["substep_reasonings"][step].decode()
            compressed = file.attrs["compress"]
        if compressed:
            rows = [np.array(Image.open(io.BytesIO(row.tobytes())).convert("RGB")) for row in rows]
        channels_first = [torch.from_numpy(row).permute(2, 0, 1)[None] for row in rows]
        images = [F.interpolate(image, (HEIGHT, WIDTH), mode="bilinear")[0] for image in channels_first]
        if self.augment:
            draw = Draw.sample(np.random.default_rng([0, 3, place]))
            images = [plain_augment(image, draw) for image in images]
        fetched = [
            Image.fromarray(image.permute(1, 2, 0).numpy()).resize((308, 252), Image.Resampling.BICUBIC)
            for image in images
        ]
        pixels = self.processor.image_processor(images=fetched, return_tensors="pt")
        content = [*({"type": "image"} for _ in CAMERAS), {"type": "text", "text": instruction}]
        messages = [{"role": "user", "content": content}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        text = text.replace("<|image_pad|>", "<|image_pad|>" * 99)
        prompt = tokenizer(text, return_tensors="pt")["input_ids"][0]
        answer = tokenizer(reasoning + ACTION_MARK + END_TOKEN, return_tensors="pt")["input_ids"][0]
        chunk = np.zeros((CHUNK, action.shape[1]), np.float32)
        chunk[: STEPS - step] = action[step : step + CHUNK]
        return {
            "input_ids": torch.cat([prompt, answer]),
            "labels": torch.cat([torch.full_like(prompt, -100), answer]),
            "pixel_values": pixels["pixel_values"],
            "image_grid_thw": pixels["image_grid_thw"],
            "actions": torch.from_numpy((chunk - self.low) / (self.high - self.low) * 2 - 1).float(),
            "states": torch.from_numpy(qpos),
            "is_pad": torch.arange(CHUNK) >= STEPS - step,
        }


# --- measuring ----------------------------------------------------------------------------------------------------


def ours(samples: EpisodeSamples, processor: Processor) -> Callable[[tuple[int, int]], Any]:
    """A sample with its pixel values normalised, which in a training the device does for a whole batch."""

    def make(key: tuple[int, int]) -> Any:
        sample = samples[key]
        sample["pixel_values"] = processor.image_patches.normalise(sample["pixel_values"])
        return sample

    return make


def difference(path: Path, processor: Processor, plain: PlainSamples, samples: EpisodeSamples) -> dict[str, float]:
    """Largest differences without augmentation: resized images in grey levels, pixel values in their own units."""
    step = 7
    with load_episode(path) as episode:
        frames = [episode.frame(name, step) for name in CAMERAS]
    resized = [resize_bilinear(frame, HEIGHT, WIDTH) for frame in frames]
    side_by_side = []
    for frame, ours_small in zip(frames, resized, strict=True):
        theirs = F.interpolate(torch.from_numpy(frame.copy()).permute(2, 0, 1)[None], (HEIGHT, WIDTH), mode="bilinear")
        side_by_side.append(np.abs(theirs[0].permute(1, 2, 0).numpy().astype(int) - ours_small).max())
    fitted = [np.asarray(Image.fromarray(image).resize((308, 252), Image.Resampling.BICUBIC)) for image in resized]
    level = 1 / 255 / min(processor.image_processor.image_std)
    pillow = processor.image_patches.normalise(processor.image_patches.cut(fitted)[0])
    torchs = processor.image_patches.normalise(processor.image_patches.cut(resized)[0])
    theirs = processor.image_processor(images=[Image.fromarray(image) for image in fitted], return_tensors="pt")
    return {
        "resize_grey_levels": float(max(side_by_side)),
        "bicubic_grey_levels": round(float((pillow - torchs).abs().max()) / level, 2),
        "bicubic_share_of_values": float((pillow != torchs).float().mean()),
        "pixel_values_from_the_same_image": float((pillow - theirs["pixel_values"]).abs().max()),
        "whole_sample_grey_levels": round(
            float(
                (plain[0, step]["pixel_values"] - processor.image_patches.normalise(samples[0, step]["pixel_values"]))
                .abs()
                .max()
            )
            / level,
            2,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=15, help="batches of 8 samples for each figure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        init_model(folder / "base")
        processor = Processor.from_pretrained(folder / "base")
        cameras = tuple(CameraSpec(name=name, height=HEIGHT, width=WIDTH) for name in CAMERAS)
        heads = " ".join(f"{name:>7}" for name in ("plain", "ours", "loader", "cache", "cache+"))
        print(f"{'samples/s on one core':24} {heads}   times plain")
        for jpeg in (True, False):
            path = write(folder, jpeg=jpeg)
            manifest, motions = build_manifest(find_set(str(path.parent)))
            stats = norm_stats(motions)
            cache = ImageCache(folder / "cache")
            cache.prepare(manifest.episodes, cameras, root=Path("/"))
            for augment in (False, True):
                settings = SampleSettings(
                    cameras=cameras,
                    chunk_size=CHUNK,
                    diffusion_steps=100,
                    use_reasoning=True,
                    padded_actions=PaddedActions.REPEAT_LAST,
                    augment=augment,
                    seed=0,
                )
                common: dict[str, Any] = {
                    "entries": manifest.episodes,
                    "root": Path("/"),
                    "stats": stats,
                    "processor": processor,
                    "settings": settings,
                }
                direct, cached = EpisodeSamples(**common), EpisodeSamples(**common, image_cache=cache)
                low, high = np.float32(stats.action_min), np.float32(stats.action_max)
                plain = PlainSamples(path, processor, low, high, augment=augment)
                ways = {
                    "plain": plain.__getitem__,
                    "ours": ours(direct, processor),
                    "loader": direct.__getitem__,
                    "cache": ours(cached, processor),
                    "cache+": cached.__getitem__,
                }
                order = np.random.default_rng(1)
                taken: dict[str, list[float]] = {name: [] for name in ways}
                for turn in range(arguments.rounds + 1):
                    keys = [(turn * BATCH + row, int(order.integers(STEPS))) for row in range(BATCH)]
                    for name, make in ways.items():
                        started = time.process_time()
                        for key in keys:
                            make(key)
                        if turn:  # the first fills caches
                            taken[name].append(time.process_time() - started)
                speed = {name: BATCH / statistics.median(values) for name, values in taken.items()}
                ratio = {
                    name: statistics.median(p / o for p, o in zip(taken["plain"], taken[name], strict=True))
                    for name in ways
                }
                label = f"{'jpeg' if jpeg else 'raw'}, augmentation {'on' if augment else 'off'}"
                figures = " ".join(f"{speed[name]:7.0f}" for name in ways)
                times = " ".join(f"{ratio[name]:.1f}x" for name in ways if name != "plain")
                print(f"{label:24} {figures}   {times}")
                result[label] = {"samples_per_second": speed, "times_plain": ratio}
                if not augment:
                    result[label]["difference"] = difference(path, processor, plain, direct)
                    print("  ", result[label]["difference"])
    if arguments.json:
        write_json(arguments.json, {"results": result, "batch": BATCH, "rounds": arguments.rounds})


if __name__ == "__main__":
    main()

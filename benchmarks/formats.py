"""Random access to a sample of three cameras, and import and export of every format, side by side in one run.

    python benchmarks/formats.py [--json FILE] [--episodes N] [--steps N] [--rounds N] [--size HEIGHT WIDTH]

A sample is one step: three JPEG cameras of 480x640, state and action, float32 images (3, H, W) from 0 to 1 as LeRobot
gives them. LeRobot's datasets are what our export writes, read by lerobot's own LeRobotDataset in an environment of its
own (`make setup-tests`), whose videos are decoded by PyAV. `cache` is `picture_cache` of a training run at full size.
The ways take turns with the same steps, one thread each; processor time counts, which other work disturbs little.

Import and export are episodes a second, wall and processor, against `cp` and `sha256sum` of the same episode files.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dexvla.data.cache import ImageCache
from dexvla.episodes.format import EpisodeAttributes, EpisodeData, LabelSource
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import Episode, load_episode, open_episode
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json
from dexvla.formats import registry
from dexvla.formats.base import ExportEpisode
from dexvla.formats.exporting import export_episodes, with_labels_of
from dexvla.formats.importing import import_source
from dexvla.spec import CameraSpec, EpisodeEntry, ImportProfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
EXPORTS = (
    "episodes", "dexvla", "dexvla-jpeg", "lerobot", "lerobot-images", "rlds", "robomimic", "mcap", "mp4", "csv",
    "sheets",
)  # fmt: skip
LEROBOT_READS = """
import json, sys, time
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

torch.set_num_threads(1)
found = LeRobotDataset("local/ours", root=sys.argv[1], video_backend="pyav")
found[0]
print("ready", flush=True)
for line in sys.stdin:
    times = []
    for at in json.loads(line):
        begun, processor = time.perf_counter(), time.process_time()
        row = found[at]
        assert row["observation.images.cam_high"].dtype == torch.float32
        times.append([time.perf_counter() - begun, time.process_time() - processor])
    print(json.dumps(times), flush=True)
"""
Times = list[tuple[float, float]]  # seconds of wall and of the processor
Way = Callable[[Sequence[int]], Times]


def scene(seed: int, steps: int, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """A soft coloured scene with sharp shapes and sensor noise that drifts by."""
    height, width = size
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    wide = np.asarray(soft.resize((width + 3 * steps, height + 2 * steps), Image.Resampling.BICUBIC)).astype(np.int16)
    wide[height // 3 : height, width // 3 : width] = (200, 30, 30)
    for t in range(steps):
        part = wide[2 * t : 2 * t + height, 3 * t : 3 * t + width]
        yield np.clip(part + rng.integers(-4, 5, (height, width, 3)), 0, 255).astype(np.uint8)


def write_episodes(folder: Path, count: int, steps: int, size: tuple[int, int]) -> None:
    for number in range(count):
        motion = np.cumsum(np.random.default_rng(number).normal(0, 0.05, (steps, 14)), axis=0).astype(np.float32)
        images = {
            camera: [encode_jpeg(frame) for frame in scene(10 * number + place, steps, size)]
            for place, camera in enumerate(CAMERAS)
        }
        data = EpisodeData(
            action=motion,
            qpos=motion,
            qvel=motion,
            images=images,
            instruction="Fold the shirt and put it into the basket.",
            attributes=EpisodeAttributes(sim=True, fps=50.0, success=True),
            substep_reasonings=["Grasp the left sleeve."] * (steps // 2) + ["Lift it."] * (steps - steps // 2),
            label_source=LabelSource.HUMAN,
            timestamp=np.arange(steps) / 50,
        )
        write_episode(folder / f"episode_{number}.hdf5", data)


# --- a sample at random -----------------------------------------------------------------------------------


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    begun, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - processor


def as_floats(image: NDArray[np.uint8]) -> torch.Tensor:
    """(H, W, 3) -> (3, H, W), 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


def ours(episodes: Sequence[Episode], steps: int, *, floats: bool) -> Way:
    def take(at: int) -> None:
        episode, step = episodes[at // steps], at % steps
        images = [episode.frame(camera, step) for camera in CAMERAS]
        assert episode.qpos[step].any() or episode.action[step].any()
        if floats:
            assert [as_floats(image) for image in images]

    return lambda wanted: [timed(lambda at=at: take(at)) for at in wanted]  # type: ignore[misc]


def cached(cache: ImageCache, entries: Sequence[EpisodeEntry], specs: Sequence[CameraSpec], *, floats: bool) -> Way:
    arrays = [[cache.open(entry, spec) for spec in specs] for entry in entries]
    steps = entries[0].steps

    def take(at: int) -> None:
        images = [np.array(array[at % steps]) for array in arrays[at // steps]]
        if floats:
            assert [as_floats(image) for image in images]

    return lambda wanted: [timed(lambda at=at: take(at)) for at in wanted]  # type: ignore[misc]


@contextmanager
def lerobot(folder: Path, dataset: Path) -> Iterator[Way]:
    """lerobot's own reader in a process of its own, which takes the same steps."""
    from tests.support.environments import LEROBOT
    from tests.support.lerobot_torchvision import write_stand_in

    surroundings = {
        **os.environ,
        "PYTHONPATH": str(write_stand_in(folder / "stand_in")),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hub"),
    }
    command = [LEROBOT.python(), "-W", "ignore", "-c", LEROBOT_READS, dataset]
    with subprocess.Popen(
        command, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"lerobot could not read {dataset}")

        def take(wanted: Sequence[int]) -> Times:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(list(wanted)) + "\n")
            process.stdin.flush()
            return [(wall, processor) for wall, processor in json.loads(process.stdout.readline())]

        yield take
        process.stdin.close()


def samples(folder: Path, source: Path, rounds: int, steps: int, size: tuple[int, int]) -> dict[str, Any]:
    found = with_labels_of(find_set(str(source))).episodes
    for name in ("lerobot", "lerobot-images"):
        export_episodes(found, folder / name, name)
    specs = tuple(CameraSpec(name=name, height=size[0], width=size[1]) for name in CAMERAS)
    entries = build_manifest(find_set(str(source)))[0].episodes
    cache = ImageCache(folder / "cache")
    cache.prepare(entries, specs, root=Path("/"))
    rng = np.random.default_rng(0)
    times: dict[str, Times] = {}
    episodes = [load_episode(one.path) for one in found]
    with lerobot(folder, folder / "lerobot") as videos, lerobot(folder, folder / "lerobot-images") as images:
        ways: dict[str, Way] = {
            "ours": ours(episodes, steps, floats=True),
            "ours, bytes": ours(episodes, steps, floats=False),
            "cache": cached(cache, entries, specs, floats=True),
            "cache, bytes": cached(cache, entries, specs, floats=False),
            "lerobot video": videos,
            "lerobot images": images,
        }
        for _ in range(rounds):
            wanted = [int(at) for at in rng.integers(0, len(found) * steps, 8)]
            for name, way in ways.items():
                times.setdefault(name, []).extend(way(wanted))
    for episode in episodes:
        episode.close()
    sizes = {
        "ours": source,
        "cache": cache.folder,
        "lerobot video": folder / "lerobot",
        "lerobot images": folder / "lerobot-images",
    }
    return {
        name: {
            "cpu_ms": round(1e3 * statistics.median(processor for _, processor in taken), 2),
            "wall_ms": round(1e3 * statistics.median(wall for wall, _ in taken), 2),
            "bytes": bytes_of(sizes[name]) if name in sizes else None,
        }
        for name, taken in times.items()
    }


# --- in and out -------------------------------------------------------------------------------------------


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def both(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall and of the processor, those of finished children too."""

    def processor() -> float:
        return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

    begun, before = time.perf_counter(), processor()
    work()
    return time.perf_counter() - begun, processor() - before


def figures(taken: list[tuple[float, float]], count: int, plain: float, size: int) -> dict[str, float]:
    wall, processor = (min(times) / count for times in zip(*taken, strict=True))
    return {
        "episodes_per_second": round(1 / wall, 2),
        "cpu_s_per_episode": round(processor, 3),
        "times_cp_and_sha256sum": round(processor / plain, 1),
        "mb_per_episode": round(size / count / 1e6, 2),
    }


def copy_and_hash(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-r", source, target], check=True)
    files = sorted(str(path) for path in target.iterdir())
    subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)


def tables(folder: Path, episodes: Sequence[ExportEpisode]) -> None:
    """A source of mp4-csv, and one of images-csv."""
    for name, exporters in (("mp4-csv", ("csv", "mp4")), ("images-csv", ("csv",))):
        (folder / name).mkdir()
        for exporter in exporters:
            registry.exporter(exporter).export(episodes, folder / name, on_episode=lambda _: None)
    for one in episodes:
        with open_episode(one.path) as episode:
            for camera in CAMERAS:
                place = folder / "images-csv" / one.name / camera
                place.mkdir(parents=True)
                for step in range(episode.steps):
                    row = episode.stored_frame(camera, step).tobytes().rstrip(b"\0")
                    (place / f"{step:06d}.jpg").write_bytes(row)


def in_and_out(folder: Path, source: Path, turns: int) -> dict[str, Any]:
    found = with_labels_of(find_set(str(source))).episodes
    count = len(found)
    out: dict[str, list[tuple[float, float]]] = {}
    back: dict[str, list[tuple[float, float]]] = {}
    plain: list[tuple[float, float]] = []
    sizes = {"act": bytes_of(source)}
    sources = {"act": source}
    tables(folder, found)
    for _ in range(turns):
        plain.append(both(lambda: copy_and_hash(source, folder / "copied")))
        for name in EXPORTS:
            place = folder / f"out-{name}"
            shutil.rmtree(place, ignore_errors=True)
            out.setdefault(name, []).append(both(lambda place=place, name=name: export_episodes(found, place, name)))  # type: ignore[misc]
            sizes[f"out {name}"] = bytes_of(place)
        sources |= {name: folder / f"out-{name}" for name in ("lerobot", "lerobot-images", "rlds", "robomimic", "mcap")}
        sources |= {name: folder / name for name in ("mp4-csv", "images-csv")}
        for name, place in sources.items():
            target = folder / f"in-{name}"
            shutil.rmtree(target, ignore_errors=True)

            def bring(name: str = name, place: Path = place, target: Path = target) -> None:
                report = import_source(
                    place,
                    target,
                    ImportProfile(instruction="Fold it."),
                    format=name.removesuffix("-images") if name.startswith("lerobot") else name,
                )
                assert len(report.imported) == count, report.refused

            back.setdefault(name, []).append(both(bring))
            sizes[f"in {name}"] = bytes_of(target)
    cost = min(processor for _, processor in plain) / count
    return {
        "cp and sha256sum": figures(plain, count, cost, sizes["act"]),
        "out": {name: figures(taken, count, cost, sizes[f"out {name}"]) for name, taken in out.items()},
        "in": {name: figures(taken, count, cost, sizes[f"in {name}"]) for name, taken in back.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=12, help="of eight samples a way")
    parser.add_argument("--turns", type=int, default=2, help="of imports and exports; the quicker one counts")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="formats-") as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        write_episodes(source, options.episodes, options.steps, tuple(options.size))
        found = {
            "machine": platform.machine(),
            "episodes": options.episodes,
            "steps": options.steps,
            "size": list(options.size),
            "samples": samples(folder, source, options.rounds, options.steps, tuple(options.size)),
            **in_and_out(folder, source, options.turns),
        }
    print(json.dumps(found, indent=2))
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()

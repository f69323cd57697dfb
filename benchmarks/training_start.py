"""What a training costs before its model is loaded: the first time (cold) and when its episodes are known (warm).

    python benchmarks/training_start.py [--episodes N] [--json FILE] [--folder DIR]

Makes N small episodes (24 steps, three cameras of 48x64 as JPEG) and lets `prepare_data` of a stage-2 run look at them,
each time in a process of its own with a cache that is empty, that the first one has filled, and that knows the files by
their content alone (they were copied). CPU seconds of user and system; handles: files open at the end.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dexvla.episodes.format import EpisodeAttributes, EpisodeData, LabelSource
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json

STEPS, CAMERAS = 24, ("cam_high", "cam_left_wrist", "cam_right_wrist")
LOOK = """
import json, os, resource, sys, time
from dexvla.spec import with_preset
from dexvla.train.prepare import prepare_data
fields = {"preset": "tiny", "stage": 2, "data": [{"path": sys.argv[1]}], "init_from": "none", "output_dir": "none"}
spec = with_preset(fields)
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = cpu()
data = prepare_data(spec)
print(json.dumps({"cpu_seconds": round(cpu() - before, 2), "handles": len(os.listdir("/proc/self/fd")),
                  "stats": data.stats.model_dump(mode="json")}))
"""


def make(folder: Path, count: int) -> None:
    """One episode is written; the others are copies of it with another motion."""
    rng = np.random.default_rng(0)
    frames = [encode_jpeg(rng.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(STEPS)]
    first = folder / "episode_0.hdf5"
    zeros = np.zeros((STEPS, 14), np.float32)
    write_episode(
        first,
        EpisodeData(
            action=zeros,
            qpos=zeros,
            qvel=zeros,
            images=dict.fromkeys(CAMERAS, frames),
            instruction="Transfer the red cube.",
            attributes=EpisodeAttributes(sim=True, fps=50.0),
            substep_reasonings=["Reach for the cube."] * 12 + ["Lift it."] * 12,
            label_source=LabelSource.SCRIPTED,
        ),
    )
    for number in range(1, count):
        shutil.copyfile(first, folder / f"episode_{number}.hdf5")
    for number in range(count):
        with h5py.File(folder / f"episode_{number}.hdf5", "r+") as file:
            motion = rng.normal(size=(STEPS, 14)).cumsum(axis=0).astype(np.float32)
            file["observations/qpos"][:], file["action"][:] = motion, motion + 0.01


def look(data: Path, cache: Path) -> dict[str, Any]:
    environment = {**os.environ, "DEXVLA_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(data)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--folder", type=Path, help="where to work; default the system's temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        here = Path(folder)
        (here / "data").mkdir()
        make(here / "data", options.episodes)
        cold = look(here / "data", here / "cache")
        warm = look(here / "data", here / "cache")
        shutil.copytree(here / "data", here / "copied")
        copied = look(here / "copied", here / "cache")
        taken = sum(file.stat().st_blocks * 512 for file in (here / "cache").rglob("*.json"))
    if not cold.pop("stats") == warm.pop("stats") == copied.pop("stats"):
        raise SystemExit("the statistics of a warm start are others than those of a cold one")
    report = {
        "episodes": options.episodes,
        "cold": cold,
        "warm": warm,
        "copied": copied,
        "cold_over_warm": round(cold["cpu_seconds"] / warm["cpu_seconds"], 1),
        "warm_ms_an_episode": round(1000 * warm["cpu_seconds"] / options.episodes, 2),
        "cache_bytes_an_episode": taken // options.episodes,
    }
    if options.json:
        write_json(options.json, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

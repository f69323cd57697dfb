"""CPU of taking an episode in, part by part, beside what copying and hashing its file costs.

    python benchmarks/intake.py [--megabytes N] [--json FILE] [--folder DIR]

One episode of three cameras, 480x640 as JPEG. CPU seconds of user and system in one process, as ratios to those of
`cp` and sha256sum of the same file: the check that decodes every image, and the whole examination with its fresh copy.
"""

import argparse
import hashlib
import json
import resource
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backend.intake.examine import examine
from dexvla.episodes.check import check_file
from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
DIFFERENT = 16  # images; the others repeat them


def make(path: Path, megabytes: int) -> None:
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (60, 80, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    frames = [encode_jpeg(np.roll(smooth, 9 * shift, axis=1)) for shift in range(DIFFERENT)]
    steps = max(2, round(megabytes * 1e6 / (len(CAMERAS) * max(map(len, frames)))))
    motion = rng.normal(size=(steps, 14)).cumsum(axis=0).astype(np.float32)
    write_episode(
        path,
        EpisodeData(
            action=motion,
            qpos=motion,
            qvel=motion,
            images={camera: [frames[step % DIFFERENT] for step in range(steps)] for camera in CAMERAS},
            instruction="Transfer the red cube.",
            attributes=EpisodeAttributes(sim=True, fps=50.0),
        ),
    )


def cpu_of(work: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def copy_and_hash(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--folder", type=Path, help="where to work; default the system's temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, target = Path(folder) / "episode.hdf5", Path(folder) / "copy.hdf5"
        make(source, options.megabytes)
        size = source.stat().st_size
        check_file(source, every_frame=False)  # what is imported late is imported now
        plain = cpu_of(lambda: copy_and_hash(source, target))
        target.unlink()
        target.touch()
        work: dict[str, Callable[[], Any]] = {
            "check": lambda: check_file(source),
            "examination": lambda: examine(source, target, keep_labels=True),
        }
        used = {name: cpu_of(one) for name, one in work.items()}
    report = {
        "bytes": size,
        "copy_and_sha256": {"cpu_seconds": round(plain, 3), "cpu_seconds_a_gb": round(plain / size * 1e9, 2)},
        **{
            name: {
                "cpu_seconds": round(seconds, 2),
                "cpu_seconds_a_gb": round(seconds / size * 1e9, 2),
                "times_copy_and_sha256": round(seconds / plain, 1),
            }
            for name, seconds in used.items()
        },
    }
    if options.json:
        write_json(options.json, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

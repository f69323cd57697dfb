"""Training speed with and without a second training beside it, for ways in which OpenMP threads can wait.

Each figure is a short training of the `tiny` preset in a process of its own, on episodes made here; the second column
runs two of them at once and takes the slower one. `python benchmarks/busy_machine.py [--json FILE]`
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json

SETTINGS = {
    "OpenMP's default": {"GOMP_SPINCOUNT": ""},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "short spin (ours)": {},
}
STEPS = 12


def train(folder: Path, name: str, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "dexvla.cli", "train", "--stage", "2", "--preset", "tiny", "--device", "cpu"]
    command += ["--data", str(folder / "data"), "--from", str(folder / "base"), "--out", str(folder / name)]
    command += ["--steps", str(STEPS), "--set", "log_every=1"]
    merged = {key: value for key, value in {**os.environ, **environment}.items() if value != ""}
    if environment.get("GOMP_SPINCOUNT") == "":  # the command sets a short spin unless a wait policy is given
        merged["OMP_WAIT_POLICY"] = "undefined"
    return subprocess.Popen(command, env=merged, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def speed(folder: Path, name: str) -> float:
    lines = (folder / name / "metrics.jsonl").read_text().splitlines()
    return float(json.loads(lines[-1])["samples_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    result = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rng = np.random.default_rng(0)
        motion = np.cumsum(rng.normal(0, 0.05, (50, 14)), axis=0).astype(np.float32)
        images = {name: rng.integers(0, 256, (50, 112, 140, 3), np.uint8) for name in ("a", "b", "c")}
        data = EpisodeData(
            action=motion, qpos=motion, qvel=motion, images=images, instruction="Move.",
            attributes=EpisodeAttributes(sim=True),
        )  # fmt: skip
        write_episode(folder / "data" / "episode_0.hdf5", data)
        subprocess.run([sys.executable, "-m", "dexvla.cli", "init-model", str(folder / "base")], check=True)
        arguments = parser.parse_args()
        print(f"{'threads wait':20} {'alone':>14} {'beside another':>16}   samples/s")
        for number, (name, environment) in enumerate(SETTINGS.items()):
            train(folder, f"alone{number}", environment).wait(timeout=600)
            pair = [train(folder, f"pair{number}{side}", environment) for side in "ab"]
            for process in pair:
                process.wait(timeout=600)
            alone = speed(folder, f"alone{number}")
            beside = min(speed(folder, f"pair{number}{side}") for side in "ab")
            result[name] = {"alone": alone, "beside_another": beside}
            print(f"{name:20} {alone:14.1f} {beside:16.1f}")
    if arguments.json:
        write_json(arguments.json, {"samples_per_second": result, "cores": os.cpu_count(), "steps": STEPS})


if __name__ == "__main__":
    main()

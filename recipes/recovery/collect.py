"""Demonstrations with recoveries, piece by piece on all cores: whatever was interrupted goes on where it stopped.

    python recipes/recovery/collect.py OUT --task TASK --episodes 500 --cameras cam_table,cam_middle

Each piece of 25 seeds is a folder of its own below OUT, which is complete as soon as it has its name.
"""

import argparse
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel, PickSplit
from dexvla.robots.record import record
from dexvla.spec import CameraSpec, RecordSpec, RecoveryOptions

PIECE = 25


def collect(spec: RecordSpec, folder: Path) -> int:
    """One piece; returns how many episodes it has. A seed whose demonstration fails leaves none."""
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    result = record(spec, half)
    half.rename(folder)
    return len(result.kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", type=AlohaTask, choices=list(AlohaTask), required=True)
    parser.add_argument("--episodes", type=int, default=500, help="seeds to play")
    parser.add_argument("--seed", type=int, default=100_000, help="first seed; of no other data")
    parser.add_argument("--cameras", default="cam_table,cam_middle", help="comma separated")
    parser.add_argument("--size", type=int, default=112, help="rows and columns of a frame, pixels")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    pick = PickColourOptions()
    if args.task is AlohaTask.PICK_COLOUR:
        pick = PickColourOptions(level=PickLevel.ANYWHERE, split=PickSplit.TRAINING)
    cameras = tuple(CameraSpec(name=name, height=args.size, width=args.size) for name in args.cameras.split(","))
    args.out.mkdir(parents=True, exist_ok=True)
    waiting = {}
    with ProcessPoolExecutor(args.processes) as pool:
        for first in range(args.seed, args.seed + args.episodes, PIECE):
            folder = args.out / f"seeds-{first}"
            if folder.is_dir():
                continue
            spec = RecordSpec(
                task=args.task,
                pick=pick,
                episodes=min(PIECE, args.seed + args.episodes - first),
                seed=first,
                cameras=cameras,
                recovery=RecoveryOptions(),
            )
            waiting[pool.submit(collect, spec, folder)] = folder
        for piece in as_completed(waiting):
            print(f"{waiting[piece].name}: {piece.result()} episodes", flush=True)
    print(f"{len(list(args.out.rglob('*.hdf5')))} episodes in {args.out}")


if __name__ == "__main__":
    main()

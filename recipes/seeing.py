"""Does it see what it is to grasp? Asks a checkpoint where things lie, on scenes that it was not trained on.

    python recipes/seeing.py CHECKPOINT --task pick_colour --scenes 200 --json seeing.json

Prints the distance between answer and truth, median and 90th percentile, and for `pick_colour` how often the answer is
nearer to another cube. A policy that cannot pass this cannot act: look here first (docs/decisions/pick-colour.md).
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import places
import torch
from numpy.typing import NDArray

from dexvla.evaluate.intervals import rate
from dexvla.model import DexVLA, load_policy
from dexvla.model.processing import build_inputs, collate
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel, PickSplit
from dexvla.robots.aloha_sim.tasks import object_poses
from dexvla.spec import CameraSpec

BATCH = 40
_PLACE = re.compile(r"x (-?\d+) y (-?\d+)")
Place = tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """An image of each camera, the thing that is asked for, where it lies, metres, and where others like it do."""

    images: list[NDArray[np.uint8]]
    thing: str
    truth: Place
    others: tuple[Place, ...] = ()


def scenes(task: AlohaTask, level: PickLevel, seeds: range, cameras: tuple[CameraSpec, ...]) -> Iterator[Asked]:
    """Start states as the policy's cameras see them, each with one thing to ask for, every thing in turn."""
    options = PickColourOptions(level=level, split=PickSplit.HELD_OUT) if task is AlohaTask.PICK_COLOUR else None
    robot = AlohaSim(task=task, cameras=cameras, pick=options)
    robot.connect()
    try:
        for seed in seeds:
            frames = robot.reset(seed).frames
            images = [frames[camera.name].image for camera in cameras]
            if robot.pick is not None:
                named, lie = robot.pick.named, robot.pick.places
                others = tuple(place for colour, place in lie.items() if colour != named)
                yield Asked(images, f"{named} cube", lie[named], others)
            else:
                number = seed % len(places.OBJECTS[task])
                x, y = object_poses(task, seed).reshape(-1, 7)[number, :2]
                yield Asked(images, places.OBJECTS[task][number], (float(x), float(y)))
    finally:
        robot.disconnect()


def said_place(text: str) -> Place | None:
    """An answer -> (x, y), metres; None where it names no place."""
    match = _PLACE.search(text)
    return None if match is None else (int(match[1]) / 100, int(match[2]) / 100)


def answers(policy: DexVLA, images: list[list[NDArray[np.uint8]]], asked: list[str]) -> list[str]:
    """What the policy's backbone says to the images of all its cameras and each question."""
    said: list[str] = []
    sizes = [(camera.height, camera.width) for camera in policy.spec.cameras]
    for start in range(0, len(images), BATCH):
        samples = [
            {
                **build_inputs(policy.processor, images=cameras, image_sizes=sizes, instruction=question),
                "states": torch.zeros(policy.spec.state_dim),
            }
            for cameras, question in zip(images[start : start + BATCH], asked[start : start + BATCH], strict=True)
        ]
        prediction = policy.predict(collate(samples, policy.processor), max_new_tokens=16, ddim_steps=1)
        assert prediction.reasoning_text is not None
        said += prediction.reasoning_text
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--task", type=AlohaTask, choices=list(AlohaTask), default=AlohaTask.PICK_COLOUR)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=900_000, help="first seed; of no other data")
    parser.add_argument("--level", type=PickLevel, default=PickLevel.ANYWHERE, help="of pick_colour")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    policy = load_policy(args.checkpoint)
    asked = list(scenes(args.task, args.level, range(args.seed, args.seed + args.scenes), policy.spec.cameras))
    said = answers(policy, [one.images for one in asked], [f"Where is the {one.thing}?" for one in asked])
    distances, wrong = [], 0
    for text, one in zip(said, asked, strict=True):
        place = said_place(text)
        if place is not None:
            distances.append(float(np.hypot(*np.subtract(place, one.truth))))
            wrong += any(np.hypot(*np.subtract(place, other)) < distances[-1] for other in one.others)
    result = {
        "checkpoint": str(args.checkpoint),
        "task": args.task,
        "level": args.level if args.task is AlohaTask.PICK_COLOUR else None,
        "scenes": args.scenes,
        "without_a_place": len(asked) - len(distances),
        "median_error_mm": 1000 * float(np.median(distances)) if distances else None,
        "p90_error_mm": 1000 * float(np.percentile(distances, 90)) if distances else None,
        "wrong_cube": rate(wrong, max(1, len(distances))).model_dump() if asked[0].others else None,
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

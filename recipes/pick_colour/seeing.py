"""Does it see the named cube? Asks a checkpoint where cubes lie, on scenes that it was not trained on.

    python recipes/pick_colour/seeing.py CHECKPOINT --scenes 200 --json seeing.json

Prints the median distance between answer and truth, and how often the answer is nearer to another cube. A policy that
cannot pass this cannot act on a name: look here first (docs/decisions/pick-colour.md).
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch

from dexvla.evaluate.intervals import rate
from dexvla.model import DexVLA, load_policy
from dexvla.model.processing import build_inputs, collate
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.spec import AlohaTask, CameraSpec, PickColourOptions, PickLevel, PickSplit

CAMERA = CameraSpec(name="cam_table", height=112, width=112)
BATCH = 40
_PLACE = re.compile(r"x (-?\d+) y (-?\d+)")


def said_place(text: str) -> tuple[float, float] | None:
    """An answer -> (x, y), metres; None where it names no place."""
    match = _PLACE.search(text)
    return None if match is None else (int(match[1]) / 100, int(match[2]) / 100)


def answers(policy: DexVLA, images: list[np.ndarray], asked: list[str]) -> list[str]:
    """What the policy's backbone says to each picture and question."""
    said: list[str] = []
    size = (policy.spec.cameras[0].height, policy.spec.cameras[0].width)
    for start in range(0, len(images), BATCH):
        samples = [
            {
                **build_inputs(policy.processor, images=[image], image_sizes=[size], instruction=question),
                "states": torch.zeros(policy.spec.state_dim),
            }
            for image, question in zip(images[start : start + BATCH], asked[start : start + BATCH], strict=True)
        ]
        prediction = policy.predict(collate(samples, policy.processor), max_new_tokens=16, ddim_steps=1)
        assert prediction.reasoning_text is not None
        said += prediction.reasoning_text
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=900_000, help="first seed; of no other data")
    parser.add_argument("--level", type=PickLevel, default=PickLevel.ANYWHERE)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    policy = load_policy(args.checkpoint)
    options = PickColourOptions(level=args.level, split=PickSplit.HELD_OUT)
    robot = AlohaSim(task=AlohaTask.PICK_COLOUR, cameras=(CAMERA,), pick=options)
    robot.connect()
    images, asked, truths, others = [], [], [], []
    for index in range(args.scenes):
        images.append(robot.reset(args.seed + index).frames[CAMERA.name].image)
        assert robot.pick is not None
        asked.append(f"Where is the {robot.pick.named} cube?")
        truths.append(robot.pick.places[robot.pick.named])
        others.append([place for colour, place in robot.pick.places.items() if colour != robot.pick.named])
    robot.disconnect()
    distances, wrong, silent = [], 0, 0
    for text, truth, rest in zip(answers(policy, images, asked), truths, others, strict=True):
        place = said_place(text)
        if place is None:
            silent += 1
            continue
        distances.append(float(np.hypot(*np.subtract(place, truth))))
        wrong += any(np.hypot(*np.subtract(place, one)) < distances[-1] for one in rest)
    share = rate(wrong, max(1, len(distances)))
    result = {
        "checkpoint": str(args.checkpoint),
        "level": args.level,
        "scenes": args.scenes,
        "without_a_place": silent,
        "median_error_mm": float(np.median(distances)) * 1000 if distances else None,
        "wrong_cube": share.model_dump(),
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

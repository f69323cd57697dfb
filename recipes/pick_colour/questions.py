"""Questions about images of the scene, with answers: what a backbone learns to see from (`text_data` of stage 2).

    python recipes/pick_colour/questions.py --out QUESTIONS --scenes 8000 --episodes DEMOS --pictures 6

"Where is the red cube?" is answered with its place on the table, centimetres in the simulator's frame: "x 12 y 56".
"Which cubes are there?" names them all. Images are start states of level `anywhere` (seeds of their own, neither of
demonstrations nor of evaluations), and steps of demonstrations at which the cubes still lie where they were put.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import find_set
from dexvla.episodes.reader import open_episode
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel, PickSplit
from dexvla.robots.aloha_sim.pick_colour import COLOURS, draw_scene
from dexvla.spec import CameraSpec

CAMERA = CameraSpec(name="cam_table", height=112, width=112)
WHERE = (
    "Where is the {} cube?",
    "Find the {} cube",
    "Where does the {} cube lie?",
    "Pick up the {} cube: where is it?",
)
WHICH = "Which cubes are there?"
Places = Mapping[str, tuple[float, float]]


def place_words(place: tuple[float, float]) -> str:
    """(x, y) metres -> centimetres in words that a small tokenizer spells alike everywhere."""
    return f"x {round(100 * place[0])} y {round(100 * place[1])}"


def questions(places: Places, random: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Question and answer: one of each cube, and one of all."""
    for colour, place in places.items():
        yield str(random.choice(WHERE)).format(colour), place_words(place)
    yield WHICH, ", ".join(f"{colour} {place_words(places[colour])}" for colour in COLOURS if colour in places)


def start_images(scenes: int, seed: int) -> Iterator[tuple[bytes, Places]]:
    """JPEG and places of start states. split `training`: the places of held-out demonstrations stay unseen."""
    options = PickColourOptions(level=PickLevel.ANYWHERE, split=PickSplit.TRAINING)
    robot = AlohaSim(task=AlohaTask.PICK_COLOUR, cameras=(CAMERA,), pick=options)
    robot.connect()
    try:
        for index in range(scenes):
            image = robot.reset(seed + index).frames[CAMERA.name].image
            assert robot.pick is not None
            yield encode_jpeg(image, quality=95), robot.pick.places
    finally:
        robot.disconnect()


def episode_images(folder: str, each: int, random: np.random.Generator) -> Iterator[tuple[bytes, Places]]:
    """JPEG and places of `each` steps of every episode, before the gripper closes. Their level is `jitter`."""
    options = PickColourOptions(level=PickLevel.JITTER, split=PickSplit.TRAINING)
    for path in find_set(folder).paths:
        with open_episode(path) as episode:
            labels = episode.substep_reasonings
            assert labels is not None
            assert episode.attributes.seed is not None
            closing = next(step for step, text in enumerate(labels) if text.startswith("Close"))
            for step in random.choice(closing, each, replace=False):
                image = episode.frame(CAMERA.name, int(step))
                yield encode_jpeg(image, quality=95), draw_scene(episode.attributes.seed, options).places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for questions.jsonl and its images")
    parser.add_argument("--scenes", type=int, default=8000, help="start states to render")
    parser.add_argument("--seed", type=int, default=500_000, help="first seed of the start states")
    parser.add_argument("--episodes", help="folder of demonstrations of level jitter to take images from")
    parser.add_argument("--pictures", type=int, default=6, help="images of each demonstration")
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    sources = [start_images(args.scenes, args.seed)]
    if args.episodes:
        sources.append(episode_images(args.episodes, args.pictures, random))
    lines = 0
    with (args.out / "questions.jsonl").open("w", encoding="utf-8") as file:
        for number, (jpeg, places) in enumerate(image for source in sources for image in source):
            name = f"{number // 1000:03d}/{number:06d}.jpg"
            (args.out / name).parent.mkdir(exist_ok=True)
            (args.out / name).write_bytes(jpeg)
            for question, answer in questions(places, random):
                file.write(json.dumps({"images": [name], "instruction": question, "answer": answer}) + "\n")
                lines += 1
    print(f"{lines} questions about {number + 1} images: {args.out / 'questions.jsonl'}")


if __name__ == "__main__":
    main()

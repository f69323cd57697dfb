"""From demonstrations with recoveries: the manifest of a run, and questions about their images.

    python recipes/recovery/manifests.py DEMOS --task TASK --questions QUESTIONS

Each demonstration is played again without images, which takes half a second, to know where the objects were at every
step. Labels of phases that go to an object say where it lies now ("Reach for the red cube with the right arm at x 12
y 56", centimetres in the simulator's frame): after a shove or a fall that is elsewhere than at the start. Questions
are asked about both cameras' images: where a thing lies, and whether a gripper holds it. docs/decisions/recovery.md
says why. DEMOS/manifest.json is written; the files keep the plain labels.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import build_manifest, find_set, save_manifest
from dexvla.episodes.reader import open_episode
from dexvla.episodes.segments import run_length
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.demonstrations import apply, demonstrate, prepare
from dexvla.robots.aloha_sim.hands import Hands, Thing
from dexvla.robots.aloha_sim.ik import SIDES
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.recovery import AGAIN, Moment
from dexvla.robots.aloha_sim.recovery_tasks import things
from dexvla.spec import CameraSpec, EpisodeEntry, RecoveryOptions

NAMES = {"box": "red cube", "peg": "peg", "socket": "socket"}
GRIPPERS = {"box": ("left", "right"), "peg": ("right",), "socket": ("left",)}
LIFTED = 0.03  # metres; the centre of a thing that lies is lower


@dataclass(frozen=True)
class Seen:
    """A step: where each thing is, "x 12 y 56", None while it is in a hand; which gripper holds it.

    A scene begins with its objects in the air, and the first chunk is asked for then: they have places as they fall.
    """

    places: dict[str, str | None]
    held_by: dict[tuple[str, str], bool]


class Observer:
    """What is seen from one step to the next: whether a gripper holds a thing shows only over several of them."""

    def __init__(self, robot: AlohaSim) -> None:
        self._things = things(robot)
        self._hands = Hands(robot, self._things)

    def before(self, moment: Moment) -> Seen:
        """To be asked once a step."""
        self._hands.grippers = moment.action[[6, 13]].astype(np.float64)
        return seen(self._hands, self._things)


def seen(hands: Hands, all_things: tuple[Thing, ...]) -> Seen:
    hands.look()
    places: dict[str, str | None] = {}
    held = {}
    for thing in all_things:
        x, y, z = hands.place(thing).position
        name = NAMES[thing.body]
        touched = z > LIFTED and any(hands.touches(side, thing) for side in SIDES)
        in_hand = touched or any(hands.holds(side, thing) for side in SIDES)
        places[name] = None if in_hand else f"x {round(100 * x)} y {round(100 * y)}"
        held |= {(side, name): hands.holds(side, thing) for side in GRIPPERS[thing.body]}
    return Seen(places, held)


def replayed(robot: AlohaSim, entry: EpisodeEntry, actions: np.ndarray) -> list[Seen]:
    """What was seen before each step of an episode. Raises SystemExit if it cannot be played again as it was."""
    assert entry.seed is not None
    shown = demonstrate(robot, entry.seed, RecoveryOptions())
    if not np.array_equal(np.stack([moment.action for moment in shown.moments]), actions):
        raise SystemExit(f"{entry.path}: was recorded with other options, or on another machine; record it anew")
    prepare(robot, entry.seed, shown.before)
    observer, steps = Observer(robot), []
    for moment in shown.moments:
        steps.append(observer.before(moment))
        apply(robot, moment)
    return steps


def label(text: str, step: Seen) -> str:
    """With the places of what the hands go to, as far as it is in no hand."""
    if not text.startswith(("Reach", "Grasp", AGAIN)):
        return text
    named = [name for name in step.places if name in text] or (list(step.places) if text == AGAIN else [])
    where = [place for name in named if (place := step.places[name]) is not None]
    return f"{text} at {' and '.join(where)}" if where else text


def questions(step: Seen, random: np.random.Generator) -> tuple[str, str]:
    """A question about a step, and its answer."""
    lying = [name for name, place in step.places.items() if place is not None]
    if lying and random.random() < 0.7:
        name = str(random.choice(lying))
        question = str(random.choice(("Where is the {}?", "Find the {}", "Where does the {} lie?"))).format(name)
        return question, str(step.places[name])
    side, name = list(step.held_by)[random.integers(len(step.held_by))]
    return f"Does the {side} gripper hold the {name}?", "Yes" if step.held_by[side, name] else "No"


def start_states(task: AlohaTask, cameras: tuple[CameraSpec, ...], seeds: range) -> Iterator[tuple[list[bytes], Seen]]:
    """Images of scenes that no demonstration has."""
    robot = AlohaSim(task=task, cameras=cameras)
    robot.connect()
    try:
        for seed in seeds:
            frames = robot.reset(seed).frames
            if seed % 2:  # objects start in the air; ask also when they have fallen
                for _ in range(25):
                    robot.act(robot.observe(images=False).qpos)
                frames = robot.observe().frames
            jpegs = [encode_jpeg(frames[camera.name].image, quality=95) for camera in cameras]
            yield jpegs, seen(Hands(robot, things(robot)), things(robot))
    finally:
        robot.disconnect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demonstrations", type=Path)
    parser.add_argument("--task", type=AlohaTask, choices=[AlohaTask.TRANSFER_CUBE, AlohaTask.INSERTION], required=True)
    parser.add_argument("--questions", type=Path, required=True, help="folder for questions.jsonl and its images")
    parser.add_argument("--each", type=int, default=20, help="questions about each demonstration")
    parser.add_argument("--scenes", type=int, default=2000, help="start states to render and ask about")
    parser.add_argument("--seed", type=int, default=500_000, help="first seed of the start states")
    args = parser.parse_args()
    manifest, motions = build_manifest(find_set(str(args.demonstrations)), relative_to=args.demonstrations)
    cameras = manifest.episodes[0].cameras
    random = np.random.default_rng(args.seed)
    robot = AlohaSim(task=args.task, cameras=())
    robot.connect()
    entries, number = [], 0
    args.questions.mkdir(parents=True, exist_ok=True)
    with (args.questions / "questions.jsonl").open("w", encoding="utf-8") as file:

        def ask(jpegs: list[bytes], step: Seen) -> None:
            nonlocal number
            names = [f"{number // 1000:03d}/{number:06d}-{index}.jpg" for index in range(len(jpegs))]
            for name, jpeg in zip(names, jpegs, strict=True):
                (args.questions / name).parent.mkdir(exist_ok=True)
                (args.questions / name).write_bytes(jpeg)
            question, answer = questions(step, random)
            file.write(json.dumps({"images": names, "instruction": question, "answer": answer}) + "\n")
            number += 1

        for entry, (actions, _) in zip(manifest.episodes, motions, strict=True):
            steps = replayed(robot, entry, actions)
            with open_episode(args.demonstrations / entry.path) as episode:
                texts = episode.substep_reasonings
                assert texts is not None
                for step in random.choice(len(steps), args.each, replace=False):
                    frames = [episode.frame(camera.name, int(step)) for camera in cameras]
                    ask([encode_jpeg(frame, quality=95) for frame in frames], steps[step])
            told = run_length([label(text, step) for text, step in zip(texts, steps, strict=True)])
            entries.append(entry.model_copy(update={"substeps": told}))
        for jpegs, step in start_states(args.task, cameras, range(args.seed, args.seed + args.scenes)):
            ask(jpegs, step)
    save_manifest(args.demonstrations / "manifest.json", manifest.model_copy(update={"episodes": tuple(entries)}))
    learnt = sum(entry.samples for entry in entries)
    print(f"{len(entries)} episodes, {learnt} of {sum(e.steps for e in entries)} steps to learn, {number} questions")


if __name__ == "__main__":
    main()

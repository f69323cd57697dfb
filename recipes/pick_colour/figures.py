"""Two figures of a trained policy that success rates do not show.

    python recipes/pick_colour/figures.py phases CHECKPOINT EPISODES --trained DEMOS --json phases.json
    python recipes/pick_colour/figures.py forced CHECKPOINT --level jitter --scenes 100 --json forced.json

phases: on episodes that were not trained on, does the policy say the substep that the expert is in, colour included?
The place that it adds on the way is not compared. Counted without the
10 steps around a boundary, per phase, and beside a predictor that knows only the time: it says the phase that is most
frequent at that step of the training episodes, and is told the colour.
forced: at start states, is the arm led by the reasoning? With the same noise, image and instruction, the reasoning
of the other cube is forced; counted are the scenes in which the end of the chunk then lies nearer to the other cube
than the end of the policy's own chunk does, by the gripper's place (forward kinematics).
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from questions import place_words

from dexvla.act.base import PolicyInput
from dexvla.act.policy import CheckpointPolicy
from dexvla.episodes.manifest import find_set
from dexvla.episodes.reader import open_episode
from dexvla.episodes.segments import run_length
from dexvla.evaluate.intervals import rate
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel, PickSplit
from dexvla.robots.aloha_sim.scene import controls
from dexvla.train.runs import resolve_checkpoint

AROUND = 10  # steps on either side of a boundary that are not counted
PINCH = np.array([0.1347, 0.0, 0.0])  # of the gripper_link, see dexvla.robots.aloha_sim.ik


def phase(text: str) -> str:
    """ "Lift the red cube" -> "Lift": the phase without the colour."""
    return text.split(" ", 1)[0]


def clear_of_boundaries(labels: list[str]) -> NDArray[np.bool_]:
    """(T,) steps at least AROUND steps away from every boundary."""
    clear = np.ones(len(labels), bool)
    for segment in run_length(labels)[1:]:
        clear[max(0, segment.start - AROUND) : segment.start + AROUND] = False
    return clear


def most_frequent_phase(paths: Sequence[Path]) -> list[str]:
    """The phase at each step that most training episodes are in; beyond the longest, its last."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for path in paths:
        with open_episode(path) as episode:
            for step, text in enumerate(episode.substep_reasonings or ()):
                counts[step][phase(text)] += 1
    return [counts[step].most_common(1)[0][0] for step in sorted(counts)]


def phases(args: argparse.Namespace) -> dict[str, Any]:
    policy = CheckpointPolicy.load(resolve_checkpoint(args.checkpoint))
    by_time = most_frequent_phase(find_set(args.trained).paths)
    right: dict[str, list[bool]] = defaultdict(list)
    timed: list[bool] = []
    for path in find_set(args.episodes).paths:
        with open_episode(path) as episode:
            labels = list(episode.substep_reasonings or ())
            steps = np.flatnonzero(clear_of_boundaries(labels))[:: args.stride]
            asked = [
                PolicyInput(
                    images={name: episode.frame(name, int(step)) for name in policy.metadata.camera_names},
                    state=episode.qpos[int(step)],
                    instruction=episode.instruction,
                )
                for step in steps
            ]
        for step, answer in zip(steps, policy.infer_batch(asked), strict=True):
            label = labels[int(step)]
            right[phase(label)].append(answer.reasoning.split(" at x ")[0] == label)
            timed.append(by_time[min(int(step), len(by_time) - 1)] == phase(label))
    everything = [one for several in right.values() for one in several]
    return {
        "said_as_labelled": rate(sum(everything), len(everything)).model_dump(),
        "by_phase": {name: rate(sum(several), len(several)).model_dump() for name, several in right.items()},
        "knowing_only_the_time": rate(sum(timed), len(timed)).model_dump(),
    }


def hand(robot: AlohaSim, action: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where the right gripper's pinch point is, metres, when the robot has reached `action` (14,)."""
    mujoco = load_mujoco(rendering=False)
    data = mujoco.MjData(robot.model)
    data.qpos[:] = robot.data.qpos
    data.qpos[:16] = controls(action)
    mujoco.mj_kinematics(robot.model, data)
    link = data.body("vx300s_right/gripper_link")
    place: NDArray[np.float64] = link.xpos + link.xmat.reshape(3, 3) @ PINCH
    return place


def forced(args: argparse.Namespace) -> dict[str, Any]:
    policy = CheckpointPolicy.load(resolve_checkpoint(args.checkpoint))
    cameras = policy.metadata.recorded_cameras or policy.metadata.cameras
    options = PickColourOptions(level=args.level, split=args.split)
    robot = AlohaSim(task=AlohaTask.PICK_COLOUR, cameras=cameras, pick=options)
    robot.connect()
    followed, ends = [], []
    for seed in range(args.seed, args.seed + args.scenes):
        seen = robot.reset(seed)
        assert robot.pick is not None
        asked = {
            "images": {name: frame.image for name, frame in seen.frames.items()},
            "state": seen.qpos,
            "instruction": robot.instruction,
        }
        policy.reset(seed)
        own = policy.infer(PolicyInput(**asked))
        place = robot.pick.places[robot.pick.other]
        words = f"Reach for the {robot.pick.other} cube at {place_words(place)}"
        policy.reset(seed)
        led = policy.infer(PolicyInput(**asked, reasoning=words))
        other = np.array(place)
        before, after = (np.hypot(*(hand(robot, chunk.actions[-1])[:2] - other)) for chunk in (own, led))
        followed.append(bool(after < before))
        ends.append(float(before - after))
    robot.disconnect()
    return {
        "towards_the_other_cube": rate(sum(followed), len(followed)).model_dump(),
        "median_change_mm": float(np.median(ends)) * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    figures = parser.add_subparsers(required=True)
    one = figures.add_parser("phases")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("episodes", help="folder of labelled episodes that were not trained on")
    one.add_argument("--trained", required=True, help="the demonstrations it was trained on")
    one.add_argument("--stride", type=int, default=5, help="every so many steps")
    one.set_defaults(run=phases)
    two = figures.add_parser("forced")
    two.add_argument("checkpoint", type=Path)
    two.add_argument("--level", type=PickLevel, default=PickLevel.JITTER)
    two.add_argument("--split", type=PickSplit, default=PickSplit.ANY)
    two.add_argument("--scenes", type=int, default=100)
    two.add_argument("--seed", type=int, default=900_000)
    two.set_defaults(run=forced)
    for figure in (one, two):
        figure.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = {"figure": args.run.__name__, "checkpoint": str(args.checkpoint), **args.run(args)}
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

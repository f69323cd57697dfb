"""How good proposals are on demonstrations whose substeps are known. How long they take: proposal_times.py.

    python benchmarks/proposals.py [--json FILE] [--episodes N]

The scripted experts play N seeds of each task, as `dexvla record` does, without images: seeds that the readings were
not tuned on. Truth: the substeps of the plan. A found boundary counts when it is within 10 or 25 steps (0.2, 0.5 s) of
a true one, each of which is found at most once. Template and similar: every episode in turn has no labels, the others
are published; accuracy is the part of the steps with the right text. The template is the episode's own sequence;
similar ones are sought as the studio does, among those with the same instruction, or all if there are none.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.arms import arms_of
from dexvla.files import write_json
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.experts import ScriptedExpert
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.registry import make_task_robot
from dexvla.segmentation.alignment import align, usual_parts
from dexvla.segmentation.boundaries import Boundary, BoundarySettings, BoundarySource, candidates, merged
from dexvla.segmentation.warping import Labelled, features, nearest, transfer
from dexvla.spec import RecordSpec

FPS = 50.0
FIRST_SEED = 5000
TOLERANCES = (10, 25)
SURE = 0.5
NEIGHBOURS = 5
EXAMPLES = 5  # published episodes whose lengths a template knows
SETTINGS = BoundarySettings()
ARMS = arms_of("aloha_sim", 14)


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """qpos (T, 14); starts[i] is the first step of texts[i]."""

    qpos: NDArray[np.float32]
    starts: tuple[int, ...]
    texts: tuple[str, ...]
    instruction: str
    found: tuple[Boundary, ...]

    @property
    def labels(self) -> NDArray[np.str_]:
        return per_step(self.starts, self.texts, len(self.qpos))


def per_step(starts: Sequence[int], texts: Sequence[str], steps: int) -> NDArray[np.str_]:
    return np.repeat(np.array(texts), np.diff([*starts, steps]))


def demonstrations(task: AlohaTask, episodes: int) -> list[Demonstration]:
    spec = RecordSpec(task=task)
    robot, _ = make_task_robot(spec.robot, spec, cameras=(), render=spec.render)
    assert isinstance(robot, AlohaSim)
    robot.connect()
    try:
        return [demonstration(robot, task, FIRST_SEED + index) for index in range(episodes)]
    finally:
        robot.disconnect()


def demonstration(robot: AlohaSim, task: AlohaTask, seed: int) -> Demonstration:
    robot.reset(seed, images=False)
    plan = ScriptedExpert(task, seed).plan(robot)
    rows = []
    for step in plan:
        rows.append(np.array(robot.observe().qpos, np.float32))
        robot.act(step.action)
    words = [step.substep for step in plan]
    starts = [0, *(index for index in range(1, len(words)) if words[index] != words[index - 1])]
    qpos = np.stack(rows)
    return Demonstration(
        qpos=qpos,
        starts=tuple(starts),
        texts=tuple(words[start] for start in starts),
        instruction=robot.instruction,
        found=tuple(merged(candidates(qpos, FPS, ARMS, SETTINGS), FPS, SETTINGS)),
    )


# --- boundaries -----------------------------------------------------------------------------------------------


def hits(found: Sequence[int], truth: Sequence[int], within: int) -> int:
    """Pairs of a found and a true boundary, nearest first, each in one pair at most."""
    pairs = sorted((abs(a - b), i, j) for i, a in enumerate(found) for j, b in enumerate(truth) if abs(a - b) <= within)
    used: tuple[set[int], set[int]] = (set(), set())
    for _, i, j in pairs:
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    return len(used[0])


def f1(rows: Sequence[tuple[Sequence[int], Sequence[int]]], within: int) -> dict[str, float]:
    """rows: (found, truth) of each episode."""
    right = sum(hits(found, truth, within) for found, truth in rows)
    precision = right / max(sum(len(found) for found, _ in rows), 1)
    recall = right / max(sum(len(truth) for _, truth in rows), 1)
    both = precision + recall
    figures = {"precision": precision, "recall": recall, "f1": 2 * precision * recall / both if both else 0.0}
    return {name: round(value, 3) for name, value in figures.items()}


def boundaries_of(one: Demonstration, source: str) -> list[int]:
    if source == "all":
        return [found.step for found in one.found]
    if source == "sure":
        return [found.step for found in one.found if found.confidence >= SURE]
    return sorted({part.step for found in one.found for part in found.parts if part.source == source})


def boundary_figures(episodes: Sequence[Demonstration]) -> dict[str, Any]:
    """By source; "all": of all sources put together, "sure": those of them with a confidence of at least SURE."""
    sources = [*(str(one) for one in (BoundarySource.GRIPPER, BoundarySource.SPEED, BoundarySource.CHANGE))]
    return {
        source: {
            str(within): f1([(boundaries_of(one, source), one.starts[1:]) for one in episodes], within)
            for within in TOLERANCES
        }
        for source in [*sources, "all", "sure"]
    }


# --- whole labellings -----------------------------------------------------------------------------------------


def labelling_figures(rows: Sequence[tuple[Sequence[int], Sequence[str], Demonstration]]) -> dict[str, Any]:
    """rows: proposed starts and texts, and the truth."""
    right = [(per_step(starts, texts, len(one.qpos)) == one.labels).mean() for starts, texts, one in rows]
    return {
        "accuracy": round(float(np.mean(right)), 3),
        "worst": round(float(np.min(right)), 3),
        "boundaries": {
            str(within): f1([(starts[1:], one.starts[1:]) for starts, _, one in rows], within)["f1"]
            for within in TOLERANCES
        },
        "episodes": len(rows),
    }


def by_template(episodes: Sequence[Demonstration], *, examples: int) -> dict[str, Any]:
    """examples: how many other episodes with the same texts say how long substeps are."""
    rows = []
    for one in episodes:
        others = [other for other in episodes if other is not one and other.texts == one.texts][:examples]
        usual = usual_parts([o.starts for o in others], [len(o.qpos) for o in others]) if others else None
        found = [(boundary.step, boundary.confidence) for boundary in one.found]
        put = align(found, steps=len(one.qpos), substeps=len(one.texts), fps=FPS, usual=usual)
        rows.append((put.starts, one.texts, one))
    return labelling_figures(rows)


def by_similar(episodes: Sequence[Demonstration]) -> dict[str, Any]:
    rows = []
    for one in episodes:
        rest = [other for other in episodes if other is not one]
        others = [other for other in rest if other.instruction == one.instruction] or rest
        order = nearest(features(one.qpos), [features(other.qpos) for other in others], count=NEIGHBOURS)
        known = [
            (Labelled(key=str(i), qpos=others[i].qpos, starts=others[i].starts, texts=others[i].texts), distance)
            for i, distance in order
        ]
        taken = transfer(one.qpos, FPS, known)
        rows.append((taken.starts, taken.texts, one))
    return labelling_figures(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--episodes", type=int, default=30)
    options = parser.parse_args()
    found: dict[str, Any] = {"tasks": {}}
    for task in AlohaTask:
        episodes = demonstrations(task, options.episodes)
        figures = {
            "boundaries": boundary_figures(episodes),
            "template": by_template(episodes, examples=0),
            "template, lengths known": by_template(episodes, examples=EXAMPLES),
            "similar": by_similar(episodes),
        }
        found["tasks"][task.value] = figures
        show(task.value, figures)
    if options.json:
        write_json(options.json, found)


def show(task: str, figures: dict[str, Any]) -> None:
    print(f"{task}\n  {'':24} within 10: prec. recall F1     within 25: prec. recall F1")
    for source, row in figures["boundaries"].items():
        cells = [
            f"{row[str(w)]['precision']:14.2f} {row[str(w)]['recall']:6.2f} {row[str(w)]['f1']:6.2f}"
            for w in TOLERANCES
        ]
        print(f"  {source:24}{''.join(cells)}")
    for name in ("template", "template, lengths known", "similar"):
        row = figures[name]
        print(
            f"  {name:24} steps right {row['accuracy']:.3f}, worst episode {row['worst']:.3f}, "
            f"F1 {row['boundaries']['10']:.2f} / {row['boundaries']['25']:.2f}, {row['episodes']} episodes"
        )


if __name__ == "__main__":
    main()

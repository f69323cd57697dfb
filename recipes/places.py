"""From recorded demonstrations of transfer_cube or insertion: the manifest of a run, and questions about images.

    python recipes/places.py DEMOS --task TASK --out DEMOS/manifest.json --questions QUESTIONS --scenes 3000

The manifest's labels say where an object lies while a hand goes for it ("Reach for the red cube with the right arm at
x 12 y 56", centimetres in the simulator's frame); files of episodes keep the plain labels. "Where is the red cube?" is
answered with the same words, on start states (seeds of their own, neither of demonstrations nor of evaluations) and on
steps of demonstrations at which nothing has moved yet. docs/decisions/pick-colour.md says why.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import build_manifest, find_set, save_manifest
from dexvla.episodes.reader import open_episode
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.tasks import object_poses
from dexvla.spec import CameraSpec, DatasetManifest

# The one from which all objects are seen.
CAMERAS = {
    AlohaTask.TRANSFER_CUBE: CameraSpec(name="cam_table", height=112, width=112),
    AlohaTask.INSERTION: CameraSpec(name="cam_middle", height=112, width=112),
}
# Objects in the order of their poses, as the labels of the scripted expert call them.
OBJECTS = {AlohaTask.TRANSFER_CUBE: ("red cube",), AlohaTask.INSERTION: ("peg", "socket")}
QUESTIONS = ("Where is the {}?", "Find the {}", "Where does the {} lie?")
Places = dict[str, str]


def places(task: AlohaTask, seed: int) -> Places:
    """Where each object of a scene starts, in words: "x 12 y 56", centimetres."""
    poses = 100 * object_poses(task, seed).reshape(-1, 7)[:, :2]
    return {name: f"x {round(x)} y {round(y)}" for name, (x, y) in zip(OBJECTS[task], poses, strict=True)}


def going_there(task: AlohaTask, text: str) -> bool:
    """Whether the places matter in a phase: from the start until everything is gripped, named with all objects."""
    return text.startswith(("Reach", "Grasp")) and all(name in text for name in OBJECTS[task])


def with_places(task: AlohaTask, manifest: DatasetManifest) -> DatasetManifest:
    """The places of the objects in the labels of the phases that go there."""
    episodes = []
    for entry in manifest.episodes:
        assert entry.seed is not None
        where = " at " + " and ".join(places(task, entry.seed).values())
        substeps = tuple(
            segment.model_copy(update={"text": segment.text + where}) if going_there(task, segment.text) else segment
            for segment in entry.substeps
        )
        episodes.append(entry.model_copy(update={"substeps": substeps}))
    return manifest.model_copy(update={"episodes": tuple(episodes)})


def start_images(task: AlohaTask, scenes: int, seed: int) -> Iterator[tuple[bytes, Places]]:
    """JPEG and places of start states."""
    camera = CAMERAS[task]
    robot = AlohaSim(task=task, cameras=(camera,))
    robot.connect()
    try:
        for index in range(scenes):
            image = robot.reset(seed + index).frames[camera.name].image
            yield encode_jpeg(image, quality=95), places(task, seed + index)
    finally:
        robot.disconnect()


def episode_images(
    task: AlohaTask, folder: str, each: int, random: np.random.Generator
) -> Iterator[tuple[bytes, Places]]:
    """JPEG and places of `each` steps of every episode, before a gripper closes."""
    for path in find_set(folder).paths:
        with open_episode(path) as episode:
            labels = episode.substep_reasonings
            assert labels is not None
            assert episode.attributes.seed is not None
            grasp = next(step for step, text in enumerate(labels) if text.startswith("Grasp"))
            for step in random.choice(grasp, each, replace=False):
                image = episode.frame(CAMERAS[task].name, int(step))
                yield encode_jpeg(image, quality=95), places(task, episode.attributes.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demonstrations", help="folder of episodes")
    parser.add_argument("--task", type=AlohaTask, choices=list(OBJECTS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="manifest to write, in or above that folder")
    parser.add_argument("--questions", type=Path, required=True, help="folder for questions.jsonl and its images")
    parser.add_argument("--scenes", type=int, default=3000, help="start states to render")
    parser.add_argument("--pictures", type=int, default=6, help="images of each demonstration")
    parser.add_argument("--seed", type=int, default=500_000, help="first seed of the start states")
    args = parser.parse_args()
    manifest, _ = build_manifest(find_set(args.demonstrations), relative_to=args.out.parent)
    save_manifest(args.out, with_places(args.task, manifest))
    random = np.random.default_rng(args.seed)
    args.questions.mkdir(parents=True, exist_ok=True)
    sources = (
        start_images(args.task, args.scenes, args.seed),
        episode_images(args.task, args.demonstrations, args.pictures, random),
    )
    with (args.questions / "questions.jsonl").open("w", encoding="utf-8") as file:
        for number, (jpeg, where) in enumerate(image for source in sources for image in source):
            name = f"{number // 1000:03d}/{number:06d}.jpg"
            (args.questions / name).parent.mkdir(exist_ok=True)
            (args.questions / name).write_bytes(jpeg)
            thing = str(random.choice(list(where)))
            question = str(random.choice(QUESTIONS)).format(thing)
            file.write(json.dumps({"images": [name], "instruction": question, "answer": where[thing]}) + "\n")
    steps = sum(entry.steps for entry in manifest.episodes)
    print(f"{len(manifest.episodes)} episodes of {steps} steps, {number + 1} questions: {args.out}, {args.questions}")


if __name__ == "__main__":
    main()

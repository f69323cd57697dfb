"""Write the manifests that a run of this recipe trains on, from folders of recorded demonstrations.

    python recipes/pick_colour/manifests.py DEMOS --out DEMOS/manifest.json --vague 0.3
    python recipes/pick_colour/manifests.py DEMOS --out DEMOS/shuffled.json --shuffle

--vague: this share of the episodes gets an instruction that names no colour ("Pick up a cube"), so that only the
substep reasoning says which cube is meant and the path from reasoning to action has something to carry.
--places: while the arm is on its way, the reasoning also says where the named cube lies, in centimetres ("Reach for the
red cube at x 10 y 42"): what was learnt from questions about places then reaches the actions through the reasoning.
--shuffle: the control. Every episode gets the instruction of another one; labels, motion and images stay.
Files of episodes are not touched: a manifest holds instructions and labels of its own.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from questions import place_words

from dexvla.episodes.manifest import build_manifest, find_set, save_manifest
from dexvla.robots.aloha_sim.options import PickColourOptions, PickLevel, PickSplit
from dexvla.robots.aloha_sim.pick_colour import draw_scene
from dexvla.spec import DatasetManifest, EpisodeEntry

ON_THE_WAY = ("Reach", "Lower")  # phases in which the place of the cube matters
VAGUE = ("Pick up a cube", "Lift one of the cubes", "Take a cube from the table", "Grab one of the cubes")


def with_instructions(manifest: DatasetManifest, instructions: Sequence[str]) -> DatasetManifest:
    """The same episodes with other instructions, one each."""
    episodes = tuple(
        entry.model_copy(update={"instruction": text})
        for entry, text in zip(manifest.episodes, instructions, strict=True)
    )
    return manifest.model_copy(update={"episodes": episodes})


def vague(manifest: DatasetManifest, share: float, random: np.random.Generator) -> DatasetManifest:
    """`share` of the episodes, drawn at random, with an instruction that names no colour."""
    chosen = random.random(len(manifest.episodes)) < share
    return with_instructions(
        manifest,
        [
            str(random.choice(VAGUE)) if pick else entry.instruction
            for pick, entry in zip(chosen, manifest.episodes, strict=True)
        ],
    )


def with_places(manifest: DatasetManifest, options: PickColourOptions) -> DatasetManifest:
    """The named cube's place in the labels of the phases that go there. options: of the recording."""
    episodes = []
    for entry in manifest.episodes:
        assert entry.seed is not None
        scene = draw_scene(entry.seed, options)
        where = f" at {place_words(scene.places[scene.named])}"
        substeps = tuple(
            segment.model_copy(update={"text": segment.text + where})
            if segment.text.startswith(ON_THE_WAY)
            else segment
            for segment in entry.substeps
        )
        episodes.append(entry.model_copy(update={"substeps": substeps}))
    return manifest.model_copy(update={"episodes": tuple(episodes)})


def recorded_first(manifest: DatasetManifest, count: int) -> tuple[EpisodeEntry, ...]:
    """The `count` episodes with the lowest seeds."""
    return tuple(sorted(manifest.episodes, key=lambda entry: entry.seed or 0)[:count])


def shuffled(manifest: DatasetManifest, random: np.random.Generator) -> DatasetManifest:
    """Every instruction moved to another episode."""
    order = random.permutation(len(manifest.episodes))
    return with_instructions(manifest, [manifest.episodes[i].instruction for i in order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demonstrations", help="folder of episodes")
    parser.add_argument("--out", type=Path, required=True, help="manifest to write, in or above that folder")
    parser.add_argument("--vague", type=float, default=0.0, help="share of episodes without a colour, 0 to 1")
    parser.add_argument("--places", type=PickLevel, help="say the place too; the level that was recorded")
    parser.add_argument("--shuffle", action="store_true", help="instructions of other episodes: the control")
    parser.add_argument("--first", type=int, help="only so many episodes, those recorded first")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    manifest, _ = build_manifest(find_set(args.demonstrations), relative_to=args.out.parent)
    if args.first:
        manifest = manifest.model_copy(update={"episodes": recorded_first(manifest, args.first)})
    if args.places:
        manifest = with_places(manifest, PickColourOptions(level=args.places, split=PickSplit.TRAINING))
    if args.vague:
        manifest = vague(manifest, args.vague, random)
    if args.shuffle:
        manifest = shuffled(manifest, random)
    save_manifest(args.out, manifest)
    print(f"{len(manifest.episodes)} episodes, {sum(entry.steps for entry in manifest.episodes)} steps: {args.out}")


if __name__ == "__main__":
    main()

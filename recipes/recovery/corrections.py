"""A round of DAgger: the policy acts on scenes that no demonstration has, and the expert ends what it cannot.

    python recipes/recovery/corrections.py CHECKPOINT OUT --task TASK --episodes 100 --seed 200000

Goes on after an interruption: seeds that were tried are listed in OUT/tried.json. Labels say where an object lies, as
in the manifest of the demonstrations. Prints how often the policy needed no correction.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import manifests

from dexvla.act.policy import CheckpointPolicy
from dexvla.episodes.manifest import build_manifest, find_set, save_manifest
from dexvla.evaluate.corrections import collect_corrections
from dexvla.files import write_json
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.recovery import Moment
from dexvla.train.runs import resolve_checkpoint


def labeller(robot: AlohaSim) -> Callable[[Moment], str]:
    """Substeps with the places of what they go to."""
    observer = manifests.Observer(robot)
    return lambda moment: manifests.label(moment.substep, observer.before(moment))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint directory, or a run's folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", type=AlohaTask, choices=[AlohaTask.TRANSFER_CUBE, AlohaTask.INSERTION], required=True)
    parser.add_argument("--episodes", type=int, default=100, help="seeds to play")
    parser.add_argument("--seed", type=int, default=200_000, help="first seed; of no other data")
    parser.add_argument("--execute-steps", type=int, default=50)
    args = parser.parse_args()
    policy = CheckpointPolicy.load(resolve_checkpoint(args.checkpoint))
    robot = AlohaSim(task=args.task, cameras=policy.metadata.recorded_cameras)
    robot.connect()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "tried.json"
    tried: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    try:
        for seed in range(args.seed, args.seed + args.episodes):
            if str(seed) in tried:
                continue
            collect_corrections(
                policy,
                robot,
                range(seed, seed + 1),
                args.out,
                execute_steps=args.execute_steps,
                labeller=labeller,
                on_episode=lambda one: tried.update({str(one.seed): one.why or "none"}),
            )
            write_json(file, tried)
            print(f"seed {seed}: {tried[str(seed)]}", flush=True)
    finally:
        robot.disconnect()
        policy.close()
    whys = list(tried.values())
    print(f"{whys.count('none')} of {len(whys)} needed no correction; {len(list(args.out.glob('*.hdf5')))} episodes")
    if not list(args.out.glob("*.hdf5")):
        raise SystemExit("nothing to learn from: the policy needed no correction, or the expert could not save it")
    manifest, _ = build_manifest(find_set(str(args.out)), relative_to=args.out)
    save_manifest(args.out / "manifest.json", manifest)


if __name__ == "__main__":
    main()

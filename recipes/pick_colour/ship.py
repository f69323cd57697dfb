"""Turn a checkpoint of this recipe into the demo checkpoint that comes with the project.

    python recipes/pick_colour/ship.py build/pick_colour/policy --level spots --success 0.93 --trials 100

Copies the checkpoint's files to dexvla/assets/demo and writes into its manifest what it is: recipe, git revision,
task, level, instructions and the success rate that was measured. Refuses more than 15 MB.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from dexvla.demo import DEMO_FOLDER
from dexvla.errors import UserError
from dexvla.files import atomic_directory, write_json
from dexvla.robots.aloha_sim.options import AlohaTask, PickLevel
from dexvla.robots.aloha_sim.pick_colour import COLOURS
from dexvla.train.runs import resolve_checkpoint

MOST_BYTES = 15_000_000


def revision() -> str:
    """The commit that the working tree is at."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint directory, or a run's folder")
    parser.add_argument("--level", type=PickLevel, required=True, help="highest level at which it is good")
    parser.add_argument("--success", type=float, required=True, help="success rate measured there, 0 to 1")
    parser.add_argument("--trials", type=int, required=True, help="episodes of that measurement")
    args = parser.parse_args()
    source = resolve_checkpoint(args.checkpoint)
    manifest = json.loads((source / "manifest.json").read_bytes())
    manifest["demo"] = {
        "task": str(AlohaTask.PICK_COLOUR),
        "level": str(args.level),
        "instructions": [f"Pick up the {colour} cube" for colour in COLOURS],
        "recipe": "recipes/pick_colour",
        "revision": revision(),
        "success_rate": args.success,
        "trials": args.trials,
    }
    size = sum(file.stat().st_size for file in source.iterdir())
    if size > MOST_BYTES:
        raise UserError(f"{source} has {size / 1e6:.1f} MB, the repository takes {MOST_BYTES / 1e6:.0f} MB at most")
    if DEMO_FOLDER.exists():
        shutil.rmtree(DEMO_FOLDER)
    with atomic_directory(DEMO_FOLDER) as temporary:
        for file in source.iterdir():
            shutil.copyfile(file, temporary / file.name)
        write_json(temporary / "manifest.json", manifest)
    print(f"{size / 1e6:.1f} MB in {DEMO_FOLDER}")


if __name__ == "__main__":
    main()

"""A plain Qwen2-VL model with the backbone of a checkpoint: where ablations start, which need a fresh expert.

    python recipes/pick_colour/backbone.py CHECKPOINT BASE OUT

BASE is the plain model that the checkpoint was trained from; its files are copied, its weights replaced.
"""

import argparse
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from dexvla.files import atomic_directory
from dexvla.model.upstream import from_base_name
from dexvla.train.runs import resolve_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint directory, or a run's folder")
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    trained = load_file(resolve_checkpoint(args.checkpoint) / "model.safetensors")
    names = {name: from_base_name(name) for name in load_file(args.base / "model.safetensors")}
    with atomic_directory(args.out) as temporary:
        shutil.copytree(args.base, temporary, dirs_exist_ok=True)
        weights = {name: trained[own].contiguous() for name, own in names.items() if own is not None}
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
    print(f"{len(weights)} tensors: {args.out}")


if __name__ == "__main__":
    main()

"""What stands in folders of models and runs, for whoever writes them and for whoever only lists them."""

from pathlib import Path
from typing import Any

# `model_type` in config.json: ours first, then Qwen2-VL's own and the reference's
POLICY_TYPE = "dexvla"
PRETRAINER_TYPE = "dexvla_pretrainer"
EXPERT_TYPE = "dexvla_expert"
BACKBONE_TYPE = "qwen2_vl"
UPSTREAM_TYPE = "qwen2_vla"

DEMO_FOLDER = Path(__file__).parents[1] / "assets" / "demo"  # the checkpoint that comes with the project

_STEP = "step-"


def step_name(step: int) -> str:
    """The folder of a step's checkpoint, and of the trainer's state beside it."""
    return f"{_STEP}{step:07d}"


def step_of(name: str) -> int | None:
    """The step of a folder that is named so; None for another."""
    digits = name.removeprefix(_STEP)
    return int(digits) if digits != name and digits.isdecimal() else None


def seen_episodes(manifest: dict[str, Any]) -> set[str] | None:
    """Identities of all episodes that went into a checkpoint, by its manifest.json; None if that does not say."""
    if "episodes" not in manifest:
        return None
    return {*manifest["episodes"], *manifest.get("earlier_episodes", [])}


def seen_seeds(manifest: dict[str, Any]) -> set[tuple[str, int]]:
    """(task, seed) of all simulated scenes that went into a checkpoint."""
    return {(task, seed) for task, seed in [*manifest.get("seeds", []), *manifest.get("earlier_seeds", [])]}

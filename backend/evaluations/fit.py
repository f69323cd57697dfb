"""Whether a checkpoint can be evaluated as asked, told before a job is queued. Reads JSON alone, never weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backend.core.errors import InvalidError
from backend.robots.kinds import can_have, info_of, name_of
from dexvla.episodes.manifest import load_manifest
from dexvla.spec import POLICY_TYPE, DatasetManifest, PolicySpec, TaskChoice, seen_episodes


def wrong(field: str, message: str) -> InvalidError:
    return InvalidError(message, fields={field: message})


def policy_of(folder: Path) -> PolicySpec:
    """What a checkpoint's config.json says of its policy. Raises InvalidError for one that is gone or cannot act."""
    config = _read(folder / "config.json")
    if config is None:
        raise wrong("checkpoint_id", "The checkpoint's files are gone or damaged; choose another checkpoint.")
    if config.get("model_type") != POLICY_TYPE:
        raise wrong("checkpoint_id", "This checkpoint is an expert without a backbone, which cannot act.")
    try:
        return PolicySpec.model_validate(config.get("policy"))
    except ValidationError as error:
        message = "The checkpoint's config.json cannot be read; it is damaged or of another version."
        raise wrong("checkpoint_id", message) from error


def fits_simulator(policy: PolicySpec, robot: str, choice: TaskChoice) -> None:
    """Raise InvalidError unless the simulated robot has the policy's dimensions and cameras."""
    name, instead = name_of(robot), "replay recorded episodes instead (open loop)"
    info = info_of(robot, choice, ())
    has, wants = (len(info.action_names), len(info.joint_names)), (policy.action_dim, policy.state_dim)
    if has != wants:
        raise wrong(
            "checkpoint_id",
            f"{name} has {has[0]} actions and {has[1]} state values, the checkpoint was trained with {wants[0]} and "
            f"{wants[1]}; {instead}.",
        )
    missing = [camera.name for camera in policy.cameras if not can_have(robot, choice, camera)]
    if missing:
        raise wrong(
            "checkpoint_id",
            f"{name} has no camera {', '.join(missing)}, which the checkpoint was trained with; {instead}.",
        )


def fits_version(
    policy: PolicySpec,
    file: Path,
    *,
    checkpoint: Path,
    held_out: bool,
    names: Mapping[str, tuple[str, ...]],
    elsewhere: bool = False,
) -> int:
    """How many episodes of a dataset version will be replayed. Raises InvalidError if they do not fit, or none is left.

    file: the version's manifest. names: all identities of its episodes, by id. held_out: leave out what the
    checkpoint, or one that it grew out of, was trained on. elsewhere: its episodes are in a store, from where the job
    fetches them.
    """
    manifest = load_manifest(file)
    found, expected = (manifest.action_dim, manifest.state_dim), (policy.action_dim, policy.state_dim)
    if found != expected:
        raise wrong(
            "version_id",
            f"The dataset has {found[0]} actions and {found[1]} state values, the checkpoint was trained with "
            f"{expected[0]} and {expected[1]}.",
        )
    missing = [camera.name for camera in policy.cameras if camera.name not in manifest.cameras]
    if missing:
        raise wrong(
            "version_id",
            f"The dataset has no camera {', '.join(missing)}, which the checkpoint was trained with; it has "
            f"{', '.join(manifest.cameras)}.",
        )
    gone = [] if elsewhere else [entry for entry in manifest.episodes if not (file.parent / entry.path).is_file()]
    if gone:
        raise wrong("version_id", f"{len(gone)} of the version's {len(manifest.episodes)} episode files are gone.")
    return _held_out(manifest, checkpoint, names) if held_out else len(manifest.episodes)


def _held_out(manifest: DatasetManifest, checkpoint: Path, names: Mapping[str, tuple[str, ...]]) -> int:
    seen = seen_episodes(_read(checkpoint / "manifest.json") or {})
    if seen is None:
        message = "The checkpoint does not say what it was trained on; choose all episodes."
        raise wrong("held_out", message)
    known = [(entry.identity, *entry.aliases, *names.get(Path(entry.path).stem, ())) for entry in manifest.episodes]
    left = sum(seen.isdisjoint(entry) for entry in known)
    if not left:
        raise wrong(
            "held_out",
            f"The checkpoint was trained on all {len(manifest.episodes)} episodes of this version. Choose a version "
            "with others, train with a part held out (validation), or replay all episodes.",
        )
    return left


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None

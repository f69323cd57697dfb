"""What datasets of other formats keep of our episodes beside what they have a place for: facts as JSON, images as they
are stored. The formats' own importers read them again."""

import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from PIL import Image

from dexvla.episodes.format import LabelSource
from dexvla.episodes.lineage import lineage_facts, lineage_read
from dexvla.episodes.reader import Episode
from dexvla.formats.base import FormatError
from dexvla.formats.carried import own_attributes
from dexvla.formats.outgoing import Outgoing

_ABOUT = ("sim", "task", "seed", "render_profile", "held", "reward", "fps_guessed")


def stored_image(going: Outgoing, camera: str, step: int) -> tuple[bytes, str]:
    """(bytes, ending of a file's name): JPEG as it is stored, where its colours are in order; else a PNG, which loses
    nothing. Raises FormatError for one of another size than the first."""
    size, usual = going.file.frame_size(camera, step), going.file.frame_size(camera)
    if size != usual:
        raise FormatError(
            f"{going.labels.name}: camera {camera}, step {step} is {size[0]} x {size[1]}, expected {usual[0]} x "
            f"{usual[1]} as the others"
        )
    if going.file.is_jpeg(camera) and not going.file.is_swapped(camera):
        return going.jpeg(camera, step), "jpg"
    buffer = io.BytesIO()
    Image.fromarray(going.file.frame(camera, step)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue(), "png"


def our_facts(going: Outgoing) -> dict[str, Any]:
    """Of one episode, as JSON."""
    about, labels = asdict(going.file.attributes), going.labels
    return {
        "name": labels.name,
        "steps": going.file.steps,
        "robot": about["robot"],
        "fps": about["fps"],
        **{name: about[name] for name in _ABOUT},
        "success": going.success,
        "label_source": str(labels.label_source or "") or None,
        "paraphrases": list(labels.paraphrases),
        "marks": None if going.file.marks is None else list(going.file.marks),
        "state_names": list(going.file.state_names),
        "action_names": list(going.file.action_names),
        "lineage": lineage_facts(going.file.lineage),
        "extra": plain_attributes(going.file),
        "tags": list(labels.tags),
        "person": labels.person,
    }


def plain_attributes(file: Episode) -> dict[str, Any]:
    """What it says of its scene, of mishaps and corrections, as JSON takes it."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in own_attributes(file).items()}


def facts_read(ours: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """What `our_facts` says, as far as it is of the kinds that it should be, by the names of SourceEpisode's fields.
    Empty for an episode of somebody else."""
    if not ours:
        return {}
    reward = ours.get("reward")
    return {
        "label_source": label_source(ours.get("label_source")),
        "sim": ours.get("sim") is True,
        "task": _text(ours.get("task")),
        "seed": ours["seed"] if isinstance(ours.get("seed"), int) else None,
        "render_profile": _text(ours.get("render_profile")),
        "held": ours["held"] if isinstance(ours.get("held"), bool) else None,
        "reward": float(reward) if isinstance(reward, (int, float)) and not isinstance(reward, bool) else None,
        "marks": _marks(ours.get("marks"), steps),
        "lineage": lineage_read(ours.get("lineage"), steps),
        "extra": _extra(ours.get("extra")),
    }


def names_read(ours: Mapping[str, Any], attribute: str) -> tuple[str, ...]:
    """Of the dimensions, "state_names" or "action_names"; empty where they were not written."""
    names = ours.get(attribute)
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def rate_guessed(ours: Mapping[str, Any]) -> bool:
    """Whether the rate of an episode that we wrote was a guess, when it was taken in or when it went out."""
    return ours.get("fps_guessed") is True or ("fps" in ours and ours["fps"] is None)


def label_source(value: Any) -> LabelSource:
    return next((member for member in LabelSource if member.value == value), LabelSource.IMPORTED)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _marks(value: Any, steps: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(isinstance(mark, int) and 0 <= mark < steps for mark in value):
        return None
    return tuple(sorted(set(value)))


def _extra(value: Any) -> dict[str, str | int | float | bool]:
    if not isinstance(value, dict) or len(value) > 64:
        return {}
    plain = (str, int, float, bool)
    return {name: one for name, one in value.items() if isinstance(one, plain) and len(str(one)) <= 1000}

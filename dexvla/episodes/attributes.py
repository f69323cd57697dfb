"""The attributes of an episode file, and what else it says of the whole episode in a few words."""

from functools import partial

import h5py
import numpy as np

from dexvla.episodes.entries import Entries
from dexvla.episodes.format import (
    IMAGE_TIMES,
    LONGEST_SCENE_WORD,
    MARKS,
    MOST_SCENE_ATTRIBUTES,
    SCENE_ATTRIBUTES,
    SCENE_NAME,
    STEP_SOURCE,
    TAKEN_ATTRIBUTES,
    EpisodeAttributes,
)
from dexvla.episodes.wordings import LANGUAGE
from dexvla.spec import FPS_LEAST, FPS_MOST

# Of pick_colour in files that do not list theirs: the first task that had some.
_PICK_ATTRIBUTES = ("swapped", "level", "split", "named_colour", "other_colour")


def attributes_of(entries: Entries, *, sim: bool) -> EpisodeAttributes:
    """The known attributes; what is absent or does not fit is None."""
    optional = entries.optional
    return EpisodeAttributes(
        sim=sim,
        robot=optional(lambda: entries.word("robot")),
        task=optional(lambda: entries.word("task")),
        fps=optional(lambda: _rate(entries)),
        success=optional(lambda: entries.flag("success")),
        held=optional(lambda: entries.flag("held")),
        seed=optional(lambda: _seed(entries)),
        render_profile=optional(lambda: entries.word("render_profile")),
        reward=optional(lambda: entries.number("reward")),
        fps_guessed=optional(lambda: entries.flag("fps_guessed")),
    )


def _rate(entries: Entries) -> float | None:
    fps = entries.number("fps")
    if fps is not None and not FPS_LEAST <= fps <= FPS_MOST:
        raise entries.unfit(f"attribute fps is {fps:g}, expected {FPS_LEAST:g} to {FPS_MOST:g} Hz")
    return fps


def _seed(entries: Entries) -> int | None:
    seed = entries.whole("seed")
    if seed is not None and not -(2**63) <= seed < 2**63:
        raise entries.unfit(f"attribute seed is {seed}, expected a number of 64 bits")
    return seed


def scene_attributes_of(entries: Entries, task: str | None) -> dict[str, str | bool | float]:
    """What an episode says of its scene beside `attributes_of`, by the names that it gives; often nothing."""
    listed = entries.optional(lambda: entries.word(SCENE_ATTRIBUTES))
    names: tuple[str, ...]
    if listed is None:
        names = _PICK_ATTRIBUTES if task == "pick_colour" else ()
    else:
        names = tuple(name.strip() for name in listed.split(",") if name.strip())
    found: dict[str, str | bool | float] = {}
    for name in names:
        if not SCENE_NAME.fullmatch(name) or name in TAKEN_ATTRIBUTES or len(found) == MOST_SCENE_ATTRIBUTES:
            raise entries.wrong(SCENE_ATTRIBUTES, listed, f"at most {MOST_SCENE_ATTRIBUTES} names of attributes")
        entries.optional(partial(_put, found, entries, name, numbers=listed is not None))
    return found


def _put(found: dict[str, str | bool | float], entries: Entries, name: str, *, numbers: bool) -> None:
    value = _scene_value(entries, name, numbers=numbers)
    if value is not None:
        found[name] = value


def _scene_value(entries: Entries, name: str, *, numbers: bool) -> str | bool | float | None:
    """numbers: they count as such, which files did not have that do not list their attributes."""
    value = entries.attribute(name)
    if value is None:
        return None
    if name == "swapped" or isinstance(value, (bool, np.bool_)):
        return bool(entries.flag(name))
    if numbers and isinstance(value, (int, float, np.integer, np.floating)):
        return float(entries.number(name) or 0.0)
    return _short(entries, name, "a word")


def _short(entries: Entries, name: str, what: str) -> str | None:
    word = entries.word(name)
    if word is not None and len(word) > LONGEST_SCENE_WORD:
        raise entries.wrong(name, word, f"{what} of at most {LONGEST_SCENE_WORD} characters")
    return word


def recovery_attributes_of(entries: Entries) -> dict[str, str | bool | float]:
    """What an episode with mishaps or a correction says of them beside `attributes_of`; nothing for others."""
    optional = entries.optional
    found: dict[str, str | bool | float | None] = {
        "wide_start": optional(lambda: entries.flag("wide_start")),
        "execution_noise": optional(lambda: entries.number("execution_noise")),
        "mishaps": optional(lambda: _short(entries, "mishaps", "a text")),
        "correction": optional(lambda: _short(entries, "correction", "a text")),
    }
    return {name: value for name, value in found.items() if value is not None}


# Entries that the readers know, at the top and below `observations`.
_KNOWN = {"action", "observations", "reasoning", "substep_reasonings", "compress_len", "action_sent", "base_action"}
_KNOWN |= {"timestamp", "host_timestamp", IMAGE_TIMES, STEP_SOURCE, MARKS, *LANGUAGE}
_KNOWN_OBSERVATIONS = {"qpos", "qvel", "joint_positions", "images", "images_depth"}
_SHOWN = 12


def unused_told(entries: Entries) -> list[str]:
    """What is said of entries that nothing is made of."""
    left = [name for name in sorted(entries.file) if name not in _KNOWN and entries.has(name)]
    observations = entries.file["observations"]
    left += [f"observations/{name}" for name in sorted(observations) if name not in _KNOWN_OBSERVATIONS]
    left = [name for name in left if entries.has(name)]
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return [f"unknown entries, ignored: {', '.join(left[:_SHOWN])}{more}"] if left else []


def depth_told(entries: Entries) -> list[str]:
    """What is said of depth images beside the cameras."""
    name = "observations/images_depth"
    if not entries.has(name):
        return []
    item = entries.file[name]
    inner = f": {', '.join(sorted(item)[:8])}" if isinstance(item, h5py.Group) and len(item) else ""
    return [f"depth images are left out ({name}{inner})"]

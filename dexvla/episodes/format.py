"""The episode file: one ACT-style HDF5 file per episode.

    action                          (T, A) float32   requested action of the step: what a policy learns
    language_raw                    (1+P,) str       the instruction, then other wordings of it, if there are any
    substep_reasonings              (T,)   str       optional; attribute label_source: scripted, human, ...
    observations/qpos               (T, S) float32   radians; normalised grippers 0 closed .. 1 open
    observations/qvel               (T, S) float32   per second; recorders write it, imports where the source has it
    observations/joint_positions    (T, J) float32   optional
    observations/images/<camera>    (T, H, W, 3) uint8 RGB, or (T, P) uint8 rows of JPEG bytes padded with zeros
    compress_len                    (C, T) float32   with JPEG rows: bytes of each, cameras in sorted order
    action_sent                     (T, A) float32   optional; what the robot was sent after its limits
    timestamp                       (T,)   float64   optional; seconds on the robot's clock
    image_timestamp/<camera>        (T,)   float64   optional; when each image was taken, same clock
    host_timestamp                  (T,)   float64   optional; when the step was commanded, seconds since 1970 (UTC)
    step_source                     (T,)   uint8     optional; who commanded it, an index into its attribute `names`
    marks                           (M,)   int64     optional; steps at which who drove said that a substep begins

Attributes of the file: sim (bool), compress (bool: a camera holds JPEG rows), and optionally those of
`EpisodeAttributes`, `edit` (which episodes an edit made it of: dexvla.spec.Lineage as JSON), `state_names` and
`action_names` (of the dimensions, comma separated). Cameras may differ: pixels have four dimensions, JPEG rows two. In
`compress_len` a camera of pixels has zeros.

JPEG rows written here are ordinary RGB JPEG files and carry `jpeg_channels = "rgb"`. Without that attribute the rows
follow OpenCV's custom of the upstream tools: the bytes were encoded from an RGB array as if it were BGR, so decoding
swaps red and blue back. An attribute `jpeg_channels` ("rgb" or "bgr") of a camera's dataset goes before the file's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGES = "observations/images"
IMAGE_TIMES = "image_timestamp"
STEP_SOURCE = "step_source"
MARKS = "marks"
JPEG_CHANNELS = "jpeg_channels"
LINEAGE = "edit"  # attribute: the edit that made the file, JSON of dexvla.spec.Lineage
DIMENSION_NAMES = ("state_names", "action_names")  # attributes: what the dimensions are called, comma separated
SCENE_ATTRIBUTES = "scene_attributes"  # names of the attributes that a task has of its own, comma separated

MOST_SCENE_ATTRIBUTES = 16
LONGEST_SCENE_WORD = 64  # characters, where an attribute is one of a few words
SCENE_NAME = re.compile(r"[A-Za-z]\w{0,63}")

# <|im_start|>, <|vision_end|>, <|image_pad|> and their like: the tokenizer turns such text into the tokens by which
# the model tells turns and images apart, so no instruction or label may hold it.
CONTROL_TOKEN = re.compile(r"<\|[a-z_]+\|>")


def control_token_in(text: str) -> str | None:
    """What is wrong with a text that holds one of the model's control tokens; None if it holds none."""
    found = CONTROL_TOKEN.search(text)
    return None if found is None else f"{found[0]}, which the model reads as a control token; remove it"


_BASE_LEFT_OUT = "the motion of the base is not part of `action`"


def base_left_out(dimensions: int) -> str:
    """What is said of an episode whose base moved, where the action does not have it."""
    return (
        f"{_BASE_LEFT_OUT}: base_action has {dimensions} dimensions, which are left out; an import appends them "
        "(--append-base, append_base in the profile)"
    )


def says_base_left_out(text: str) -> bool:
    return text.startswith(_BASE_LEFT_OUT)


class LabelSource(StrEnum):
    """Who made the substep reasonings of a file."""

    SCRIPTED = "scripted"
    HUMAN = "human"
    MACHINE_ACCEPTED = "machine_accepted"
    MACHINE_EDITED = "machine_edited"
    IMPORTED = "imported"


class StepSource(StrEnum):
    """Who commanded a step. hold: nobody, the robot kept its last target. disturbance: a mishap on purpose, which a
    recovery follows; nothing to be learnt from (dexvla.episodes.learnable)."""

    POLICY = "policy"
    HUMAN = "human"
    SCRIPTED = "scripted"
    HOLD = "hold"
    DISTURBANCE = "disturbance"


@dataclass(frozen=True, kw_only=True)
class EpisodeAttributes:
    """Facts about an episode, stored as attributes of its file; None is not stored.

    fps: control rate, Hz. held: object held by the receiving gripper alone at the end. seed: of the scene.
    reward: the highest of the episode, on the task's scale. fps_guessed: nobody said fps, its time stamps gave it.
    """

    sim: bool
    robot: str | None = None
    task: str | None = None
    fps: float | None = None
    success: bool | None = None
    held: bool | None = None
    seed: int | None = None
    render_profile: str | None = None
    reward: float | None = None
    fps_guessed: bool | None = None


# Names of a file's attributes that a scene may not take for its own.
TAKEN_ATTRIBUTES = frozenset(EpisodeAttributes.__dataclass_fields__)


def wrong_scene_attributes(attributes: Mapping[str, Any]) -> str | None:
    """Why a scene's own attributes could not be read again from a file; None for good ones."""
    if len(attributes) > MOST_SCENE_ATTRIBUTES:
        return f"there are {len(attributes)} of them, {MOST_SCENE_ATTRIBUTES} are allowed"
    for name, value in attributes.items():
        if name in TAKEN_ATTRIBUTES or name in (SCENE_ATTRIBUTES, LINEAGE, *DIMENSION_NAMES):
            return f"{name} is a name that every episode has; take another"
        if not SCENE_NAME.fullmatch(name):
            return f"{name!r} is no name of letters, digits and underscores"
        if not isinstance(value, (str, bool, int, float, np.bool_, np.integer, np.floating)):
            return f"{name} is a {type(value).__name__}, expected a text, a number or a flag"
        if isinstance(value, str) and len(value) > LONGEST_SCENE_WORD:
            return f"{name} has {len(value)} characters, {LONGEST_SCENE_WORD} are allowed"
    return None


@dataclass(frozen=True, kw_only=True)
class EpisodeData:
    """An episode in memory, as a recorder hands it over. Shapes as in the table at the top of this module.

    marks: 0 <= mark < T, rising.
    images: per camera either T encoded RGB JPEG byte strings or one (T, H, W, 3) uint8 array; one kind for all.
    extra_attributes: further attributes of the file, plain values only.
    """

    action: NDArray[np.floating[Any]]
    qpos: NDArray[np.floating[Any]]
    qvel: NDArray[np.floating[Any]] | None
    images: Mapping[str, Sequence[bytes] | NDArray[np.uint8]]
    instruction: str
    attributes: EpisodeAttributes
    paraphrases: Sequence[str] = ()
    substep_reasonings: Sequence[str] | None = None
    label_source: LabelSource | None = None
    joint_positions: NDArray[np.floating[Any]] | None = None
    action_sent: NDArray[np.floating[Any]] | None = None
    timestamp: NDArray[np.float64] | None = None
    image_timestamp: Mapping[str, NDArray[np.float64]] | None = None
    host_timestamp: NDArray[np.float64] | None = None
    step_source: Sequence[StepSource] | None = None
    marks: Sequence[int] | None = None
    extra_attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)

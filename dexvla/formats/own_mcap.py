"""The MCAP files that dexvla.formats.mcap writes, read back exactly: every float32, time, label and JPEG."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from dexvla.episodes import bounds
from dexvla.episodes.format import LabelSource, StepSource
from dexvla.episodes.jpeg import jpeg_size
from dexvla.episodes.lineage import lineage_read
from dexvla.episodes.segments import per_step
from dexvla.formats.bags import Bag
from dexvla.formats.base import FormatError, SourceCamera, SourceEpisode
from dexvla.formats.messages import image_of, numbers_of, velocities_of
from dexvla.formats.topics import frames_of
from dexvla.spec import FPS_LEAST, FPS_MOST, Lineage, Segment
from dexvla.spec.base import Spec

METADATA = "dexvla.episode"
TIMESTAMP = "timestamp"
HOST_TIMESTAMP = "host_timestamp"
IMAGE_TIMESTAMP = "image_timestamp/"


class Facts(Spec):
    """What has no place in messages. cameras: the topic of each. sources: who commanded the steps."""

    steps: int = Field(ge=1, le=bounds.MAX_STEPS)
    fps: float | None = Field(None, ge=FPS_LEAST, le=FPS_MOST)
    fps_guessed: bool = False
    sim: bool = False
    robot: str | None = None
    task: str | None = None
    seed: int | None = None
    success: bool | None = None
    held: bool | None = None
    render_profile: str | None = None
    reward: float | None = None
    sources: tuple[Segment, ...] | None = None
    marks: tuple[int, ...] | None = None
    instruction: str = ""
    paraphrases: tuple[str, ...] = ()
    substeps: tuple[Segment, ...] = ()
    label_source: LabelSource | None = None
    cameras: Mapping[str, str]
    tags: tuple[str, ...] = ()
    person: str | None = None
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    extra: Mapping[str, str | bool | int | float] = Field(default_factory=dict)
    lineage: Lineage | None = None


def own_episode(bag: Bag, name: str) -> SourceEpisode | None:
    """None where the recording is not, or no longer, as we wrote it: topics or messages are missing. It is then read
    as any other, and says so."""
    try:
        facts = Facts.model_validate(json.loads(bag.metadata[METADATA].get("facts", "")))
    except (ValidationError, ValueError, RecursionError):
        bag.warnings.append("what it says of itself as an episode cannot be read: it is read as any other recording")
        return None
    if not {"/state", "/action", *facts.cameras.values()} <= bag.topics.keys():
        bag.warnings.append("topics of the episode are missing in it: it is read as any other recording")
        return None
    more = [topic for topic in ("/action_sent", "/joint_positions") if topic in bag.topics]
    rows: dict[str, list[list[float]]] = {topic: [] for topic in ("/state", "/action", *more)}
    speeds: list[list[float]] = []
    first: dict[str, Any] = {}
    counts = dict.fromkeys(facts.cameras.values(), 0)
    try:
        for topic, _, message in bag.messages({*rows, *counts}):
            if topic in counts:
                counts[topic] += 1
                if topic not in first:
                    first[topic] = image_of(message)
                continue
            rows[topic].append(numbers_of(message, "")[1])
            if topic == "/state":
                speeds.append(velocities_of(message))
        motion = {topic: np.asarray(values, np.float64).astype(np.float32) for topic, values in rows.items()}
        velocity = np.asarray(speeds, np.float64).astype(np.float32)
    except (ValueError, ArithmeticError, AttributeError, TypeError) as error:
        raise FormatError(f"{bag.path}: not the messages of an episode ({error}); export it again") from error
    lengths = {**{topic: len(values) for topic, values in motion.items()}, **counts}
    if any(length != facts.steps for length in lengths.values()):
        bag.warnings.append(f"its topics do not have {facts.steps} messages each: it is read as any other recording")
        return None
    everything = np.arange(facts.steps)
    cameras = {}
    for camera, topic in facts.cameras.items():
        image = first[topic]
        height, width = jpeg_size(image) if isinstance(image, bytes) else image.shape[:2]
        cameras[camera] = SourceCamera(
            frames=frames_of(bag, topic, everything),
            jpeg=isinstance(image, bytes),
            height=height,
            width=width,
            timestamp=_seconds(bag, f"{IMAGE_TIMESTAMP}{camera}", facts.steps),
        )
    sources = _sources(facts)
    covered = facts.substeps and facts.substeps[-1].end == facts.steps
    return SourceEpisode(
        name=name,
        action=motion["/action"],
        qpos=motion["/state"],
        qvel=velocity if velocity.shape == motion["/state"].shape else None,
        cameras=cameras,
        timestamp=_seconds(bag, TIMESTAMP, facts.steps),
        fps=facts.fps,
        fps_guessed=facts.fps_guessed,
        instructions=tuple(text for text in (facts.instruction, *facts.paraphrases) if text),
        substeps=facts.substeps if covered else None,
        label_source=facts.label_source,
        success=facts.success,
        sim=facts.sim,
        robot=facts.robot,
        task=facts.task,
        seed=facts.seed,
        joint_positions=motion.get("/joint_positions"),
        action_sent=motion.get("/action_sent"),
        host_timestamp=_seconds(bag, HOST_TIMESTAMP, facts.steps),
        step_source=sources,
        marks=facts.marks,
        held=facts.held,
        render_profile=facts.render_profile,
        reward=facts.reward,
        state_names=facts.state_names,
        action_names=facts.action_names,
        extra=facts.extra,
        lineage=lineage_read(facts.lineage, facts.steps),
        warnings=tuple(bag.warnings),
    )


def _sources(facts: Facts) -> tuple[StepSource, ...] | None:
    names = per_step(facts.sources or ())
    if len(names) != facts.steps or not set(names) <= set(StepSource):
        return None
    return tuple(StepSource(name) for name in names)


def _seconds(bag: Bag, name: str, steps: int) -> NDArray[np.float64] | None:
    data = bag.attachments.get(name)
    return None if data is None or len(data) != 8 * steps else np.frombuffer(data, "<f8").astype(np.float64)

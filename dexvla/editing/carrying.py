"""Motion, times, labels and attributes of the sources -> those of the new episode. What cannot be carried truthfully is
left out, and told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dexvla.editing.places import joints, placed_steps
from dexvla.editing.timing import Clock, clock_of
from dexvla.episodes.arms import dimension_names
from dexvla.episodes.format import (
    DIMENSION_NAMES,
    SCENE_ATTRIBUTES,
    EpisodeAttributes,
    EpisodeData,
    LabelSource,
    StepSource,
    control_token_in,
)
from dexvla.episodes.lineage import lineage_attributes
from dexvla.episodes.reader import Episode
from dexvla.episodes.traits import moves
from dexvla.errors import EpisodeError
from dexvla.spec import Edit, EditKind, Lineage, Piece

_RATE = 50.0  # Hz, for episodes that do not say theirs
T = TypeVar("T")


def carry(episodes: Sequence[Episode], edit: Edit, identities: Sequence[str]) -> tuple[EpisodeData, tuple[str, ...]]:
    """(everything but the frames, what was left out in full sentences) of open sources.

    identities: of the sources. Raises EpisodeError where the sources do not fit together, or the edit not to them.
    """
    notes: list[str] = []
    _check(episodes, edit)
    used = _used(episodes, edit)
    clock = clock_of(episodes, edit.pieces, fps=_fps(used))
    notes += clock.notes
    labels, source = _labels(episodes, edit, notes)
    names = _names(episodes[edit.pieces[0].source], edit.dimensions)
    lineage = Lineage(
        kind=edit.kind,
        sources=tuple(identities),
        pieces=edit.pieces,
        cameras=edit.cameras,
        dimensions=edit.dimensions,
        **_joined(episodes, edit.pieces),
    )
    data = EpisodeData(
        action=_stacked(episodes, edit.pieces, lambda one: one.action),
        qpos=_stacked(episodes, edit.pieces, lambda one: one.qpos),
        qvel=_optional(episodes, edit, "qvel", lambda one: one.qvel if one.has_qvel else None, notes),
        images={},
        instruction=_instruction(used, edit),
        paraphrases=_paraphrases(used, edit),
        attributes=_attributes(episodes, edit, notes),
        substep_reasonings=labels,
        label_source=source,
        joint_positions=_optional(episodes, edit, "joint_positions", lambda one: one.joint_positions, notes),
        action_sent=_optional(episodes, edit, "action_sent", lambda one: one.action_sent, notes),
        timestamp=clock.seconds,
        image_timestamp=_image_times(episodes, edit, clock, notes),
        host_timestamp=_host_times(episodes, edit, notes),
        step_source=_step_source(episodes, edit),
        marks=_marks(episodes, edit),
        extra_attributes={**_extra(used), **lineage_attributes(lineage, names)},
    )
    return data, tuple(notes)


def _used(episodes: Sequence[Episode], edit: Edit) -> list[Episode]:
    """The sources that steps are taken of, in the order of their first."""
    return [episodes[number] for number in dict.fromkeys(piece.source for piece in edit.pieces)]


def _check(episodes: Sequence[Episode], edit: Edit) -> None:
    for piece in edit.pieces:
        if piece.source >= len(episodes):
            raise EpisodeError(f"a piece is of source {piece.source}, there are {len(episodes)}; count them from 0")
        one = episodes[piece.source]
        if piece.end > one.steps:
            raise EpisodeError(
                f"{one.path}: steps {piece.start}..{piece.end - 1} are none of this episode; it has 0..{one.steps - 1}"
            )
    used = _used(episodes, edit)
    first = used[0]
    for other in used[1:]:
        facts: list[tuple[str, Any, Any]] = [
            ("action dimensions", other.action.shape[1], first.action.shape[1]),
            ("state dimensions", other.qpos.shape[1], first.qpos.shape[1]),
            ("cameras", ", ".join(other.cameras), ", ".join(first.cameras)),
            ("sim", other.sim, first.sim),
            ("render profile", other.attributes.render_profile, first.attributes.render_profile),
            ("names of dimensions", other.dimension_names, first.dimension_names),
        ]
        if None not in (other.attributes.fps, first.attributes.fps):
            facts.append(("rate in Hz", other.attributes.fps, first.attributes.fps))
        wrong = next(((what, found, expected) for what, found, expected in facts if found != expected), None)
        if wrong is not None:
            raise EpisodeError(
                f"{other.path}: {wrong[0]} {wrong[1]}, but {first.path} has {wrong[2]}; what is joined must agree"
            )
        if (other.step_source is None) is not (first.step_source is None):
            says, silent = (first, other) if other.step_source is None else (other, first)
            raise EpisodeError(
                f"{silent.path}: does not say who commanded its steps, {says.path} does, and that decides what is "
                "learnt; join episodes that both say it, or none"
            )
    if unknown := [name for name in edit.cameras if name not in first.cameras]:
        raise EpisodeError(f"{first.path}: no camera {unknown[0]!r}; it has {', '.join(first.cameras)}")
    if len({edit.cameras.get(name, name) for name in first.cameras}) < len(first.cameras):
        raise EpisodeError(f"{first.path}: two cameras would have one name; it has {', '.join(first.cameras)}")
    if edit.instruction is not None and (wrong_text := control_token_in(edit.instruction)):
        raise EpisodeError(f"the instruction holds {wrong_text}")


# --- numbers ----------------------------------------------------------------------------------------------


def _stacked(
    episodes: Sequence[Episode], pieces: Sequence[Piece], part: Callable[[Episode], NDArray[Any]]
) -> NDArray[Any]:
    return np.concatenate([part(episodes[piece.source])[piece.start : piece.end] for piece in pieces])


def _optional(
    episodes: Sequence[Episode],
    edit: Edit,
    what: str,
    part: Callable[[Episode], NDArray[Any] | None],
    notes: list[str],
) -> NDArray[Any] | None:
    """None, told, where a source does not have it or has it in another shape."""
    found = [part(one) for one in _used(episodes, edit)]
    there = [values for values in found if values is not None]
    if not there:
        return None
    if len(there) < len(found) or len({values.shape[1:] for values in there}) > 1:
        notes.append(f"{what}: not all sources have it in one shape; left out")
        return None
    return np.concatenate([_of(part(episodes[piece.source]))[piece.start : piece.end] for piece in edit.pieces])


def _of(values: T | None) -> T:
    assert values is not None
    return values


def _image_times(
    episodes: Sequence[Episode], edit: Edit, clock: Clock, notes: list[str]
) -> dict[str, NDArray[np.float64]] | None:
    """On the clock of the steps; those that would run backwards at a joint are left out."""
    found: dict[str, NDArray[np.float64]] = {}
    for camera in _used(episodes, edit)[0].cameras:
        name = edit.cameras.get(camera, camera)
        parts = [episodes[piece.source].image_timestamp(camera) for piece in edit.pieces]
        if any(part is None for part in parts):
            if any(part is not None for part in parts):
                notes.append(f"time stamps of camera {name}: not all sources have them; left out")
            continue
        moved = np.concatenate(
            [
                _of(part)[piece.start : piece.end] + shift
                for part, piece, shift in zip(parts, edit.pieces, clock.shifts, strict=True)
            ]
        )
        if (moved[1:] < moved[:-1]).any():
            notes.append(f"time stamps of camera {name} would run backwards at a joint; left out")
            continue
        found[name] = moved
    return found or None


def _host_times(episodes: Sequence[Episode], edit: Edit, notes: list[str]) -> NDArray[np.float64] | None:
    """As they are: when each step was commanded does not change."""
    parts = [episodes[piece.source].host_timestamp for piece in edit.pieces]
    if any(part is None for part in parts):
        return None
    found = np.concatenate([_of(part)[piece.start : piece.end] for part, piece in zip(parts, edit.pieces, strict=True)])
    if (found[1:] < found[:-1]).any():
        notes.append("host_timestamp: the pieces are not in the order in which they were recorded; left out")
        return None
    return found


def _joined(episodes: Sequence[Episode], pieces: Sequence[Piece]) -> dict[str, tuple[int, ...]]:
    """joined_at and jumps_at of the new episode: of this edit, and of those before it."""
    here = joints(pieces)
    before = [one.lineage for one in episodes]
    old_joints = placed_steps([() if one is None else one.joined_at for one in before], pieces)
    old_jumps = placed_steps([() if one is None else one.jumps_at for one in before], pieces)
    starts = {0}  # a joint at whose step the new episode begins is none
    known = sorted({*here, *old_joints} - starts)
    qpos = np.asarray(_stacked(episodes, pieces, lambda one: one.qpos), np.float64)
    between = np.abs(np.diff(qpos, axis=0))
    within = np.delete(between, [step - 1 for step in known], axis=0)
    most = within.max(axis=0, initial=0.0) if len(within) else np.zeros(qpos.shape[1])
    jumps = [step for step in here if (between[step - 1] > most).any()]
    return {
        "joined_at": tuple(known),
        "jumps_at": tuple(sorted({*jumps, *old_jumps} - starts)),
    }


# --- words ------------------------------------------------------------------------------------------------


def _instruction(used: Sequence[Episode], edit: Edit) -> str:
    if edit.instruction is not None:
        return edit.instruction
    for other in used[1:]:
        if other.instruction != used[0].instruction:
            raise EpisodeError(
                f"{other.path}: its instruction is {other.instruction!r}, that of {used[0].path} is "
                f"{used[0].instruction!r}; give one for the new episode"
            )
    return used[0].instruction


def _paraphrases(used: Sequence[Episode], edit: Edit) -> tuple[str, ...]:
    """Those of the same instruction."""
    if edit.instruction is not None and any(edit.instruction not in one.wordings.texts[:1] for one in used):
        return ()
    return _agreed([one.paraphrases for one in used], ())


def _labels(episodes: Sequence[Episode], edit: Edit, notes: list[str]) -> tuple[list[str] | None, LabelSource | None]:
    used = _used(episodes, edit)
    there = [one for one in used if one.substep_reasonings is not None]
    if not there:
        return None, None
    if len(there) < len(used):
        notes.append("substeps: not all sources have labels; left out")
        return None, None
    texts = [
        text
        for piece in edit.pieces
        for text in _of(episodes[piece.source].substep_reasonings)[piece.start : piece.end]
    ]
    said = {one.label_source for one in used}
    word = said.pop() if len(said) == 1 else None
    return texts, LabelSource(word) if word in list(LabelSource) else LabelSource.IMPORTED


def _step_source(episodes: Sequence[Episode], edit: Edit) -> list[StepSource] | None:
    if _used(episodes, edit)[0].step_source is None:
        return None
    return [
        source for piece in edit.pieces for source in _of(episodes[piece.source].step_source)[piece.start : piece.end]
    ]


def _marks(episodes: Sequence[Episode], edit: Edit) -> tuple[int, ...] | None:
    marks = [one.marks for one in episodes]
    if all(marks[piece.source] is None for piece in edit.pieces):
        return None
    return placed_steps([each or () for each in marks], edit.pieces)


def _names(episode: Episode, wanted: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What the dimensions are called from now on. Raises EpisodeError for one that is not there."""
    if not wanted:
        return dict(episode.dimension_names)
    found: dict[str, tuple[str, ...]] = {}
    known: set[str] = set()
    for attribute, count in zip(DIMENSION_NAMES, (episode.qpos.shape[1], episode.action.shape[1]), strict=True):
        names = episode.dimension_names.get(attribute) or dimension_names(episode.attributes.robot, count)
        known.update(name for number, each in enumerate(names) for name in (each, str(number)) if name in wanted)
        new = tuple(wanted.get(name, wanted.get(str(number), name)) for number, name in enumerate(names))
        if len(set(new)) < len(new):
            raise EpisodeError(f"{episode.path}: two dimensions would have one name; they are {', '.join(names)}")
        found[attribute] = new
    if unknown := next((name for name in wanted if name not in known), None):
        raise EpisodeError(
            f"{episode.path}: no dimension {unknown!r}; it has {', '.join(names)}, or their numbers from 0"
        )
    if wrong := next((name for name in wanted.values() if not name.strip() or "," in name), None):
        raise EpisodeError(f"a dimension cannot be named {wrong!r}; expected a name without commas")
    if any(len(", ".join(each)) > 1000 for each in found.values()):
        raise EpisodeError("the names of all dimensions together are longer than 1000 characters; shorten them")
    return found


# --- facts ------------------------------------------------------------------------------------------------


def _agreed(values: Sequence[T], otherwise: T) -> T:
    """What all say."""
    return values[0] if all(value == values[0] for value in values[1:]) else otherwise


def _fps(used: Sequence[Episode]) -> float | None:
    return next((one.attributes.fps for one in used if one.attributes.fps is not None), None)


def _attributes(episodes: Sequence[Episode], edit: Edit, notes: list[str]) -> EpisodeAttributes:
    """What all sources agree on; how it ended is what the source of the last piece says."""
    used = _used(episodes, edit)
    said = [one.attributes for one in used]
    agreed: dict[str, Any] = {}
    for name in ("robot", "task", "seed"):
        agreed[name] = _agreed([getattr(one, name) for one in said], None)
        if agreed[name] is None and any(getattr(one, name) is not None for one in said):
            notes.append(f"{name}: the sources say different ones; left out")
    last = edit.pieces[-1]
    found = replace(
        episodes[last.source].attributes,
        **agreed,
        fps=_fps(used),
        fps_guessed=True if any(one.fps_guessed for one in said) else None,
    )
    if len(used) > 1 and found.reward is not None:
        found = replace(found, reward=None)
        notes.append("reward: it was that of one source; left out")
    if edit.outcome is not None:
        outcome = {"success": True, "failure": False, "unknown": None}[edit.outcome]
        if outcome is not found.success:  # somebody knows better; what the source says of its end is void
            return replace(found, success=outcome, held=None, reward=None)
    ended = (found.success, found.held, found.reward)
    if ended == (None, None, None):
        return found
    rest = _motion_after(episodes[last.source], last.end)
    if rest and edit.kind is EditKind.SPLIT:
        notes.append("outcome: the episode went on behind this part; left out")
        return replace(found, success=None, held=None, reward=None)
    if rest:
        notes.append(
            f"outcome: that of the whole episode is kept, though {rest} steps of motion at its end are not; mark "
            "another one if it is not true any more"
        )
    return found


def _motion_after(episode: Episode, end: int) -> int:
    """Steps from `end` on at which something moves."""
    return int(moves(episode.qpos, episode.attributes.fps or _RATE)[end:].sum())


def _extra(used: Sequence[Episode]) -> dict[str, str | bool | float]:
    """What is said of scene, mishaps and corrections, where all say the same."""
    scenes = [one.scene_attributes for one in used]
    scene = {key: value for key, value in scenes[0].items() if all(one.get(key) == value for one in scenes)}
    listed = {SCENE_ATTRIBUTES: ", ".join(scene)} if scene else {}
    others = [one.recovery_attributes for one in used]
    recovery = {key: value for key, value in others[0].items() if all(one.get(key) == value for one in others)}
    return {**scene, **listed, **recovery}

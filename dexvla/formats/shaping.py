"""One episode of a source and the profile of its import -> what our episode file holds.

In this order: broken steps cut off, times judged, dimensions picked, degrees and grippers converted, the base's motion
appended, actions shifted, cameras picked, named and their colours told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.format import (
    DIMENSION_NAMES,
    EpisodeAttributes,
    EpisodeData,
    LabelSource,
    base_left_out,
    control_token_in,
    says_base_left_out,
)
from dexvla.episodes.jpeg import decode_jpeg
from dexvla.episodes.lineage import lineage_attributes, lineage_within
from dexvla.episodes.names import renamed_told, safe_names
from dexvla.episodes.segments import per_step
from dexvla.episodes.streaming import CameraStream
from dexvla.episodes.times import Times, guess_told, judge
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceCamera, SourceEpisode
from dexvla.spec import FPS_LEAST, FPS_MOST, CameraProfile, Colours, ImportProfile
from dexvla.spec.formats import AngleUnit


@dataclass(frozen=True, kw_only=True)
class Shaped:
    """data: its images are in `cameras`, in the order that the profile names them. warnings, guesses: of the source and
    of what was done here. about_times: those of the warnings that are about rate and time stamps."""

    data: EpisodeData
    cameras: dict[str, CameraStream]
    warnings: tuple[str, ...]
    guesses: tuple[Guess, ...]
    about_times: tuple[str, ...]


def shape(episode: SourceEpisode, profile: ImportProfile, *, folder: str, steps: int) -> Shaped:
    """Apply the profile to the first `steps` steps. folder: name of the folder that the source lies in.

    Raises FormatError for what the profile asks for and the episode does not have.
    """
    warnings = [text for text in episode.warnings if not (profile.append_base and says_base_left_out(text))]
    if steps < episode.steps:
        warnings.append(f"steps {steps} to {episode.steps - 1} of {episode.steps} are broken and were cut off")
    about_times: list[str] = []
    rate, times = _rate_and_times(episode, profile, about_times)
    guesses = [guess for guess in episode.guesses if guess.about is not GuessAbout.FPS or guess == rate.guess]
    guesses += [rate.guess] if rate.guess is not None and rate.guess not in guesses else []
    warnings += about_times
    action, qpos, qvel = _motion(episode, profile, warnings)
    first, last, shift = 0, steps, profile.action_shift
    if abs(shift) >= steps:
        raise FormatError(f"action_shift is {shift}, but there are {steps} steps; give a smaller one")
    if shift:
        action = action[max(shift, 0) : steps + min(shift, 0)]
        first, last = max(-shift, 0), steps - max(shift, 0)
        warnings.append(f"actions are moved {shift} steps earlier; {last - first} of {steps} steps are left")
    kept = slice(first, last)

    def cut(values: Any) -> Any:
        return None if values is None else values[kept]

    instruction, paraphrases, _ = instruction_of(episode, profile, folder=folder)
    if episode.instruction_problem:
        warnings.append(f"{episode.instruction_problem}; the instruction was taken from elsewhere")
    labels = None if episode.substeps is None else per_step(episode.substeps)[kept]
    if labels is not None and (empty := sum(not text.strip() for text in labels)):
        warnings.append(f"{empty} of {len(labels)} steps have an empty label")
        labels = None if empty == len(labels) else labels
    for text in (instruction, *paraphrases, *dict.fromkeys(labels or ())):
        if wrong := control_token_in(text):
            raise FormatError(f"the instruction or a label holds {wrong}")
    cameras, stamps = _cameras(episode, profile, first, last, times, warnings)
    data = EpisodeData(
        action=action if shift else action[kept],
        qpos=qpos[kept],
        qvel=cut(qvel),
        images={},
        instruction=instruction,
        paraphrases=paraphrases,
        attributes=EpisodeAttributes(
            sim=episode.sim,
            robot=profile.robot or episode.robot,
            task=episode.task,
            fps=rate.fps,
            fps_guessed=True if rate.guess is not None else None,
            success=episode.success,
            held=episode.held,
            seed=episode.seed,
            render_profile=episode.render_profile,
            reward=episode.reward,
        ),
        substep_reasonings=labels,
        label_source=None if labels is None else (episode.label_source or LabelSource.IMPORTED),
        joint_positions=cut(episode.joint_positions),
        action_sent=_action_sent(episode, profile, action.shape[1], kept, warnings),
        timestamp=None if times is None else cut(times.seconds),
        image_timestamp=stamps or None,
        host_timestamp=cut(episode.host_timestamp),
        step_source=cut(episode.step_source),
        marks=None if episode.marks is None else [mark - first for mark in episode.marks if first <= mark < last],
        extra_attributes={
            **episode.extra,
            **_dimension_names(episode, profile),
            **lineage_attributes(episode.lineage and lineage_within(episode.lineage, first, last), {}),
        },
    )
    return Shaped(
        data=data,
        cameras=cameras,
        warnings=tuple(dict.fromkeys(warnings)),
        guesses=tuple(guesses),
        about_times=tuple(dict.fromkeys(about_times)),
    )


def instruction_of(episode: SourceEpisode, profile: ImportProfile, *, folder: str) -> tuple[str, tuple[str, ...], str]:
    """The instruction, its other wordings, and where it was found, in the words of `instruction_from`.

    Raises FormatError where nobody gives one, saying what to give.
    """
    own = [" ".join(text.split()) for text in episode.instructions if text.strip()]
    listed = _listed(episode.name, folder, profile.instruction_table)
    places: dict[str, str | None] = {
        "file": own[0] if own else None,
        "folder": folder.replace("_", " ").replace("-", " ").strip() or None,
        "table": listed,
        "text": profile.instruction,
    }
    order = dict.fromkeys((profile.instruction_from, "table", "text"))
    place = next((place for place in order if places[place]), None)
    found = None if place is None else places[place]
    if place is None or found is None:
        raise FormatError(
            f"{episode.instruction_problem or 'it has no instruction'}; give one for all episodes (--instruction "
            "TEXT), take the folder's name (--instruction-from folder), or a CSV or JSON table of episode and "
            "instruction (--instruction-table FILE)"
        )
    others = tuple(dict.fromkeys(text for text in own[1:] if text != found)) if found == (own or [""])[0] else ()
    return found, others, place


def _listed(name: str, folder: str, table: dict[str, str]) -> str | None:
    """From the table: by the whole name, its last part, that without its ending, its number, the folders above it."""
    path = PurePosixPath(name)
    number = "".join(letter if letter.isdecimal() else " " for letter in path.stem).split()
    keys = [
        name,
        path.with_suffix("").as_posix(),
        path.name,
        path.stem,
        *number[-1:],
        *(n.lstrip("0") for n in number[-1:]),
    ]
    keys += [*reversed(path.parts[:-1]), folder]
    return next((table[key] for key in keys if key in table), None)


@dataclass(frozen=True)
class _Rate:
    """fps: Hz, None where nobody knows it. guess: that it is one."""

    fps: float | None
    guess: Guess | None = None


def _rate_and_times(episode: SourceEpisode, profile: ImportProfile, said: list[str]) -> tuple[_Rate, Times | None]:
    """The rate that somebody says, else that of the time stamps, else the source's guess; and the judged stamps."""
    stated = episode.fps
    if stated is not None and not FPS_LEAST <= stated <= FPS_MOST:
        said.append(f"fps: {stated:g} Hz is none of a robot ({FPS_LEAST:g} to {FPS_MOST:g} Hz); left out")
        stated = None
    known = None if episode.fps_guessed else stated
    given = profile.fps is not None and (known is None or profile.fps_from == "profile")
    fps = profile.fps if given else known
    times = _times(episode, fps, said)
    if known is not None and profile.fps is not None and profile.fps != known:
        which = (
            f"{profile.fps:g} Hz as the profile says; the source's {known:g} Hz does not count"
            if given
            else f"{known:g} Hz as the source says; the profile's {profile.fps:g} Hz was not needed"
        )
        said.append(f"fps: {which}")
    if fps is not None:
        return _Rate(fps), times
    if times is not None and times.fps is not None and FPS_LEAST <= times.fps <= FPS_MOST:
        return _Rate(times.fps, Guess(GuessAbout.FPS, guess_told(times.fps))), times
    if stated is not None:
        told = next((guess for guess in episode.guesses if guess.about is GuessAbout.FPS), None)
        return _Rate(stated, told or Guess(GuessAbout.FPS, f"fps: {stated:g} Hz, which was a guess before")), times
    said.append("nobody says how many steps a second there are; give it (--fps)")
    return _Rate(None), times


def _times(episode: SourceEpisode, fps: float | None, warnings: list[str]) -> Times | None:
    if episode.timestamp is None:
        return None
    if episode.timestamp.shape != (episode.steps,):
        warnings.append(f"timestamp has shape {episode.timestamp.shape}, expected ({episode.steps},); left out")
        return None
    times = judge(episode.timestamp, fps=fps)
    warnings += times.said
    return times


def _motion(
    episode: SourceEpisode, profile: ImportProfile, warnings: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    action = _converted(_picked(episode.action, profile.action, "action"), profile)
    qpos = _converted(_picked(episode.qpos, profile.state, "state"), profile)
    qvel = episode.qvel
    if qvel is not None:
        qvel = _converted(_picked(qvel, profile.state, "state"), profile, speed=True)
        if not np.isfinite(qvel).all():
            warnings.append("qvel holds values that are not finite; left out")
            qvel = None
    if profile.append_base:
        if episode.base_action is None:
            raise FormatError("append_base is set, but it has no motion of a base; leave append_base out")
        action = np.concatenate([action, episode.base_action], axis=1)
    elif episode.base_action is not None and not any(map(says_base_left_out, warnings)):
        warnings.insert(0, base_left_out(episode.base_action.shape[1]))
    return action, qpos, qvel


def _picked(values: NDArray[np.float32], wanted: tuple[int, ...] | None, what: str) -> NDArray[np.float32]:
    if wanted is None:
        return values
    beyond = [index for index in wanted if not 0 <= index < values.shape[1]]
    if beyond or not wanted:
        raise FormatError(f"{what} dimensions {list(wanted)} are asked for, it has 0 to {values.shape[1] - 1}")
    return np.ascontiguousarray(values[:, list(wanted)])


def _converted(values: NDArray[np.float32], profile: ImportProfile, *, speed: bool = False) -> NDArray[np.float32]:
    """Degrees to radians and grippers to 0 closed .. 1 open; in float64, rounded once. speed: values are per second."""
    if profile.angles is AngleUnit.RADIANS and not profile.grippers:
        return values
    exact = values.astype(np.float64)
    grippers = {gripper.dimension for gripper in profile.grippers}
    if profile.angles is AngleUnit.DEGREES:
        angles = [index for index in range(values.shape[1]) if index not in grippers]
        exact[:, angles] = np.deg2rad(exact[:, angles])
    for gripper in profile.grippers:
        if gripper.dimension >= values.shape[1]:
            raise FormatError(
                f"gripper dimension {gripper.dimension} is named, but there are 0 to {values.shape[1] - 1}"
            )
        zero = 0.0 if speed else gripper.closed
        exact[:, gripper.dimension] = (exact[:, gripper.dimension] - zero) / (gripper.opened - gripper.closed)
    return exact.astype(np.float32)


def _action_sent(
    episode: SourceEpisode, profile: ImportProfile, dimensions: int, kept: slice, warnings: list[str]
) -> NDArray[np.float32] | None:
    """Brought into the same form as the action; left out where it has another one."""
    if episode.action_sent is None:
        return None
    if episode.action_sent.shape == episode.action.shape:
        sent = _converted(_picked(episode.action_sent, profile.action, "action"), profile)
        if sent.shape[1] == dimensions:
            return sent[kept]
    warnings.append("action_sent has other dimensions than the action; left out")
    return None


def _cameras(
    episode: SourceEpisode, profile: ImportProfile, first: int, last: int, times: Times | None, warnings: list[str]
) -> tuple[dict[str, CameraStream], dict[str, NDArray[np.float64]]]:
    wanted = profile.cameras or tuple(
        CameraProfile(source=name, name=None, colours=None) for name in episode.cameras if name
    )
    missing = [camera.source for camera in wanted if camera.source not in episode.cameras]
    if missing or not wanted:
        raise FormatError(
            f"no camera {', '.join(map(repr, missing)) or 'at all'}; it has {', '.join(map(repr, episode.cameras))}"
        )
    own = safe_names(camera.source for camera in wanted if camera.name is None)
    warnings += renamed_told(own)
    streams: dict[str, CameraStream] = {}
    stamps: dict[str, NDArray[np.float64]] = {}
    for each in wanted:
        name = each.name if each.name is not None else own[each.source]
        if name in streams:
            raise FormatError(f"two cameras are to be named {name!r}; give them different names")
        camera = episode.cameras[each.source]
        streams[name] = stream_of(camera, each, profile, first=first)
        if camera.timestamp is not None and times is not None and times.seconds is not None:
            if camera.timestamp.shape == (episode.steps,) and np.isfinite(camera.timestamp).all():
                stamps[name] = times.likewise(camera.timestamp)[first:last]
            else:
                warnings.append(f"time stamps of camera {name} do not fit its steps; left out")
    return streams, stamps


def stream_of(camera: SourceCamera, said: CameraProfile, profile: ImportProfile, *, first: int = 0) -> CameraStream:
    """Its frames from step `first` on, as the profile has them: colours told, turned where it is to be."""
    colours = said.colours or profile.colours
    swapped = camera.swapped if colours is None else colours is Colours.BGR
    turned = is_turned(camera, said, profile)

    def frames() -> Iterator[bytes | NDArray[np.uint8]]:
        for frame in islice(camera.frames(), first, None):
            yield turned_frame(frame) if turned else frame

    return CameraStream(
        frames=frames,
        jpeg=camera.jpeg and not turned,  # what is turned becomes pixels: coded anew it would lose
        height=camera.height,
        width=camera.width,
        swapped=swapped,
    )


def is_turned(camera: SourceCamera, said: CameraProfile, profile: ImportProfile) -> bool:
    """Whether its frames are turned by 180 degrees."""
    return next((one for one in (said.turned, profile.turned) if one is not None), camera.upside_down)


def turned_frame(frame: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """By 180 degrees, as pixels in the order of channels that it has. Raises ValueError for what is no JPEG."""
    pixels = decode_jpeg(frame) if isinstance(frame, bytes) else frame
    return np.ascontiguousarray(pixels[::-1, ::-1])


def _dimension_names(episode: SourceEpisode, profile: ImportProfile) -> dict[str, str]:
    """Attributes that name the dimensions, where the source does and they can be read again."""
    named = {}
    for attribute, names, wanted, count in (
        (DIMENSION_NAMES[0], episode.state_names, profile.state, episode.qpos.shape[1]),
        (DIMENSION_NAMES[1], episode.action_names, profile.action, episode.action.shape[1]),
    ):
        if len(names) == count:
            picked = [" ".join(name.split()) for name in (names if wanted is None else [names[n] for n in wanted])]
            joined = ", ".join(picked)
            if len(joined) <= bounds.MAX_WORD and all(picked) and not any(", " in name for name in picked):
                named[attribute] = joined
    return named

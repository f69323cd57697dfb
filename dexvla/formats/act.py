"""ACT and what descends from it: ACT++, ALOHA, Mobile ALOHA, AgileX, Interbotix, upstream DexVLA, and our own files.

One HDF5 file an episode, read by `dexvla.episodes.reader`, which knows the kinds of images and what may be left out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.finding import is_episode_file
from dexvla.episodes.format import LabelSource
from dexvla.episodes.reader import Episode, open_episode
from dexvla.episodes.segments import run_length
from dexvla.episodes.wordings import NO_INSTRUCTION
from dexvla.errors import EpisodeError
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceCamera, SourceEpisode
from dexvla.formats.carried import own_attributes
from dexvla.formats.hdf5_files import shown_files
from dexvla.formats.sources import inside
from dexvla.spec import ImportProfile

_LOOKED_AT = 3  # files of a folder, to tell its format


class ActImporter:
    name = "act"
    title = "ACT, ALOHA and DexVLA HDF5"

    def recognises(self, source: Path) -> bool:
        if source.is_file():
            return is_episode_file(source) and _looks_like_one(source)
        try:
            files = shown_files(source)
        except EpisodeError:
            return False
        return any(_looks_like_one(file) for file in files[:_LOOKED_AT])

    def episodes(self, source: Path) -> Sequence[str]:
        if source.is_file():
            return [source.name]
        try:
            files = shown_files(source)
        except EpisodeError as error:
            raise FormatError(str(error)) from error
        if not files:
            raise FormatError(f"{source}: its HDF5 files lie in hidden folders alone; move them out of those")
        return [file.relative_to(source).as_posix() for file in files]

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        for said, entry, only in (
            ("state_entry", profile.state_entry, "observations/qpos"),
            ("action_entry", profile.action_entry, "action"),
        ):
            if entry not in (None, only):
                raise FormatError(f"{source}: {said} is {entry!r}, but this format has {only} alone; leave {said} out")
        path = source if source.is_file() else inside(source, source / name, named_by=str(source))
        with open_episode(path) as episode:
            yield _episode(episode, name, profile)


ACT = ActImporter()


def _looks_like_one(path: Path) -> bool:
    """Also true for a file that is broken: opening it says what is wrong with it."""
    try:
        with h5py.File(path, "r") as file:
            names = set(file)
            if "action" in names and isinstance(file.get("action", getlink=True), h5py.HardLink):
                return isinstance(file["action"], h5py.Dataset)
            return "observations" in names
    except (OSError, RuntimeError, KeyError, ValueError):
        return True


def _episode(episode: Episode, name: str, profile: ImportProfile) -> SourceEpisode:
    labels = episode.substep_reasonings
    known = {member.value: member for member in LabelSource}
    facts = episode.attributes
    return SourceEpisode(
        name=name,
        action=episode.action,
        qpos=episode.qpos,
        cameras={camera: _camera(episode, camera) for camera in episode.cameras},
        qvel=episode.qvel if episode.has_qvel else None,
        timestamp=episode.stored_timestamp,
        fps=facts.fps,
        fps_guessed=facts.fps_guessed is True,
        instructions=episode.wordings.texts,
        instruction_problem=episode.wordings.problem if _unread_instruction(episode) else "",
        substeps=None if labels is None else run_length(labels),
        label_source=known.get(episode.label_source or "", LabelSource.IMPORTED),
        success=facts.success,
        sim=episode.sim,
        robot=facts.robot,
        task=facts.task,
        seed=facts.seed,
        state_names=episode.state_names,
        action_names=episode.action_names,
        base_action=episode.base_action,
        warnings=_warnings(episode),
        guesses=_guesses(episode, profile),
        extra=own_attributes(episode),
        lineage=episode.lineage,
        joint_positions=episode.joint_positions,
        action_sent=episode.action_sent,
        host_timestamp=episode.host_timestamp,
        step_source=episode.step_source,
        marks=episode.marks,
        held=facts.held,
        render_profile=facts.render_profile,
        reward=facts.reward,
    )


def _unread_instruction(episode: Episode) -> bool:
    """Whether there is a text in the place of the instruction that cannot be taken."""
    return not episode.wordings.texts and episode.wordings.problem != NO_INSTRUCTION


def _camera(episode: Episode, camera: str) -> SourceCamera:
    height, width = _size(episode, camera)
    swapped = episode.is_swapped(camera)
    jpeg = episode.is_jpeg(camera)

    def frame(step: int) -> bytes | NDArray[np.uint8]:
        stored = episode.stored_frame(camera, step)
        if jpeg:
            return stored.tobytes().rstrip(b"\0")
        return stored[..., ::-1] if swapped else stored  # as a decoder gives it: the writer turns it back

    return SourceCamera(
        frames=lambda: map(frame, range(episode.steps)),
        jpeg=jpeg,
        height=height,
        width=width,
        swapped=swapped,
        timestamp=episode.stored_image_timestamp(camera),
        frame=frame,
    )


def _size(episode: Episode, camera: str) -> tuple[int, int]:
    """Of the first frame that has a header; a broken first one does not hide what the others are."""
    first: EpisodeError | None = None
    for step in dict.fromkeys((0, episode.steps // 2, episode.steps - 1)):
        try:
            return episode.frame_size(camera, step)
        except EpisodeError as error:
            first = first or error
    assert first is not None
    raise first


def _warnings(episode: Episode) -> tuple[str, ...]:
    """All of the reader's but those about time, which the import judges itself."""
    about_time = () if episode.times is None else episode.times.said
    return tuple(text for text in episode.warnings if text not in about_time)


def _guesses(episode: Episode, profile: ImportProfile) -> tuple[Guess, ...]:
    """Of the colours: no file without our mark says which order its encoded rows have."""
    told = {camera.source for camera in profile.cameras or () if camera.colours is not None}
    if profile.colours is not None:
        return ()
    guessed = [camera for camera in episode.cameras if episode.is_swapped(camera) and camera not in told]
    if not guessed or episode.colours_told:
        return ()
    text = (
        f"colours of {', '.join(guessed)}: read as OpenCV's tools write them, with red and blue swapped in the rows; "
        "look at a frame: red has to be red (else --colours rgb)"
    )
    return (Guess(GuessAbout.COLOURS, text, tuple(guessed)),)

"""In: DROID's raw episodes, trajectory.h5 with the videos of its cameras beside it (recordings/MP4/SERIAL.mp4)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from dexvla.episodes import bounds
from dexvla.episodes.entries import Entries
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceCamera, SourceEpisode
from dexvla.formats.hdf5_files import any_looks_like, asked, episode_files, joined, opened, text_of
from dexvla.formats.sources import files_of
from dexvla.formats.videos import read_video, video_facts
from dexvla.spec import ImportProfile

_STATE = ("observation/robot_state/joint_positions", "observation/robot_state/gripper_position")
_ACTION = ("action/joint_position", "action/gripper_position")
_TIMES = "observation/timestamp/control/step_start"  # milliseconds since 1970


class DroidImporter:
    name = "droid"
    title = "DROID (trajectory.h5 and videos)"

    def recognises(self, source: Path) -> bool:
        return any_looks_like(source, lambda file: "action" in file and "observation/robot_state" in file)

    def episodes(self, source: Path) -> Sequence[str]:
        files = episode_files(source)
        if not files:
            raise FormatError(f"{source}: no trajectory.h5; expected one in the folder of each episode")
        return [file.name if source.is_file() else file.relative_to(source).as_posix() for file in files]

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        path = source if source.is_file() else source / name
        with opened(path) as entries:
            yield _episode(entries, path, name, profile)


def _episode(entries: Entries, path: Path, name: str, profile: ImportProfile) -> SourceEpisode:
    guesses: list[Guess] = []
    action = joined(entries, asked(profile.action_entry) or _there(entries, _ACTION, GuessAbout.ACTION, guesses))
    qpos = joined(entries, asked(profile.state_entry) or _there(entries, _STATE, GuessAbout.STATE, guesses))
    attributes = entries.file.attrs
    text = text_of(bounds.read_attribute(attributes, "current_task")) if "current_task" in attributes else None
    flag = bounds.read_attribute(attributes, "success") if "success" in attributes else None
    warnings: list[str] = []
    return SourceEpisode(
        name=name,
        action=action,
        qpos=qpos,
        cameras=_cameras(path, len(action), warnings),
        timestamp=entries.optional(lambda: entries.column(_TIMES, len(action))) if entries.has(_TIMES) else None,
        instructions=(text,) if text else (),
        success=bool(flag) if isinstance(flag, (bool, np.bool_)) else None,
        warnings=(*warnings, *entries.warnings),
        guesses=tuple(guesses),
    )


def _there(entries: Entries, names: tuple[str, str], about: GuessAbout, guesses: list[Guess]) -> list[str]:
    """Joints and gripper; the joints alone, told, where there is no gripper."""
    joints, gripper = names
    if entries.has(gripper) or not entries.has(joints):
        return list(names)
    guesses.append(Guess(about, f"{about} is {joints} alone: the file has no {gripper}"))
    return [joints]


def _cameras(path: Path, steps: int, warnings: list[str]) -> dict[str, SourceCamera]:
    folder = path.parent / "recordings" / "MP4"
    videos = files_of(folder, (".mp4",), root=path.parent) if folder.is_dir() else []
    found = {}
    for video in videos:
        facts = video_facts(video)
        if facts.frames < steps:
            warnings.append(f"camera {video.stem}: {facts.frames} frames for {steps} steps; left out")
            continue
        if facts.frames > steps:
            warnings.append(f"camera {video.stem}: {facts.frames - steps} frames after the last step are left out")
        found[video.stem] = SourceCamera(
            frames=partial(read_video, video, steps), jpeg=False, height=facts.height, width=facts.width
        )
    if not found:
        raise FormatError(
            f"{path}: no images{f' ({why})' if (why := '; '.join(warnings)) else ''}; expected videos of its cameras, "
            f"with a frame for each of {steps} steps, at {folder}: copy DROID's recordings/MP4 beside it (SVO files "
            "cannot be read)"
        )
    return found


DROID = DroidImporter()

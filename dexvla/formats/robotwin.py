"""In: RoboTwin's raw HDF5, an episode a file, with its instructions beside it (instructions/episode0.json)."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from dexvla.episodes.entries import Entries
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceEpisode
from dexvla.formats.hdf5_files import any_looks_like, asked, camera_of, episode_files, joined, opened
from dexvla.spec import ImportProfile

_ARMS = ("left_arm", "left_gripper", "right_arm", "right_gripper")
_INSTRUCTION_BYTES = 2**22


class RoboTwinImporter:
    name = "robotwin"
    title = "RoboTwin HDF5"

    def recognises(self, source: Path) -> bool:
        return any_looks_like(source, lambda file: "joint_action" in file and "observation" in file)

    def episodes(self, source: Path) -> Sequence[str]:
        files = episode_files(source)
        if not files:
            raise FormatError(f"{source}: no HDF5 file; expected episode0.hdf5 ... with joint_action and observation")
        return [file.name if source.is_file() else file.relative_to(source).as_posix() for file in files]

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        path = source if source.is_file() else source / name
        with opened(path) as entries:
            yield _episode(entries, source, path, name, profile)


def _episode(entries: Entries, source: Path, path: Path, name: str, profile: ImportProfile) -> SourceEpisode:
    state = asked(profile.state_entry) or _joints(entries)
    qpos = joined(entries, state)
    chosen = asked(profile.action_entry)
    guesses = []
    if chosen:
        action = joined(entries, chosen)
    else:  # it stores where the joints are; what was asked of them is where they are a step later
        action = np.concatenate([qpos[1:], qpos[-1:]])
        text = "each action is the state of the next step, the last one is repeated: the file stores no actions"
        guesses.append(Guess(GuessAbout.ACTION, text))
    cameras, swapped = {}, []
    observation = entries.file["observation"]
    for camera in observation:
        if isinstance(observation[camera], h5py.Group) and "rgb" in observation[camera]:
            name = f"observation/{camera}/rgb"
            rows = getattr(observation[camera]["rgb"], "ndim", 0) < 4  # pixels are as the simulator gave them
            swapped += [camera] if rows and profile.colours is None else []
            cameras[camera] = camera_of(entries, name, len(qpos), swapped=rows and profile.colours is None)
    if not cameras:
        raise entries.unfit(f"no images at observation/CAMERA/rgb; {entries.beside('observation/head_camera')}")
    if swapped:
        text = (
            f"colours of {', '.join(sorted(swapped))}: read as RoboTwin writes them with OpenCV, red and blue "
            "swapped in the rows; look at a frame: red has to be red (else --colours rgb)"
        )
        guesses.append(Guess(GuessAbout.COLOURS, text, tuple(sorted(swapped))))
    return SourceEpisode(
        name=name,
        action=action,
        qpos=qpos,
        cameras=cameras,
        instructions=_instructions(source, path),
        sim=True,
        warnings=tuple(entries.warnings),
        guesses=tuple(guesses),
    )


def _joints(entries: Entries) -> list[str]:
    if entries.has("joint_action/vector"):
        return ["joint_action/vector"]
    return [f"joint_action/{part}" for part in _ARMS if entries.has(f"joint_action/{part}")] or ["joint_action/vector"]


def _instructions(source: Path, path: Path) -> tuple[str, ...]:
    """All wordings for training, from the folder beside the one of the data; none where it is not there."""
    for folder in (path.parent, path.parent.parent):
        file = folder / "instructions" / f"{path.stem}.json"
        if not file.is_file() or not (source.is_file() or file.resolve().is_relative_to(source.resolve())):
            continue
        if file.stat().st_size > _INSTRUCTION_BYTES:
            raise FormatError(f"{file}: {file.stat().st_size} bytes, expected the wordings of one episode")
        try:
            listed = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FormatError(f"{file}: not JSON ({error}); write it again or leave it out") from error
        texts = listed.get("seen") if isinstance(listed, dict) else None
        return tuple(text for text in texts or () if isinstance(text, str) and text.strip())
    return ()


ROBOTWIN = RoboTwinImporter()

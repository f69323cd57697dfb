"""Look an episode file through before anybody trains on it: structure, lengths, dtypes, NaN, labels, images."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import control_token_in
from dexvla.episodes.jpeg import check_jpeg, scans_of
from dexvla.episodes.manifest import camera_spec
from dexvla.episodes.reader import Episode, load_episode
from dexvla.episodes.survey import survey
from dexvla.episodes.traits import episode_traits
from dexvla.errors import EpisodeError
from dexvla.spec.survey import EpisodeTraits, Survey

_MOST_SCANS = 100  # of a progressive JPEG; libjpeg writes 10


@dataclass(kw_only=True)
class FileReport:
    """What was found in one file. label_coverage: part of the steps with a text that is not blank, 0..1."""

    path: str
    steps: int | None = None
    action_dim: int | None = None
    state_dim: int | None = None
    cameras: dict[str, tuple[int, int]] = field(default_factory=dict)
    compressed: bool | None = None
    sim: bool | None = None
    fps: float | None = None
    render_profile: str | None = None
    success: bool | None = None
    instruction: str | None = None
    label_coverage: float = 0.0
    label_source: str | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    traits: EpisodeTraits | None = None

    @property
    def ok(self) -> bool:
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        traits = None if self.traits is None else self.traits.model_dump(mode="json")
        return {**asdict(self), "traits": traits, "ok": self.ok}


@dataclass(kw_only=True)
class CheckReport:
    """All files, and what is wrong between them (dimensions or cameras that differ).

    surveyed: the files without errors; survey: what stands out among them, by their places in that list; None after a
    quick look.
    """

    files: list[FileReport]
    errors: list[str]
    warnings: list[str]
    surveyed: list[FileReport] = field(default_factory=list)
    survey: Survey | None = None

    @property
    def ok(self) -> bool:
        return not self.errors and all(file.ok for file in self.files)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "files": [file.to_json() for file in self.files],
            "errors": self.errors,
            "warnings": self.warnings,
            "surveyed": [file.path for file in self.surveyed],
            "survey": None if self.survey is None else self.survey.model_dump(mode="json"),
        }


def check_episodes(
    paths: Sequence[Path], *, every_frame: bool = True, on_file: Callable[[FileReport], Any] | None = None
) -> CheckReport:
    """Check files one by one, then against each other.

    every_frame False decodes about 25 frames a camera only, and does not look for what stands out.
    """
    files = []
    for path in paths:
        files.append(check_file(path, every_frame=every_frame, measured=every_frame))
        if on_file is not None:
            on_file(files[-1])
    errors, warnings = _compare(files)
    surveyed = [file for file in files if file.traits is not None]
    found = survey([file.traits for file in surveyed if file.traits is not None]) if surveyed else None
    return CheckReport(files=files, errors=errors, warnings=warnings, surveyed=surveyed, survey=found)


def check_file(
    path: Path, *, every_frame: bool = True, instruction: str | None = None, measured: bool = False
) -> FileReport:
    """Everything that can be said of one file; never raises for what is in it.

    instruction: where it has none. measured: with its traits.
    """
    try:
        episode = load_episode(path)
    except EpisodeError as error:
        return FileReport(path=str(path), errors=[_without_path(error, path)])
    with episode:
        return check_episode(episode, every_frame=every_frame, instruction=instruction, measured=measured)


def check_episode(
    episode: Episode, *, every_frame: bool = True, instruction: str | None = None, measured: bool = False
) -> FileReport:
    """As `check_file`, of a file that is open."""
    path = episode.path
    report = FileReport(path=str(path))
    report.steps = episode.steps
    report.action_dim, report.state_dim = episode.action.shape[1], episode.qpos.shape[1]
    report.compressed, report.sim = episode.compressed, episode.sim
    _guard(report, path, lambda: report.warnings.extend(episode.warnings))
    _guard(report, path, lambda: _facts(report, episode))
    _guard(report, path, lambda: _motion(report, episode))
    _guard(report, path, lambda: _instruction(report, episode, instruction))
    _guard(report, path, lambda: _labels(report, episode))
    _guard(report, path, lambda: _step_source(episode))
    for camera in episode.cameras:
        _guard(report, path, partial(_frames, report, episode, camera, every_frame))
    _guard(report, path, lambda: _layout(report, path, episode))
    if measured and report.ok:
        _guard(report, path, lambda: _measure(report, episode))
    return report


def _guard(report: FileReport, path: Path, part: Callable[[], None]) -> None:
    try:
        part()
    except EpisodeError as error:
        if (message := _without_path(error, path)) not in report.errors:
            report.errors.append(message)


def _measure(report: FileReport, episode: Episode) -> None:
    report.traits = episode_traits(episode)


def _without_path(error: EpisodeError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _facts(report: FileReport, episode: Episode) -> None:
    report.fps = episode.attributes.fps
    report.render_profile = episode.attributes.render_profile
    report.success = episode.attributes.success
    if episode.attributes.success is False:
        report.warnings.append("recorded as a failure")


def _motion(report: FileReport, episode: Episode) -> None:
    arrays = {
        "action": episode.action,
        "qpos": episode.qpos,
        "qvel": episode.qvel,
        "joint_positions": episode.joint_positions,
        "action_sent": episode.action_sent,
    }
    for name, array in arrays.items():
        if array is None:
            continue
        bad = ~np.isfinite(array)
        if bad.any():
            step, dimension = (int(index) for index in np.argwhere(bad)[0])
            report.errors.append(
                f"{name}: {int(bad.sum())} values are NaN or infinite, first at step {step}, dimension {dimension}"
            )
    with np.errstate(invalid="ignore", over="ignore"):
        still = [int(i) for i in np.nonzero(np.ptp(episode.action, axis=0) < 1e-4)[0]] if episode.steps > 1 else []
    if still:
        report.warnings.append(f"action dimensions that never move: {', '.join(map(str, still))}")


def _instruction(report: FileReport, episode: Episode, given: str | None) -> None:
    report.instruction = given if given and not episode.wordings.texts else episode.instruction
    for text in (report.instruction, *episode.paraphrases):
        if wrong := control_token_in(text):
            report.errors.append(f"language_raw holds {wrong}")
            break


def _labels(report: FileReport, episode: Episode) -> None:
    labels = episode.substep_reasonings
    report.label_source = episode.label_source
    if labels is None:
        report.warnings.append("no substep_reasonings: trains with empty reasonings until it is labelled")
    else:
        filled = sum(bool(text.strip()) for text in labels)
        report.label_coverage = filled / len(labels)
        if filled < len(labels):
            report.warnings.append(f"{len(labels) - filled} of {len(labels)} steps have an empty substep reasoning")
        tokens = ((step, control_token_in(text)) for step, text in enumerate(labels))
        if first := next(((step, wrong) for step, wrong in tokens if wrong), None):
            report.errors.append(f"the substep reasoning of step {first[0]} holds {first[1]}")


def _step_source(episode: Episode) -> None:
    """Reading it raises what is wrong with it."""
    assert episode.step_source is None or len(episode.step_source) == episode.steps


def _frames(report: FileReport, episode: Episode, camera: str, every_frame: bool) -> None:
    steps: Iterable[int] = range(episode.steps)
    if not every_frame:
        steps = sorted(set(np.linspace(0, episode.steps - 1, min(25, episode.steps)).astype(int).tolist()))
    size = episode.frame_size(camera)
    report.cameras[camera] = size
    camera_spec(episode, camera)
    failures, odd = [], []
    for step in steps:
        row = None
        try:
            # the header first: a broken one may declare an image that does not fit into memory
            if episode.is_jpeg(camera):
                row = episode.stored_frame(camera, step)
                fits = episode.frame_size(camera, step, row=row) == size
                if fits:
                    _decode(episode, camera, step, row)
            else:
                fits = episode.frame_size(camera, step) == size and episode.frame(camera, step).shape == (*size, 3)
        except EpisodeError as error:
            failures.append((step, str(error).removeprefix(f"{episode.path}: camera {camera}, step {step}: ")))
            continue
        if not fits:
            odd.append(step)
        if row is not None and scans_of(row.tobytes()) > _MOST_SCANS:
            failures.append((step, f"gone through more than {_MOST_SCANS} times to be decoded; encode it anew"))
    if failures:
        step, message = failures[0]
        tail = every_frame and [each for each, _ in failures] == list(range(step, episode.steps))
        offer = f"; steps 0..{step - 1} are whole: an import keeps them (--keep-good-steps)" if tail and step else ""
        report.errors.append(
            f"{_frames_of(camera, failures)} cannot be decoded, first at step {step}: {message}{offer}"
        )
    if odd:
        report.errors.append(f"{_frames_of(camera, odd)} with another size than {size}, first at step {odd[0]}")


def _frames_of(camera: str, found: list[Any]) -> str:
    return f"{len(found)} {'frame' if len(found) == 1 else 'frames'} of {camera}"


def _decode(episode: Episode, camera: str, step: int, row: NDArray[np.uint8]) -> None:
    try:
        check_jpeg(row)
    except ValueError as error:
        raise EpisodeError(f"{episode.path}: camera {camera}, step {step}: {error}") from error


def _layout(report: FileReport, path: Path, episode: Episode) -> None:
    with h5py.File(path, "r") as file:
        if "sim" not in file.attrs:
            report.warnings.append("no attribute sim: read as a real robot, whose actions line up one step later")
        if "observations/qvel" not in file:
            report.warnings.append("no observations/qvel: read as zeros")
        for name in ("action", "observations/qpos", "observations/qvel"):
            if name not in episode.soft_links and name in file and file[name].dtype != np.float32:
                report.warnings.append(f"{name} is {file[name].dtype}, stored files use float32")
        if episode.compressed and "compress_len" not in file:
            report.warnings.append("no compress_len: JPEG rows are read to their end marker")


def _compare(files: list[FileReport]) -> tuple[list[str], list[str]]:
    """Problems between files: the value that most files have is right, the others are named."""
    readable = [file for file in files if file.steps is not None]
    errors: list[str] = []
    warnings: list[str] = []
    facts: list[tuple[str, Callable[[FileReport], Any], list[str]]] = [
        ("action dimension", lambda file: file.action_dim, errors),
        ("state dimension", lambda file: file.state_dim, errors),
        ("cameras", lambda file: tuple(sorted(file.cameras)), errors),
        ("render profile", lambda file: file.render_profile, errors),
        ("rate", lambda file: file.fps, errors),
        ("camera sizes", lambda file: tuple(sorted(file.cameras.items())), warnings),
        ("simulated", lambda file: file.sim, warnings),
    ]
    for name, value, bucket in facts:
        counts = Counter(value(file) for file in readable if value(file) is not None or name == "render profile")
        if len(counts) < 2:
            continue
        usual = counts.most_common(1)[0][0]
        odd = [file for file in readable if value(file) in counts and value(file) != usual]
        names = ", ".join(f"{file.path} ({_plain(value(file))})" for file in odd[:3])
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        bucket.append(f"{name}: most files have {_plain(usual)}, but {names}{more} differ")
    return errors, warnings


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{v[0]} {v[1][0]}x{v[1][1]}" if isinstance(v, tuple) else str(v) for v in value)
    return str(value)

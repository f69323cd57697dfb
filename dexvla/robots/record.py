"""Record scripted demonstrations: one seed after the other, one episode file each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import EpisodeAttributes, EpisodeData, LabelSource
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError, EpisodeExistsError, RobotError, UserError
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.demonstrations import Demonstration, apply, demonstrate, prepare
from dexvla.robots.registry import make_robot, task_options
from dexvla.spec import RecordSpec

_EPISODE = re.compile(r"episode_(\d+)\.hdf5")


@dataclass(frozen=True, kw_only=True)
class RecordProgress:
    """After each seed. done of total seeds are finished; path: the file of this one, None if it was dropped."""

    done: int
    total: int
    seed: int
    success: bool
    held: bool
    path: Path | None

    @property
    def note(self) -> str:
        if self.path is None:
            return f"seed {self.seed} failed, dropped"
        return self.path.name if self.success else f"{self.path.name}, failed"


@dataclass(frozen=True, kw_only=True)
class RecordResult:
    """kept: seeds of the written files, in the order of `paths`. failed: seeds without success, kept or not.
    held: how many of the kept end with the object held (see `dexvla.robots.aloha_sim.tasks`)."""

    kept: tuple[int, ...]
    failed: tuple[int, ...]
    held: int
    paths: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kept": list(self.kept),
            "failed": list(self.failed),
            "held": self.held,
            "paths": [str(path) for path in self.paths],
        }


def record(spec: RecordSpec, out: Path, *, on_episode: Callable[[RecordProgress], None] | None = None) -> RecordResult:
    """Let the scripted expert play seeds spec.seed .. spec.seed + spec.episodes - 1 and write what it did to `out`.

    Files are named episode_0.hdf5, episode_1.hdf5, ... and go on after the highest number that `out` holds; nothing is
    overwritten, and the seed is an attribute of the file. An episode without success is dropped, unless
    spec.keep_failures. Raises RobotError for a robot without an expert or that cannot start, and UserError if `out`
    cannot be written, without leaving half a file.
    """
    robot = make_robot(
        spec.robot, task=spec.task, cameras=spec.cameras, render=spec.render, **task_options(spec.task, spec.pick)
    )
    if not isinstance(robot, AlohaSim):
        raise RobotError(f"robot {spec.robot!r} has no scripted expert; aloha_sim has")
    number = _first_number(out)
    kept: list[int] = []
    failed: list[int] = []
    paths: list[Path] = []
    held = 0
    robot.connect()
    try:
        for index in range(spec.episodes):
            seed = spec.seed + index
            shown = demonstrate(robot, seed, spec.recovery)
            success = shown.success
            if not success:
                failed.append(seed)
            path = None
            if success or (spec.keep_failures and shown.moments):
                data = _play(robot, seed, shown, spec)
                number = _write(out, number, data)
                path = out / f"episode_{number}.hdf5"
                number += 1
                held += bool(data.attributes.held)
                kept.append(seed)
                paths.append(path)
            if on_episode is not None:
                outcome = robot.outcome()
                on_episode(
                    RecordProgress(
                        done=index + 1,
                        total=spec.episodes,
                        seed=seed,
                        success=success,
                        held=bool(outcome.held),
                        path=path,
                    )
                )
    finally:
        robot.disconnect()
    return RecordResult(kept=tuple(kept), failed=tuple(failed), held=held, paths=tuple(paths))


def _first_number(out: Path) -> int:
    """Make the folder and return the first free episode number, before any time goes into an episode."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        numbers = [int(match[1]) for path in out.iterdir() if (match := _EPISODE.fullmatch(path.name))]
    except OSError as error:
        raise UserError(f"cannot record into {out}: {error.strerror or error}") from error
    return max(numbers, default=-1) + 1


def _play(robot: AlohaSim, seed: int, shown: Demonstration, spec: RecordSpec) -> EpisodeData:
    """Play it again with cameras. What is stored of a step was seen before its action."""
    names = [camera.name for camera in spec.cameras]
    images: dict[str, list[bytes]] = {name: [] for name in names}
    image_times: dict[str, list[float]] = {name: [] for name in names}
    qpos, qvel, times, sent = [], [], [], []
    reward = 0.0
    prepare(robot, seed, shown.before)
    began = robot.observe(images=False).time
    for moment in shown.moments:
        seen = robot.observe()
        qpos.append(seen.qpos)
        qvel.append(seen.qvel)
        times.append(seen.time - began)
        for name in names:
            frame = seen.frames[name]
            images[name].append(encode_jpeg(frame.image, quality=spec.jpeg_quality))
            image_times[name].append(frame.time - began)
        sent.append(apply(robot, moment))
        reward = max(reward, robot.outcome().reward)
    outcome = robot.outcome()
    return EpisodeData(
        action=_rows([moment.action for moment in shown.moments]),
        action_sent=_rows(sent),
        qpos=_rows(qpos),
        qvel=_rows(qvel),
        images=images,
        instruction=robot.instruction,
        substep_reasonings=[moment.substep for moment in shown.moments],
        label_source=LabelSource.SCRIPTED,
        step_source=None if spec.recovery is None else [moment.source for moment in shown.moments],
        timestamp=np.array(times, np.float64),
        image_timestamp={name: np.array(image_times[name], np.float64) for name in names},
        attributes=EpisodeAttributes(
            sim=robot.info.simulated,
            robot=robot.info.name,
            task=spec.task.value,
            fps=robot.info.control_hz,
            success=shown.success,
            held=outcome.held,
            seed=seed,
            render_profile=spec.render.value,
            reward=reward,
        ),
        extra_attributes=_pick_attributes(robot) | _recovery_attributes(spec, shown),
    )


def _pick_attributes(robot: AlohaSim) -> dict[str, str | float | bool]:
    """What tells episodes of pick_colour apart: options, the named colour and the other one that could be."""
    scene, options = robot.pick, robot.pick_options
    if scene is None:
        return {}
    return {
        "level": options.level.value,
        "split": options.split.value,
        "swapped": options.swapped,
        "named_colour": scene.named,
        "other_colour": scene.other,
    }


def _recovery_attributes(spec: RecordSpec, shown: Demonstration) -> dict[str, str | float | bool]:
    """What went wrong on purpose, and how far what was executed strays from the actions."""
    if spec.recovery is None:
        return {}
    return {
        "mishaps": ", ".join(shown.mishaps),
        "wide_start": bool(shown.before),
        "execution_noise": spec.recovery.noise,
    }


def _rows(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack(arrays).astype(np.float32)


def _write(out: Path, number: int, data: EpisodeData) -> int:
    """Write the episode under `number`, or the next that is free if another recorder took it; returns the number."""
    while True:
        path = out / f"episode_{number}.hdf5"
        try:
            write_episode(path, data)
        except EpisodeExistsError:
            number = max(number + 1, _first_number(out))
        except EpisodeError:
            raise
        except OSError as error:
            raise UserError(f"cannot write {path}: {_reason(error)}; earlier episodes are complete") from error
        else:
            return number


def _reason(error: OSError) -> str:
    """HDF5 wraps what the system said in a paragraph; keep the system's part."""
    text = error.strerror or str(error)
    inner = re.search(r"error message = '([^']+)'", text)
    return inner[1] if inner else text.splitlines()[0]

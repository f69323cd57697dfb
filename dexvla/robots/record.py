"""Record scripted demonstrations: one seed after the other, one episode file each."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import (
    SCENE_ATTRIBUTES,
    EpisodeAttributes,
    EpisodeData,
    LabelSource,
    StepSource,
    wrong_scene_attributes,
)
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError, EpisodeExistsError, RobotError, UserError
from dexvla.robots.base import Demonstration, Observation, TaskRobot
from dexvla.robots.registry import chosen, make_task_robot
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
    held: how many of the kept end with the object held (see the task's own rule)."""

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
    spec = chosen(spec.robot, spec)
    robot, tasks = make_task_robot(
        spec.robot, spec, cameras=spec.cameras, render=spec.render, options=spec.robot_options
    )
    if spec.recovery is not None and not tasks.recovers:
        raise RobotError(f"the expert of robot {spec.robot!r} shows no recoveries; leave `recovery` out")
    number = first_number(out)
    kept: list[int] = []
    failed: list[int] = []
    paths: list[Path] = []
    held = 0
    robot.connect()
    try:
        for index in range(spec.episodes):
            seed = spec.seed + index
            shown = tasks.demonstrate(robot, seed, spec.recovery)
            success = shown.success
            if not success:
                failed.append(seed)
            path = None
            if success or (spec.keep_failures and len(shown.steps)):
                data = _play(robot, seed, shown, spec)
                number = write_numbered(out, number, data)
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


def first_number(out: Path) -> int:
    """Make the folder and return the first free episode number, before any time goes into an episode."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        numbers = [int(match[1]) for path in out.iterdir() if (match := _EPISODE.fullmatch(path.name))]
    except OSError as error:
        raise UserError(f"cannot record into {out}: {error.strerror or error}") from error
    return max(numbers, default=-1) + 1


class Taking:
    """Collects the steps of one episode of a simulated robot that is at its start: `see`, then `did`, step by step.

    Raises RobotError for a scene that says of itself what could not be read again.
    """

    def __init__(self, robot: TaskRobot, *, jpeg_quality: int) -> None:
        wrong = wrong_scene_attributes(robot.scene_attributes)
        if wrong is not None:
            raise RobotError(f"the scene_attributes of {robot.info.name} cannot be recorded: {wrong}")
        self._robot, self._quality = robot, jpeg_quality
        names = [camera.name for camera in robot.info.cameras]
        self._images: dict[str, list[bytes]] = {name: [] for name in names}
        self._image_times: dict[str, list[float]] = {name: [] for name in names}
        self._seen: list[Observation] = []
        self._actions: list[NDArray[np.float32]] = []
        self._sent: list[NDArray[np.float32]] = []
        self._substeps: list[str] = []
        self._sources: list[StepSource] = []
        self._began = robot.observe(images=False).time
        self._reward = 0.0

    @property
    def steps(self) -> int:
        return len(self._actions)

    def see(self) -> Observation:
        """What the robot sees before the coming action; it is kept."""
        seen = self._robot.observe()
        self._seen.append(replace(seen, frames={}))
        for name, images in self._images.items():
            images.append(encode_jpeg(seen.frames[name].image, quality=self._quality))
            self._image_times[name].append(seen.frames[name].time - self._began)
        return seen

    def did(self, action: NDArray[np.float32], sent: NDArray[np.float32], substep: str, source: StepSource) -> None:
        """action: what is to be learnt of the step; sent: what was executed, within limits."""
        self._actions.append(action)
        self._sent.append(sent)
        self._substeps.append(substep)
        self._sources.append(source)
        self._reward = max(self._reward, self._robot.outcome().reward)

    def episode(
        self, *, seed: int, success: bool, with_sources: bool, extra: Mapping[str, str | float | bool]
    ) -> EpisodeData:
        """All of it, labelled with the substeps."""
        robot = self._robot
        return EpisodeData(
            action=_rows(self._actions),
            action_sent=_rows(self._sent),
            qpos=_rows([seen.qpos for seen in self._seen]),
            qvel=_rows([seen.qvel for seen in self._seen]),
            images=self._images,
            instruction=robot.instruction,
            substep_reasonings=self._substeps,
            label_source=LabelSource.SCRIPTED,
            step_source=self._sources if with_sources else None,
            timestamp=np.array([seen.time - self._began for seen in self._seen], np.float64),
            image_timestamp={name: np.array(times, np.float64) for name, times in self._image_times.items()},
            attributes=EpisodeAttributes(
                sim=robot.info.simulated,
                robot=robot.info.name,
                task=str(robot.task),
                fps=robot.info.control_hz,
                success=success,
                held=robot.outcome().held,
                seed=seed,
                render_profile=robot.render_profile.value,
                reward=self._reward,
            ),
            extra_attributes={**_scene(robot.scene_attributes), **extra},
        )


def _play(robot: TaskRobot, seed: int, shown: Demonstration, spec: RecordSpec) -> EpisodeData:
    """Play it again with cameras. What is stored of a step was seen before its action."""
    shown.prepare(robot)
    taking = Taking(robot, jpeg_quality=spec.jpeg_quality)
    for number, step in enumerate(shown.steps):
        taking.see()
        taking.did(step.action, shown.apply(robot, number), step.substep, step.source)
    return taking.episode(
        seed=seed, success=shown.success, with_sources=shown.with_sources, extra=dict(shown.attributes)
    )


def _scene(attributes: Mapping[str, str | float | bool]) -> dict[str, str | float | bool]:
    """With their names beside them, so that a reader knows which they are without knowing the task."""
    return {**attributes, SCENE_ATTRIBUTES: ", ".join(attributes)} if attributes else {}


def _rows(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack(arrays).astype(np.float32)


def write_numbered(out: Path, number: int, data: EpisodeData) -> int:
    """Write the episode under `number`, or the next that is free if another recorder took it; returns the number."""
    while True:
        path = out / f"episode_{number}.hdf5"
        try:
            write_episode(path, data)
        except EpisodeExistsError:
            number = max(number + 1, first_number(out))
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

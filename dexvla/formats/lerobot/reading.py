"""In: LeRobot datasets v3.0, v2.1 and v2.0, with videos or images, tasks, subtasks and language columns."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.format import LabelSource, StepSource
from dexvla.episodes.jpeg import jpeg_size
from dexvla.episodes.segments import run_length
from dexvla.formats.base import FormatError, SourceCamera, SourceEpisode
from dexvla.formats.lerobot.layout import Dataset, Feature, is_lerobot, read_dataset
from dexvla.formats.lerobot.rows import columns_of, first_of, images_of, rows_of
from dexvla.formats.messages import decode_other
from dexvla.formats.stored import facts_read, names_read, rate_guessed
from dexvla.formats.videos import read_stretch, video_size
from dexvla.spec import ImportProfile, Segment

STATE, ACTION, VELOCITY = "observation.state", "action", "observation.velocity"
# what our own export keeps beside what the format asks for
OWN = {
    "joint_positions": "observation.joint_positions",
    "action_sent": "action_sent",
    "timestamp": "robot_timestamp",
    "host_timestamp": "host_timestamp",
    "step_source": "step_source",
}
IMAGE_TIME = "image_timestamp."
_SPOKEN = "language_persistent"
_PREFIX = "observation.images."
_NUMBERS = {"float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool"}
_LOOKED_AT = 64  # files of the meta folder whose times tell whether it changed
_COUNTED = re.compile(r"(dimension|dim|state|action|motor|joint)?[ _]?\d+")
_EVEN = 1e-3  # seconds by which times may lie beside k / fps and still say nothing else


class LeRobotImporter:
    name = "lerobot"
    title = "LeRobot dataset (v3.0, v2.1)"

    def recognises(self, source: Path) -> bool:
        return is_lerobot(source)

    def episodes(self, source: Path) -> Sequence[str]:
        return [f"episode_{index}" for index in sorted(read_dataset(source).rows)]

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        dataset = self._dataset(source)
        index = int(name.removeprefix("episode_")) if name.removeprefix("episode_").isdecimal() else -1
        if index not in dataset.rows:
            raise FormatError(f"{source}: no episode {name!r}; it has {len(dataset.rows)}, from episode_0")
        yield _episode(dataset, index, profile)

    def __init__(self) -> None:
        self._last: tuple[tuple[Path, tuple[int, ...]], Dataset] | None = None

    def _dataset(self, source: Path) -> Dataset:
        """Read once for all its episodes."""
        meta = sorted((source / "meta").rglob("*"))
        key = source.resolve(), tuple(file.stat().st_mtime_ns for file in meta[:_LOOKED_AT])
        if self._last is None or self._last[0] != key:
            self._last = key, read_dataset(source)
        return self._last[1]


def _episode(dataset: Dataset, index: int, profile: ImportProfile) -> SourceEpisode:
    features = dataset.features
    state_key = _entry(dataset, profile.state_entry, STATE, "state_entry")
    action_key = _entry(dataset, profile.action_entry, ACTION, "action_entry")
    cameras = {key: one for key, one in features.items() if one.dtype in ("video", "image")}
    file = dataset.data_file(index)
    table = rows_of(file, index, [key for key in columns_of(file) if _is_read(key, state_key, action_key)])
    if "frame_index" in table.column_names:
        table = table.sort_by("frame_index")
    steps = table.num_rows
    said = dataset.rows[index].get("length")
    if not steps or said not in (None, steps):
        raise FormatError(
            f"{file}: episode {index} has {steps} rows, meta/episodes says {said}; copy the dataset again"
        )
    if steps > bounds.MAX_STEPS:
        raise FormatError(f"{file}: episode {index} has {steps} rows, at most {bounds.MAX_STEPS} are read")
    warnings = _unused(dataset, state_key, action_key)
    ours = dataset.ours.get(index, {})
    if ours and ours.get("steps") != steps:  # another tool took episodes out or changed their order
        warnings.append("what meta/dexvla.json says is of another episode, its steps differ; left out")
        ours = {}
    spoken = _spoken(file, index)
    instructions = _instructions(dataset, table, index, ours, spoken, warnings)
    step_source = _own_sources(table)
    return SourceEpisode(
        name=f"episode_{index}",
        action=_matrix(file, table, action_key),
        qpos=_matrix(file, table, state_key),
        qvel=_matrix(file, table, VELOCITY) if VELOCITY in table.column_names else None,
        cameras=_cameras(dataset, index, file, cameras, steps, table, warnings),
        timestamp=_times(table, dataset.fps),
        fps=dataset.fps,
        fps_guessed=rate_guessed(ours),
        instructions=instructions,
        substeps=_substeps(dataset, table, spoken, steps, warnings),
        success=_success(table, ours),
        robot=dataset.robot,
        state_names=(state_key == STATE and names_read(ours, "state_names")) or _named(features[state_key].names),
        action_names=(action_key == ACTION and names_read(ours, "action_names")) or _named(features[action_key].names),
        joint_positions=_own_matrix(file, table, "joint_positions"),
        action_sent=_own_matrix(file, table, "action_sent"),
        host_timestamp=_own_times(table, OWN["host_timestamp"]),
        step_source=step_source,
        warnings=tuple(warnings),
        **{"label_source": LabelSource.IMPORTED, **facts_read(ours, steps)},
    )


_USED = {VELOCITY, "next.success", "subtask_index", _SPOKEN, "timestamp", *OWN.values()}
_COUNTERS = {"frame_index", "episode_index", "index", "task_index", "next.done", "next.reward"}


def _unused(dataset: Dataset, state: str, action: str) -> list[str]:
    """What stays behind of the columns, in a sentence; nothing where all are used."""
    kinds = ("video", "image")
    left = [
        key
        for key, one in dataset.features.items()
        if one.dtype not in kinds and key not in _USED | _COUNTERS | {state, action} and not key.startswith(IMAGE_TIME)
    ]
    return [f"columns that an episode of ours has no place for are left out: {', '.join(left[:12])}"] if left else []


def _is_read(key: str, state: str, action: str) -> bool:
    """Whether a column is one of numbers that an episode of ours is made of: others are not unpacked."""
    used = _USED - {_SPOKEN} | {"frame_index", "task_index", state, action}
    return key in used or key.startswith(IMAGE_TIME)


def _entry(dataset: Dataset, asked: str | None, usual: str, field: str) -> str:
    numbers = [key for key, one in dataset.features.items() if one.dtype.startswith("float") and len(one.shape) == 1]
    key = asked or usual
    if key not in dataset.features:
        raise FormatError(
            f"{dataset.root}/meta/info.json: no feature {key!r}; name one of {', '.join(numbers) or 'none'} as {field}"
        )
    if dataset.features[key].dtype not in _NUMBERS:
        raise FormatError(f"{dataset.root}/meta/info.json: feature {key} is {dataset.features[key].dtype}, no numbers")
    return key


def _matrix(file: Path, table: Any, key: str) -> NDArray[np.float32]:
    """(T, D) float32."""
    if key not in table.column_names:
        raise FormatError(f"{file}: no column {key}, which meta/info.json declares; copy the dataset again")
    if table.column(key).nbytes > 8 * bounds.MAX_VALUES:
        raise FormatError(f"{file}: {key} holds more numbers than an episode may; leave the episode out")
    rows = table.column(key).to_pylist()
    try:
        values = np.asarray(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise FormatError(
            f"{file}: {key} holds rows of different lengths or no numbers; leave the episode out"
        ) from error
    flat: NDArray[np.float32] = values.reshape(len(rows), -1)
    return flat


def _own_matrix(file: Path, table: Any, name: str) -> NDArray[np.float32] | None:
    return _matrix(file, table, OWN[name]) if OWN[name] in table.column_names else None


def _own_times(table: Any, column: str) -> NDArray[np.float64] | None:
    """(T,) seconds; None where there is no such column, or not one whole."""
    if column not in table.column_names:
        return None
    times = np.asarray(table.column(column).to_pylist(), np.float64).reshape(-1)
    return times if np.isfinite(times).all() else None


def _own_sources(table: Any) -> tuple[StepSource, ...] | None:
    if OWN["step_source"] not in table.column_names:
        return None
    numbers, names = table.column(OWN["step_source"]).to_pylist(), list(StepSource)
    if not all(isinstance(number, int) and 0 <= number < len(names) for number in numbers):
        return None
    return tuple(names[number] for number in numbers)


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of the dimensions; empty where they only count them, as our own export does for a robot that nobody described."""
    return () if all(_COUNTED.fullmatch(name) for name in names) else names


def _times(table: Any, fps: float | None) -> NDArray[np.float64] | None:
    """Our own clock where we exported it; else the stamps, where they say more than the rate does."""
    own = _own_times(table, OWN["timestamp"])
    if own is not None or "timestamp" not in table.column_names:
        return own
    stamps = np.asarray(table.column("timestamp").to_pylist(), np.float64).reshape(-1)
    if fps is not None and np.abs(stamps - np.arange(len(stamps)) / fps).max() < _EVEN:
        return None
    return stamps


def _instructions(
    dataset: Dataset,
    table: Any,
    index: int,
    ours: Mapping[str, Any],
    spoken: Sequence[Mapping[str, Any]],
    warnings: list[str],
) -> tuple[str, ...]:
    texts: list[str] = []
    if "task_index" in table.column_names:
        numbers = Counter(table.column("task_index").to_pylist())
        texts = [dataset.tasks[number] for number, _ in numbers.most_common() if number in dataset.tasks]
        if len(numbers) > 1:
            warnings.append(
                f"its steps belong to {len(numbers)} tasks; the one of most steps is its instruction, the others are "
                "left out"
            )
            texts = texts[:1]
    if not texts:
        listed = dataset.rows[index].get("tasks")
        texts = [str(text) for text in listed] if isinstance(listed, list) else []
    texts += [one["content"] for one in spoken if one["style"] == "task_aug"]
    more = ours.get("paraphrases")
    texts += [str(text) for text in more] if isinstance(more, list) else []
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def _spoken(file: Path, index: int) -> list[dict[str, Any]]:
    """The persistent language of the episode: the same list stands on every row, so that one is read."""
    listed = first_of(file, index, _SPOKEN) if _SPOKEN in columns_of(file) else None
    if not isinstance(listed, list):
        return []
    return [
        one
        for one in listed
        if isinstance(one, dict) and isinstance(one.get("content"), str) and isinstance(one.get("style"), str)
    ]


def _substeps(
    dataset: Dataset, table: Any, spoken: Sequence[Mapping[str, Any]], steps: int, warnings: list[str]
) -> tuple[Segment, ...] | None:
    """Of language_persistent, by their times; else of subtask_index."""
    said = [one for one in spoken if one["style"] == "subtask" and one.get("timestamp") is not None]
    if said and dataset.fps:
        texts = [""] * steps
        for one in sorted(said, key=lambda one: float(one["timestamp"])):
            first = min(max(round(float(one["timestamp"]) * dataset.fps), 0), steps)
            texts[first:] = [one["content"]] * (steps - first)
        return run_length(texts)
    if "subtask_index" in table.column_names:
        numbers = table.column("subtask_index").to_pylist()
        # none and numbers below zero say that a step has no subtask
        unnamed = [n for n in numbers if isinstance(n, int) and n >= 0 and n not in dataset.subtasks]
        if unnamed:
            warnings.append(
                f"subtask_index of {len(unnamed)} of {steps} steps (first {unnamed[0]}) is not in "
                "meta/subtasks.parquet: they have no label; copy that file again"
            )
        if not dataset.subtasks:
            return None
        return run_length([dataset.subtasks.get(number, "") for number in numbers])
    return None


def _success(table: Any, ours: Any) -> bool | None:
    if isinstance(ours.get("success"), bool):
        return bool(ours["success"])
    if "next.success" not in table.column_names:
        return None
    return any(bool(np.ravel(value)[0]) for value in table.column("next.success").to_pylist() if value is not None)


# --- cameras ----------------------------------------------------------------------------------------------


def _cameras(
    dataset: Dataset,
    index: int,
    file: Path,
    features: dict[str, Feature],
    steps: int,
    table: Any,
    warnings: list[str],
) -> dict[str, SourceCamera]:
    cameras = {}
    for key, feature in features.items():
        name = key.removeprefix(_PREFIX).removeprefix("observation.image.")
        if feature.depth or (feature.shape and 3 not in (feature.shape[0], feature.shape[-1])):
            warnings.append(f"camera {name}: {feature.shape} is depth or has no colours; left out")
            continue
        times = _own_times(table, IMAGE_TIME + name)
        if feature.dtype == "video":
            cameras[name] = _video(dataset, index, key, steps, times)
        else:
            cameras[name] = _images(file, index, key, steps, times)
    return cameras


def _video(dataset: Dataset, index: int, key: str, steps: int, times: NDArray[np.float64] | None) -> SourceCamera:
    path = dataset.video_file(index, key)
    height, width = video_size(path)
    fps = dataset.fps
    if fps is None:
        raise FormatError(f"{dataset.root}/meta/info.json: no fps, by which the frames of {path} are found; add it")
    begin = float(dataset.rows[index].get(f"videos/{key}/from_timestamp", 0.0) or 0.0)
    return SourceCamera(
        frames=lambda: read_stretch(path, begin=begin, fps=fps, frames=steps),
        frame=lambda step: next(read_stretch(path, begin=begin + step / fps, fps=fps, frames=1)),
        jpeg=False,
        height=height,
        width=width,
        timestamp=times,
    )


def _images(file: Path, index: int, key: str, steps: int, times: NDArray[np.float64] | None) -> SourceCamera:
    first = next(images_of(file, index, key), None)
    if first is None:
        raise FormatError(f"{file}: {key} holds no image of episode {index}; copy the dataset again")
    jpeg = first[:2] == b"\xff\xd8"
    try:
        height, width = jpeg_size(first) if jpeg else decode_other(first).shape[:2]
    except ValueError as error:
        raise FormatError(f"{file}: {key}, step 0: {error}") from error

    def frames() -> Iterator[bytes | NDArray[np.uint8]]:
        for step, stored in enumerate(images_of(file, index, key)):
            if (stored[:2] == b"\xff\xd8") != jpeg:
                raise FormatError(f"{file}: {key}, step {step}: JPEG and other images are mixed; convert them to one")
            yield stored if jpeg else decode_other(stored)

    return SourceCamera(frames=frames, jpeg=jpeg, height=int(height), width=int(width), timestamp=times)


LEROBOT = LeRobotImporter()

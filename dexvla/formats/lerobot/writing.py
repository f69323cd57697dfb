"""Out: LeRobot dataset v3.0, which lerobot's own loader reads.

Videos are H.264 (its loader decodes them by PyAV, torchcodec or torchvision alike; AV1 takes many times as long to
write and read), one file an episode, with a key frame every ten, so that a random frame needs few others. The stamps of
the rows are k / fps, as the loader demands; the robot's own clock stands beside them. Substeps are written as
`subtask_index` with meta/subtasks.parquet; the language columns of later loaders, on which 0.4 stops, come with the
format `lerobot-language`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.arms import dimension_names
from dexvla.episodes.contact_sheet import even_steps
from dexvla.episodes.format import StepSource
from dexvla.episodes.segments import per_step
from dexvla.formats.base import Exported, ExportEpisode
from dexvla.formats.lerobot import statistics
from dexvla.formats.lerobot.kind import Kind, kind_of
from dexvla.formats.lerobot.layout import DATA_PATH, INFO, OURS, VIDEO_PATH
from dexvla.formats.lerobot.reading import ACTION, IMAGE_TIME, OWN, STATE, VELOCITY
from dexvla.formats.lerobot.statistics import Figures
from dexvla.formats.outgoing import Outgoing, loss_of, outgoing, psnr
from dexvla.formats.sources import package, safe_names
from dexvla.formats.stored import our_facts, stored_image
from dexvla.formats.videos import even_told, read_video, write_video
from dexvla.spec import Segment

_CHUNK = 1000
_KEYFRAME_EVERY = 10
_COMPARED = 16  # frames of a camera
_GROUP_BYTES = 32 * 2**20  # of encoded images that are in memory at a time
_DATA_BYTES = 100 * 2**20  # of one file of rows: what LeRobot takes
_BASE = ("timestamp", "frame_index", "episode_index", "index", "task_index")


class LeRobotExporter:
    """video: frames in mp4; else in the rows, as JPEG where they are stored so, as PNG where they are pixels."""

    def __init__(self, name: str, title: str, *, video: bool, language: bool) -> None:
        self.name, self.title = name, title
        self._video, self._language = video, language

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        kind = kind_of(episodes)
        writing = _Writing(out, kind, video=self._video, language=self._language)
        try:
            for episode in episodes:
                with outgoing(episode) as going:
                    on_episode(writing.add(going))
        finally:
            writing.close()
        writing.finish()
        return ()


class _Writing:
    """A dataset while it is written: rows of one file at a time, a row group an episode; several where they hold
    images."""

    def __init__(self, out: Path, kind: Kind, *, video: bool, language: bool) -> None:
        self._arrow, self._parquet = package("pyarrow"), package("pyarrow.parquet")
        self._out, self._kind, self._video, self._language = out, kind, video, language
        self._names = safe_names(tuple(name for name, _, _ in kind.cameras))
        self._tasks: dict[str, int] = {}
        self._subtasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._ours: list[dict[str, Any]] = []
        self._figures: dict[str, list[Figures]] = {}
        self._steps = self._file = 0
        self._writer: Any = None

    # --- one episode ------------------------------------------------------------------------------------

    def add(self, going: Outgoing) -> Exported:
        number, file = len(self._rows), going.file
        task = self._tasks.setdefault(going.labels.instruction, len(self._tasks))
        numbers = self._numbers(going, number, task)
        figures = {name: statistics.of_numbers(values) for name, values in numbers.items()}
        files, ratios, images = [], [], []
        places: dict[str, Any] = {}
        for camera, plain in self._names.items():
            key = f"observation.images.{plain}"
            seen = even_steps(file.steps, _COMPARED)
            figures[key] = statistics.of_images([file.frame(camera, step) for step in seen])
            if not self._video:
                images.append((key, camera))
                continue
            chunk, place = divmod(number, _CHUNK)
            path = VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=place)
            ratios += self._write_video(going, camera, self._out / path, seen)
            files.append(path)
            places |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": place,
                f"videos/{key}/from_timestamp": 0.0,
                f"videos/{key}/to_timestamp": file.steps / self._kind.fps,
            }
        self._write_rows(going, numbers, images)
        for name, found in figures.items():
            self._figures.setdefault(name, []).append(found)
        self._rows.append(
            {
                "episode_index": number,
                "tasks": [going.labels.instruction],
                "length": file.steps,
                "data/chunk_index": 0,
                "data/file_index": self._file,
                "dataset_from_index": self._steps,
                "dataset_to_index": self._steps + file.steps,
                **places,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                **{
                    f"stats/{name}/{figure}": value
                    for name, found in figures.items()
                    for figure, value in statistics.as_json(found).items()
                },
            }
        )
        self._ours.append(our_facts(going))
        self._steps += file.steps
        files.append(DATA_PATH.format(chunk_index=0, file_index=self._file))
        return Exported(
            name=going.labels.name, files=tuple(files), warnings=self._warnings(going), loss_db=loss_of(ratios)
        )

    def _numbers(self, going: Outgoing, number: int, task: int) -> dict[str, NDArray[Any]]:
        """All columns of numbers, (T, D)."""
        file, steps = going.file, going.file.steps
        found: dict[str, NDArray[Any]] = {STATE: file.qpos, ACTION: file.action}
        if self._kind.velocity:
            found[VELOCITY] = file.qvel
        for name in self._kind.own:
            found[OWN[name]] = _own_column(getattr(file, name))
        if self._kind.success:
            flags = np.zeros((steps, 1), bool)
            flags[-1] = bool(going.success)
            found["next.success"] = flags
        for camera, plain in self._names.items():
            if camera in self._kind.timed:
                times = file.image_timestamp(camera)
                assert times is not None, "all episodes have them"
                found[IMAGE_TIME + plain] = times[:, None]
        texts = per_step(going.substeps) or [""] * steps
        subtasks = [self._subtasks.setdefault(text, len(self._subtasks)) for text in texts]
        frame = np.arange(steps, dtype=np.int64)
        return found | {
            "subtask_index": np.asarray(subtasks, np.int64)[:, None],
            "timestamp": (frame / self._kind.fps).astype(np.float32)[:, None],
            "frame_index": frame[:, None],
            "episode_index": np.full((steps, 1), number, np.int64),
            "index": (frame + self._steps)[:, None],
            "task_index": np.full((steps, 1), task, np.int64),
        }

    def _write_video(self, going: Outgoing, camera: str, path: Path, seen: Sequence[int]) -> list[float]:
        path.parent.mkdir(parents=True, exist_ok=True)
        steps = going.file.steps
        frames = (going.file.frame(camera, step) for step in range(steps))
        write_video(path, frames, fps=self._kind.fps, keyframe_every=_KEYFRAME_EVERY)
        ratios = []
        for step, decoded in enumerate(read_video(path, steps)):
            if step in seen:
                image = going.file.frame(camera, step)
                ratios.append(psnr(image, decoded[: image.shape[0], : image.shape[1]]))
        return ratios

    def _write_rows(self, going: Outgoing, numbers: dict[str, NDArray[Any]], images: Sequence[tuple[str, str]]) -> None:
        """images: columns and their cameras, some steps of which are in memory at a time."""
        arrow, steps = self._arrow, going.file.steps
        stored = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        spoken = _spoken(going, self._kind.fps) if self._language else []
        first = 0
        while first < steps:
            rows, last = _some_images(going, images, first) if images else ({}, steps)
            columns = {name: self._column(values[first:last]) for name, values in numbers.items()}
            columns |= {name: arrow.array(values, stored) for name, values in rows.items()}
            if self._language:
                columns["language_persistent"] = arrow.array([spoken] * (last - first), self._language_type())
            self._write_group(arrow.table(columns), begins=first == 0)
            first = last

    def _write_group(self, table: Any, *, begins: bool) -> None:
        """An episode's rows, or some of them, as a row group. A file ends where an episode does."""
        if begins and self._writer is not None and self._path.stat().st_size > _DATA_BYTES:
            self.close()
            self._file += 1
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._parquet.ParquetWriter(self._path, table.schema, compression="snappy")
        self._writer.write_table(table, row_group_size=table.num_rows)

    @property
    def _path(self) -> Path:
        return self._out / DATA_PATH.format(chunk_index=0, file_index=self._file)

    def _column(self, values: NDArray[Any]) -> Any:
        flat = self._arrow.array(np.ascontiguousarray(values).reshape(-1))
        return flat if values.shape[1] == 1 else self._arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    def _language_type(self) -> Any:
        arrow = self._arrow
        fields = [(name, arrow.string()) for name in ("role", "content", "style")]
        fields += [("timestamp", arrow.float32()), ("camera", arrow.string()), ("tool_calls", arrow.string())]
        return arrow.list_(arrow.struct(fields))

    def _warnings(self, going: Outgoing) -> tuple[str, ...]:
        said, file = list(going.clock.warnings), going.file
        lost = [OWN[name] for name in OWN if getattr(file, name) is not None and name not in self._kind.own]
        lost += [VELOCITY] if file.has_qvel and not self._kind.velocity else []
        lost += [
            IMAGE_TIME + name
            for name in self._names
            if name not in self._kind.timed and file.image_timestamp(name) is not None
        ]
        if lost:
            said.append(f"left out, since other episodes do not have them or have them otherwise: {', '.join(lost)}")
        for name, height, width in self._kind.cameras:
            if self._video and (height % 2 or width % 2):
                said.append(even_told(name, height, width))
        return tuple(said)

    def close(self) -> None:
        """The footer: without it nobody can read the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # --- the meta folder --------------------------------------------------------------------------------

    def finish(self) -> None:
        meta = self._out / "meta"
        (meta / "episodes" / "chunk-000").mkdir(parents=True)
        table = self._arrow.Table.from_pylist(self._rows)
        self._parquet.write_table(table, meta / "episodes" / "chunk-000" / "file-000.parquet", compression="snappy")
        self._write_texts(meta / "tasks.parquet", "task_index", self._tasks)
        self._write_texts(meta / "subtasks.parquet", "subtask_index", self._subtasks)
        stats = {name: statistics.as_json(statistics.together(parts)) for name, parts in self._figures.items()}
        _write(self._out / "meta" / "stats.json", stats)
        _write(self._out / OURS, {"version": 1, "episodes": self._ours})
        _write(self._out / INFO, self._info())

    def _write_texts(self, path: Path, key: str, texts: dict[str, int]) -> None:
        """Texts as the index of the table, which is how pandas stores and LeRobot looks them up."""
        arrow, index = self._arrow, "__index_level_0__"
        table = arrow.table({key: arrow.array(list(texts.values()), arrow.int64()), index: list(texts)})
        about = {
            "index_columns": [index],
            "column_indexes": [
                {
                    "name": None,
                    "field_name": None,
                    "pandas_type": "unicode",
                    "numpy_type": "object",
                    "metadata": {"encoding": "UTF-8"},
                }
            ],
            "columns": [
                {"name": key, "field_name": key, "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
                {
                    "name": None,
                    "field_name": index,
                    "pandas_type": "unicode",
                    "numpy_type": "object",
                    "metadata": None,
                },
            ],
            "creator": {"library": "pyarrow", "version": arrow.__version__},
            "pandas_version": "2.2.0",
        }
        self._parquet.write_table(table.replace_schema_metadata({b"pandas": json.dumps(about).encode()}), path)

    def _info(self) -> dict[str, Any]:
        fps = self._kind.fps
        robots = {ours["robot"] for ours in self._ours}
        return {
            "codebase_version": "v3.0",
            "robot_type": next(iter(robots)) if len(robots) == 1 else None,
            "total_episodes": len(self._rows),
            "total_frames": self._steps,
            "total_tasks": len(self._tasks),
            "chunks_size": _CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": int(fps) if fps == int(fps) else fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._video else None,
            "features": self._features(),
        }

    def _features(self) -> dict[str, Any]:
        kind = self._kind
        robot = self._ours[0]["robot"]

        def numbers(size: int, names: list[str] | None, dtype: str = "float32") -> dict[str, Any]:
            return {"dtype": dtype, "shape": [size], "names": names}

        states = list(kind.state_names) or dimension_names(robot, kind.state)
        found = {STATE: numbers(kind.state, states)}
        found[ACTION] = numbers(kind.action, list(kind.action_names) or dimension_names(robot, kind.action))
        if kind.velocity:
            found[VELOCITY] = numbers(kind.state, states)
        for name in kind.own:
            size = self._figures[OWN[name]][0]["mean"].size
            dtype = {"step_source": "int64", "timestamp": "float64", "host_timestamp": "float64"}.get(name, "float32")
            found[OWN[name]] = numbers(size, None, dtype)
        if kind.success:
            found["next.success"] = numbers(1, None, "bool")
        for camera in kind.timed:
            found[IMAGE_TIME + self._names[camera]] = numbers(1, None, "float64")
        for (_, height, width), plain in zip(kind.cameras, self._names.values(), strict=True):
            found[f"observation.images.{plain}"] = self._camera(height, width)
        found["subtask_index"] = numbers(1, None, "int64")
        if self._language:
            found["language_persistent"] = {"dtype": "language", "shape": [1], "names": None}
        return found | {name: numbers(1, None, "float32" if name == "timestamp" else "int64") for name in _BASE}

    def _camera(self, height: int, width: int) -> dict[str, Any]:
        if not self._video:
            return {"dtype": "image", "shape": [height, width, 3], "names": ["height", "width", "channels"]}
        height, width = height + height % 2, width + width % 2
        return {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": self._kind.fps,
                "video.channels": 3,
                "has_audio": False,
            },
        }


def _own_column(value: Any) -> NDArray[Any]:
    """(T, D)"""
    if isinstance(value, tuple):
        names = list(StepSource)
        value = np.array([names.index(source) for source in value], np.int64)
    array = np.asarray(value)
    return array if array.ndim == 2 else array[:, None]


def _some_images(
    going: Outgoing, images: Sequence[tuple[str, str]], first: int
) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Of each column from step `first` on, as many as make a row group; and the step after them."""
    rows: dict[str, list[dict[str, Any]]] = {key: [] for key, _ in images}
    size, step = 0, first
    while step < going.file.steps and size < _GROUP_BYTES:
        for key, camera in images:
            data, ending = stored_image(going, camera, step)
            rows[key].append({"bytes": data, "path": f"frame-{step:06d}.{ending}"})
            size += len(data)
        step += 1
    return rows, step


def _spoken(going: Outgoing, fps: float) -> list[dict[str, Any]]:
    """Substeps and other wordings as the language of the episode."""

    def row(role: str, style: str, content: str, timestamp: float | None) -> dict[str, Any]:
        said = {"role": role, "content": content, "style": style, "timestamp": timestamp}
        return {**said, "camera": None, "tool_calls": None}

    substeps: Iterator[Segment] = (part for part in going.substeps if part.text.strip())
    wordings = [row("user", "task_aug", text, 0.0) for text in going.labels.paraphrases]
    return wordings + [row("assistant", "subtask", part.text, part.start / fps) for part in substeps]


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


LEROBOT = LeRobotExporter("lerobot", "LeRobot dataset v3.0 with videos (H.264)", video=True, language=False)
LEROBOT_IMAGES = LeRobotExporter("lerobot-images", "LeRobot dataset v3.0 with images", video=False, language=False)
LEROBOT_LANGUAGE = LeRobotExporter(
    "lerobot-language", "LeRobot dataset v3.0 with language columns (lerobot 0.5 and later)", video=True, language=True
)

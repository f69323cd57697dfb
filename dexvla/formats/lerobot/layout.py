"""What a LeRobot dataset says of itself: meta/info.json, its tasks, subtasks and episodes.

meta/info.json  meta/tasks.parquet  meta/subtasks.parquet
meta/episodes/chunk-000/file-000.parquet           v2.1: meta/episodes.jsonl, meta/tasks.jsonl
data/chunk-000/file-000.parquet                    v2.1: data/chunk-000/episode_000000.parquet
videos/KEY/chunk-000/file-000.mp4                  v2.1: videos/chunk-000/KEY/episode_000000.mp4
"""

import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from dexvla.formats.base import FormatError
from dexvla.formats.sources import inside, package

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
INFO = "meta/info.json"
OURS = "meta/dexvla.json"  # what our own export adds: attributes of each episode that the format has no place for
_OLD_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_OLD_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_FIELDS = {3: {"chunk_index", "file_index", "video_key"}, 2: {"episode_chunk", "episode_index", "video_key"}}
_SPEC = re.compile(r"0?\d{0,2}d?")  # of a field: "{x:999999999d}" would fill the memory
_JSON_BYTES = 2**28
_MOST_EPISODES = 1_000_000


@dataclass(frozen=True)
class Feature:
    """A column. names: one a dimension, or empty. depth: a map of distances, not of colours."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    depth: bool = False


@dataclass(frozen=True)
class Dataset:
    """A dataset as its meta folder says. version: 2 or 3. rows: what is known of each episode, by its index."""

    root: Path
    version: int
    fps: float | None
    robot: str | None
    features: Mapping[str, Feature]
    data_path: str
    video_path: str
    chunk_size: int
    rows: Mapping[int, Mapping[str, Any]]
    tasks: Mapping[int, str]
    subtasks: Mapping[int, str]
    ours: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def data_file(self, episode: int) -> Path:
        where = self._place(self.data_path, episode, "data", None)
        return inside(self.root, self.root / where, named_by=f"{INFO}, data_path")

    def video_file(self, episode: int, key: str) -> Path:
        where = self._place(self.video_path, episode, f"videos/{key}", key)
        return inside(self.root, self.root / where, named_by=f"{INFO}, video_path")

    def _place(self, pattern: str, episode: int, prefix: str, key: str | None) -> str:
        fields: dict[str, Any] = {
            "episode_index": episode,
            "episode_chunk": episode // self.chunk_size,
            "video_key": key or "",
        }
        if self.version >= 3:
            for name in ("chunk_index", "file_index"):
                value = self.rows[episode].get(f"{prefix}/{name}")
                if not isinstance(value, int) or not 0 <= value < 10**6:
                    raise FormatError(
                        f"{self.root}/meta/episodes: episode {episode} has {prefix}/{name} = {value!r}, expected a "
                        "small whole number; write the dataset's meta folder anew"
                    )
                fields[name] = value
        return pattern.format(**fields)


def is_lerobot(source: Path) -> bool:
    try:
        info = _json(source, INFO) if (source / INFO).is_file() else None
    except (FormatError, OSError):
        return False
    return isinstance(info, dict) and isinstance(info.get("features"), dict)


def read_dataset(root: Path) -> Dataset:
    """Raises FormatError naming the file and the key that is wrong."""
    info = _json(root, INFO)
    if not isinstance(info, dict):
        raise FormatError(f"{root}/{INFO}: holds a {type(info).__name__}, expected the facts of a dataset by name")
    word = str(info.get("codebase_version"))
    version = 3 if word.startswith("v3") else 2 if word.startswith("v2") else 0
    if not version:
        raise FormatError(
            f"{root}/{INFO}: codebase_version is {word}, expected v3.0, v2.1 or v2.0; convert it with lerobot first"
        )
    features = _features(root, info)
    fps = _rate(root, info.get("fps"))
    old = version < 3
    chunk = info.get("chunks_size", 1000)
    if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
        raise FormatError(f"{root}/{INFO}: chunks_size is {chunk!r}, expected a whole number from 1")
    return Dataset(
        root=root,
        version=version,
        fps=fps,
        robot=info["robot_type"] if isinstance(info.get("robot_type"), str) and info["robot_type"].strip() else None,
        features=features,
        data_path=_pattern(root, "data_path", info.get("data_path") or (_OLD_DATA_PATH if old else DATA_PATH), version),
        video_path=_pattern(
            root, "video_path", info.get("video_path") or (_OLD_VIDEO_PATH if old else VIDEO_PATH), version
        ),
        chunk_size=chunk,
        rows=_old_rows(root) if old else _rows(root),
        tasks=_old_tasks(root) if old else _texts(root, "meta/tasks.parquet", "task_index"),
        subtasks=_texts(root, "meta/subtasks.parquet", "subtask_index"),
        ours=_ours(root),
    )


def _rate(root: Path, value: Any) -> float | None:
    """Hz. Texts of a number and of a fraction ("30000/1001") are read too."""
    if value is None:
        return None
    try:
        fps = float(Fraction(value.strip()) if isinstance(value, str) else value)
    except (TypeError, ValueError, ArithmeticError):
        fps = 0.0
    if isinstance(value, bool) or not 0 < fps <= 10_000:
        raise FormatError(f"{root}/{INFO}: fps is {value!r:.40}, expected a positive number")
    return fps


def _features(root: Path, info: Mapping[str, Any]) -> dict[str, Feature]:
    found: dict[str, Feature] = {}
    listed = info.get("features")
    if not isinstance(listed, dict) or not listed:
        raise FormatError(f"{root}/{INFO}: features is {type(listed).__name__}, expected the columns by name")
    for name, facts in listed.items():
        if not isinstance(facts, dict) or not isinstance(facts.get("dtype"), str):
            raise FormatError(f"{root}/{INFO}: feature {name} has no dtype")
        shape = facts.get("shape") or ()
        if not isinstance(shape, list | tuple) or not all(isinstance(n, int) and 0 <= n < 10**6 for n in shape):
            raise FormatError(f"{root}/{INFO}: feature {name} has shape {shape!r}, expected whole numbers")
        more = [facts[key] for key in ("info", "video_info") if isinstance(facts.get(key), dict)]
        depth = any(each.get("is_depth_map") or each.get("video.is_depth_map") for each in more)
        found[name] = Feature(facts["dtype"], tuple(shape), _names(facts.get("names")), depth)
    return found


def _names(value: Any) -> tuple[str, ...]:
    """A list, or a list below one key ("motors"), or numbers by name."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(next(iter(value.values())), list):
            value = next(iter(value.values()))
        elif all(isinstance(at, int) for at in value.values()):
            value = sorted(value, key=value.__getitem__)
    return tuple(str(name) for name in value) if isinstance(value, list) else ()


def _pattern(root: Path, name: str, pattern: Any, version: int) -> str:
    fields = _FIELDS[version]
    expected = f"expected a path with fields of {', '.join(sorted(fields))}"
    if not isinstance(pattern, str):
        raise FormatError(f"{root}/{INFO}: {name} is a {type(pattern).__name__}, {expected}")
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise FormatError(f"{root}/{INFO}: {name} is {pattern[:80]!r} ({error}), {expected}") from error
    for _, key, spec, conversion in parts:
        if key is None:
            continue
        plain = not spec if key == "video_key" else _SPEC.fullmatch(spec or "")
        if key not in fields or not plain or conversion:
            raise FormatError(f"{root}/{INFO}: {name} is {pattern[:80]!r}, {expected}")
    return pattern


def _json(root: Path, name: str) -> Any:
    path = inside(root, root / name, named_by=str(root))
    if path.stat().st_size > _JSON_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, at most {_JSON_BYTES} are read")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not readable as JSON ({error}); copy the dataset again") from error


def _lines(root: Path, name: str) -> list[dict[str, Any]]:
    path = inside(root, root / name, named_by=str(root))
    if path.stat().st_size > _JSON_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, at most {_JSON_BYTES} are read")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path}: line {number} is not JSON ({error}); copy the dataset again") from error
        if not isinstance(value, dict):
            raise FormatError(f"{path}: line {number} holds a {type(value).__name__}, expected facts by name")
        found.append(value)
    return found


def read_table(path: Path, **options: Any) -> Any:
    """A pyarrow table. Raises FormatError for what is not Parquet, or has not the columns."""
    arrow, parquet = package("pyarrow"), package("pyarrow.parquet")
    try:
        return parquet.read_table(path, **options)
    except (arrow.ArrowException, OSError, ValueError, KeyError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path}: cannot be read as Parquet ({text[:200]}); copy the dataset again") from error


def _rows(root: Path) -> dict[int, Mapping[str, Any]]:
    folder = root / "meta" / "episodes"
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    if not files:
        raise FormatError(f"{folder}: no Parquet file of episodes; a dataset that was not finalised? Finalise it first")
    parquet = package("pyarrow.parquet")
    rows: dict[int, Mapping[str, Any]] = {}
    for file in files:
        inside(root, file, named_by=str(folder))
        read_table(file, columns=["episode_index"])  # says what is wrong with it
        names = [name for name in parquet.read_schema(file).names if not name.startswith("stats/")]
        for row in read_table(file, columns=names).to_pylist():
            rows[_index(file, row.get("episode_index"))] = row
    return _bounded(root, rows)


def _old_rows(root: Path) -> dict[int, Mapping[str, Any]]:
    name = "meta/episodes.jsonl"
    return _bounded(root, {_index(root / name, row.get("episode_index")): row for row in _lines(root, name)})


def _bounded(root: Path, rows: dict[int, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    if not rows or len(rows) > _MOST_EPISODES:
        raise FormatError(f"{root}: {len(rows)} episodes, expected 1 to {_MOST_EPISODES}")
    return rows


def _index(path: Path, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise FormatError(f"{path}: episode_index is {value!r}, expected a whole number from 0")
    return value


def _texts(root: Path, name: str, key: str) -> dict[int, str]:
    """Texts by number; the text is the table's index, or its column `task`, `subtask`."""
    if not (root / name).is_file():
        return {}
    table = read_table(inside(root, root / name, named_by=str(root)))
    others = [column for column in table.column_names if column != key]
    if key not in table.column_names or not others:
        raise FormatError(f"{root}/{name}: has {', '.join(table.column_names)}, expected {key} and its texts")
    column = next((c for c in (key.removesuffix("_index"), "__index_level_0__") if c in others), others[0])
    numbers, texts = table.column(key).to_pylist(), table.column(column).to_pylist()
    if not all(isinstance(number, int) for number in numbers):
        raise FormatError(f"{root}/{name}: {key} holds something else than whole numbers; copy the dataset again")
    return {number: str(text) for number, text in zip(numbers, texts, strict=True)}


def _old_tasks(root: Path) -> dict[int, str]:
    name = "meta/tasks.jsonl"
    if not (root / name).is_file():
        return {}
    rows = [row for row in _lines(root, name) if isinstance(row.get("task_index"), int)]
    return {row["task_index"]: str(row.get("task", "")) for row in rows}


def _ours(root: Path) -> dict[int, Mapping[str, Any]]:
    if not (root / OURS).is_file():
        return {}
    listed = _json(root, OURS)
    if not isinstance(listed, dict) or not isinstance(listed.get("episodes"), list):
        return {}
    return {at: facts for at, facts in enumerate(listed["episodes"]) if isinstance(facts, dict)}

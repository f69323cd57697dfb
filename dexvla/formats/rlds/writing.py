"""Out: RLDS as `tfds.builder_from_directory` and `tfds.load` read it: shards, features.json, dataset_info.json.

The names of the features are those that readers of Open X-Embodiment know (observation/state, language_instruction).
Whole tf.train.Examples are put together on disk: of an episode's frames one is in memory.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import StepSource
from dexvla.episodes.segments import per_step
from dexvla.formats.base import Exported, ExportEpisode, FormatError
from dexvla.formats.lerobot.kind import Kind, kind_of
from dexvla.formats.outgoing import Outgoing, outgoing
from dexvla.formats.rlds import wire
from dexvla.formats.rlds.layout import FEATURES, INFO
from dexvla.formats.rlds.names import IMAGE_TIME, METADATA, OBSERVATION, OURS, OWN, STEPS, SUBSTEP, VELOCITY
from dexvla.formats.rlds.records import MAX_RECORD, write_record
from dexvla.formats.sources import package, safe_names
from dexvla.formats.stored import our_facts, stored_image

NAME, VERSION, SPLIT = "dexvla_episodes", "1.0.0", "train"
_SHARD_BYTES = 200 * 2**20
_AT_ONCE = 2**20  # bytes
_CLASSES = "tensorflow_datasets.core.features"


@dataclass(frozen=True)
class _Field:
    """A feature: how features.json describes it, and its tf.train.Feature."""

    described: dict[str, Any]
    content: bytes


class RldsExporter:
    """dexvla_episodes/1.0.0/dexvla_episodes-train.tfrecord-00000-of-0000N, an example an episode."""

    name = "rlds"
    title = "RLDS dataset for TensorFlow Datasets (tfrecord)"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        package("google_crc32c")
        kind = kind_of(episodes, of="an RLDS dataset")
        folder = out / NAME / VERSION
        folder.mkdir(parents=True)
        writing = _Writing(folder, kind)
        for episode in episodes:
            with outgoing(episode) as going:
                files = writing.add(going)
                warnings = (*going.clock.warnings, *_left_out(going, kind))
            on_episode(Exported(name=episode.name, files=files, warnings=warnings))
        writing.finish()
        return ()


class _Writing:
    """A dataset while it is written: shards have names of their own until it is known how many there are."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._folder, self._kind = folder, kind
        self._names = safe_names(tuple(name for name, _, _ in kind.cameras))
        self._lengths: list[int] = []
        self._size = self._shard_size = 0
        self._described: dict[str, dict[str, Any]] = {}
        self._endings: dict[str, set[str]] = {}

    def add(self, going: Outgoing) -> tuple[str, ...]:
        """Write an episode; returns the files of the dataset that are known so far: its description."""
        if not self._lengths or self._shard_size > _SHARD_BYTES:
            self._lengths.append(0)
            self._shard_size = 0
        fields = self._fields(going)
        self._described = {name: one.described for name, one in fields.items()}
        with tempfile.TemporaryFile(dir=self._folder) as spool:
            stored = [(name, *self._spool(going, camera, spool)) for camera, name in self._images().items()]
            heads = [
                (wire.entry_opening(name, _images_length(length)) + _images_opening(length), start, length)
                for name, start, length in stored
            ]
            plain = b"".join(
                wire.entry_opening(name, len(one.content)) + one.content for name, one in sorted(fields.items())
            )
            inner = len(plain) + sum(len(head) + length for head, _, length in heads)
            opening = wire.opening(1, inner)
            if len(opening) + inner > MAX_RECORD:
                raise FormatError(
                    f"{going.labels.name}: its record would have {inner} bytes, at most {MAX_RECORD} can be read as "
                    "one tf.train.Example; cut it into shorter episodes, or export lerobot"
                )

            def parts() -> Iterator[bytes]:
                yield opening + plain
                for head, start, length in heads:
                    yield head
                    yield from _read(spool, start, length)

            with self._shard(len(self._lengths) - 1).open("ab") as file:
                written = write_record(file, parts(), len(opening) + inner)
        self._lengths[-1] += 1
        self._shard_size += written
        self._size += written
        return (f"{NAME}/{VERSION}/{FEATURES}",)

    def _shard(self, number: int) -> Path:
        return self._folder / f"shard-{number:05d}"

    def _images(self) -> dict[str, str]:
        return {camera: f"{OBSERVATION}/{name}" for camera, name in self._names.items()}

    def _spool(self, going: Outgoing, camera: str, spool: IO[bytes]) -> tuple[int, int]:
        """Write the frames of a camera as the values of a BytesList; where they begin, and their bytes."""
        start = spool.seek(0, 2)
        for step in range(going.file.steps):
            data, ending = stored_image(going, camera, step)
            self._endings.setdefault(camera, set()).add(ending)
            spool.write(wire.opening(1, len(data)))
            spool.write(data)
        return start, spool.tell() - start

    # --- what is no image -------------------------------------------------------------------------------

    def _fields(self, going: Outgoing) -> dict[str, _Field]:
        file, labels, kind = going.file, going.labels, self._kind
        steps = file.steps
        last = np.zeros(steps, bool)
        last[-1] = True
        first = np.zeros(steps, bool)
        first[0] = True
        found = {
            f"{OBSERVATION}/state": _numbers(file.qpos),
            f"{STEPS}/action": _numbers(file.action),
            f"{STEPS}/is_first": _flags(first),
            f"{STEPS}/is_last": _flags(last),
            f"{STEPS}/is_terminal": _flags(last),
            f"{STEPS}/discount": _numbers(np.ones(steps, np.float32)),
            f"{STEPS}/reward": _numbers(last.astype(np.float32) * np.float32(going.success is True)),
            f"{STEPS}/language_instruction": _texts([labels.instruction] * steps),
            SUBSTEP: _texts(per_step(labels.substeps) or [""] * steps),
            f"{METADATA}/file_path": _texts([labels.name]),
            f"{METADATA}/fps": _numbers(np.asarray([kind.fps if file.attributes.fps is None else going.clock.fps])),
            f"{METADATA}/{OURS}": _texts([json.dumps(our_facts(going), ensure_ascii=False)]),
        }
        if kind.velocity:
            found[VELOCITY] = _numbers(file.qvel)
        for name in kind.own:
            found[OWN[name]] = _own(getattr(file, name))
        for camera in kind.timed:
            times = file.image_timestamp(camera)
            assert times is not None, "all episodes have them"
            found[IMAGE_TIME + self._names[camera]] = _exact(times)
        return found

    # --- the end ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        count = len(self._lengths)
        for number in range(count):
            self._shard(number).rename(self._folder / f"{NAME}-{SPLIT}.tfrecord-{number:05d}-of-{count:05d}")
        for (camera, name), (_, height, width) in zip(self._images().items(), self._kind.cameras, strict=True):
            about = {"shape": {"dimensions": [str(height), str(width), "3"]}, "dtype": "uint8"}
            if len(endings := self._endings[camera]) == 1:
                about["encodingFormat"] = {"jpg": "jpeg"}.get(ending := next(iter(endings)), ending)
            self._described[name] = {"pythonClassName": f"{_CLASSES}.image_feature.Image", "image": about}
        _write(self._folder / FEATURES, _nested(self._described))
        info: dict[str, Any] = {
            "name": NAME,
            "version": VERSION,
            "description": "Episodes of DexVLA Studio, one an example.",
            "fileFormat": "tfrecord",
            "splits": [
                {
                    "name": SPLIT,
                    "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                    "numBytes": str(self._size),
                    "shardLengths": [str(length) for length in self._lengths],
                }
            ],
        }
        _write(self._folder / INFO, info)


def _images_length(length: int) -> int:
    return len(_images_opening(length)) + length


def _images_opening(length: int) -> bytes:
    """Of a Feature whose BytesList has values of `length` bytes."""
    return wire.opening(wire.BYTES, length)


def _read(spool: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    spool.seek(start)
    while length:
        part = spool.read(min(length, _AT_ONCE))
        if not part:
            raise OSError("the temporary file became shorter")
        length -= len(part)
        yield part


def _left_out(going: Outgoing, kind: Kind) -> list[str]:
    file = going.file
    lost = [name for name in OWN if getattr(file, name) is not None and name not in kind.own]
    lost += ["velocity"] if file.has_qvel and not kind.velocity else []
    lost += [f"times of {c}" for c in file.cameras if c not in kind.timed and file.image_timestamp(c) is not None]
    if not lost:
        return []
    return [f"left out, since other episodes do not have them or have them otherwise: {', '.join(lost)}"]


# --- features ---------------------------------------------------------------------------------------------


def _tensor(dtype: str, shape: tuple[int, ...], encoding: str = "none") -> dict[str, Any]:
    sizes = {"dimensions": [str(size) for size in shape]} if shape else {}
    return {
        "pythonClassName": f"{_CLASSES}.tensor_feature.Tensor",
        "tensor": {"dtype": dtype, "encoding": encoding, "shape": sizes},
    }


def _numbers(values: NDArray[Any]) -> _Field:
    """(T, D) or (T,) as float32."""
    exact = np.asarray(values, np.float32)
    return _Field(_tensor("float32", exact.shape[1:]), wire.floats(exact))


def _flags(values: NDArray[np.bool_]) -> _Field:
    return _Field(_tensor("bool", ()), wire.integers(values.astype(np.int64)))


def _exact(values: NDArray[np.float64]) -> _Field:
    """(T,) float64 to the bit: as bytes, since a tf.train.Feature has float32 alone."""
    return _Field(_tensor("float64", (), "bytes"), wire.texts(value.astype("<f8").tobytes() for value in values))


def _texts(values: Sequence[str]) -> _Field:
    described: dict[str, Any] = {"pythonClassName": f"{_CLASSES}.text_feature.Text", "text": {}}
    return _Field(described, wire.texts(value.encode() for value in values))


def _own(values: Any) -> _Field:
    if isinstance(values, tuple):
        names = list(StepSource)
        numbers = np.asarray([names.index(source) for source in values], np.int64)
        return _Field(_tensor("int64", ()), wire.integers(numbers))
    array = np.asarray(values)
    return _numbers(array) if array.ndim == 2 else _exact(array)


def _nested(described: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Features by their parts; what is below steps is a sequence of them."""
    tree: dict[str, Any] = {}
    for name, one in described.items():
        *folders, last = name.split("/")
        here = tree
        for folder in folders:
            here = here.setdefault(folder, {})
        here[last] = one
    return _dict({name: _sequence(one) if name == STEPS else _dict(one) for name, one in tree.items()})


def _dict(features: dict[str, Any]) -> dict[str, Any]:
    inner = {name: one if "pythonClassName" in one else _dict(one) for name, one in sorted(features.items())}
    return {"pythonClassName": f"{_CLASSES}.features_dict.FeaturesDict", "featuresDict": {"features": inner}}


def _sequence(features: dict[str, Any]) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_CLASSES}.dataset_feature.Dataset",
        "sequence": {"feature": _dict(features), "length": "-1"},
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


RLDS = RldsExporter()

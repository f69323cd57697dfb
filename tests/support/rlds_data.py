"""RLDS datasets as a lab writes them, record by record."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.formats.importing import ImportReport, import_source
from dexvla.formats.rlds import wire
from dexvla.formats.rlds.records import write_record
from dexvla.spec import ImportProfile

IMAGE = encode_jpeg(np.full((16, 24, 3), (200, 60, 10), np.uint8))
STEPS = 4


def bring(source: Path, folder: Path, **said: Any) -> ImportReport:
    return import_source(source, folder / "ours", ImportProfile(**{"fps": 10, "instruction": "Go", **said}))


def tensor(dtype: str, *shape: int | None, encoding: str = "none") -> dict[str, Any]:
    sizes = {"dimensions": ["-1" if size is None else str(size) for size in shape]}
    return {"pythonClassName": "lab.Tensor", "tensor": {"dtype": dtype, "shape": sizes, "encoding": encoding}}


def image(dtype: str = "uint8", channels: int = 3) -> dict[str, Any]:
    return {"image": {"shape": {"dimensions": ["16", "24", str(channels)]}, "dtype": dtype, "encodingFormat": "jpeg"}}


TEXT: dict[str, Any] = {"text": {}}


def listed(inner: dict[str, Any]) -> dict[str, Any]:
    return {"sequence": {"feature": inner, "length": "-1"}}


def named(features: Mapping[str, Any]) -> dict[str, Any]:
    return {"featuresDict": {"features": dict(features)}}


STATE = {"observation": {"image": image(), "state": tensor("float32", 3)}}
STATE_VALUES = {
    "steps/observation/image": [IMAGE] * STEPS,
    "steps/observation/state": np.arange(3 * STEPS, dtype=np.float32),
    "steps/action": np.arange(2 * STEPS, dtype=np.float32) / 3,
}


def described(step: Mapping[str, Any], episode: Mapping[str, Any] | None = None) -> dict[str, Any]:
    inner = {
        name: named(one) if name in ("observation", "action") and "tensor" not in one else one
        for name, one in step.items()
    }
    return named({"steps": listed(named(inner)), "episode_metadata": named(episode or {})})


def encoded(values: Mapping[str, Any]) -> bytes:
    made = []
    for name, value in values.items():
        if isinstance(value, list):
            content = wire.texts(value)
        else:
            array = np.asarray(value)
            content = wire.floats(array) if array.dtype.kind == "f" else wire.integers(array.astype(np.int64))
        made.append(wire.entry_opening(name, len(content)) + content)
    return wire.block(1, b"".join(made))


def dataset(
    folder: Path, features: Any, *records: bytes, shards: Sequence[int] = (0,), of: int = 1, **info: Any
) -> Path:
    """A dataset `lab`, all records in each of the shards that are there."""
    folder.mkdir(exist_ok=True)
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "dataset_info.json").write_text(json.dumps({"name": "lab", "fileFormat": "tfrecord", **info}))
    for number in shards:
        with (folder / f"lab-train.tfrecord-{number:05d}-of-{of:05d}").open("wb") as file:
            for record in records:
                write_record(file, [record], len(record))
    return folder


PLAIN = described({**STATE, "action": tensor("float32", 2)})

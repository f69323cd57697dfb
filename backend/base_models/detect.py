"""What lies in a folder: a base model, a pretrained expert, a policy. Torch-free, and nothing of a file is executed.

Sizes come from config.json and from the headers of safetensors files. A file of torch.save is known by being a zip
archive with a pickle in it, which is not opened here.
"""

import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.tables.base_model import ModelKind
from dexvla.spec import BACKBONE_TYPE, EXPERT_TYPE, POLICY_TYPE, PRETRAINER_TYPE, UPSTREAM_TYPE

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_TORCH_FILES = {".ckpt", ".pt", ".pth"}
_MAX_JSON = 16 * 2**20
_MAX_HEADER = 100 * 2**20  # the format's own limit
_MAX_INFO = 2**14  # bytes of what is told of a model
# What reading a damaged or hostile folder raises; deep JSON is a RecursionError.
_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, NotImplementedError,
    EOFError, zipfile.BadZipFile, struct.error,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Found:
    """A model. config: its config.json; empty for a file of torch.save."""

    path: Path
    kind: ModelKind
    size_bytes: int
    info: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)


def detect(path: Path) -> Found | None:
    """The model at `path`, or None if there is none that a run could start from.

    Unreadable files, deep JSON, shapes that no file holds and facts that no answer could carry are none: they spoil no
    list of others.
    """
    try:
        found = _torch_file(path) if path.is_file() else _stage_1_run(path) or _directory(path)
        if found is not None and len(json.dumps(found.info, allow_nan=False, ensure_ascii=False).encode()) > _MAX_INFO:
            return None
        return found
    except _DAMAGED:
        return None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    if path.stat().st_size > _MAX_JSON:
        raise ValueError(f"{path}: larger than {_MAX_JSON} bytes")
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: not a JSON object")
    return value


def weight_files(directory: Path) -> list[Path]:
    """Its safetensors files; none if one is missing."""
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if not (directory / INDEX).is_file():
        return []
    names = sorted(set(read_object(directory / INDEX)["weight_map"].values()))
    files = [directory / str(name) for name in names]
    return files if all(file.parent == directory and file.is_file() for file in files) else []


def tensor_shapes(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> (format, shape) of a safetensors file, from its header alone.

    ValueError for a header whose tensors do not lie one after the other in the file with the bytes that they need.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise ValueError(f"{file}: not a safetensors file")
        header = json.loads(opened.read(length))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    shapes = {name: (str(one["dtype"]), tuple(int(side) for side in one["shape"])) for name, one in tensors.items()}
    position = 0
    for name in sorted(tensors, key=lambda name: tuple(tensors[name]["data_offsets"])):
        kind, shape = shapes[name]
        begin, end = tensors[name]["data_offsets"]
        if begin != position or min(shape, default=0) < 0 or math.prod(shape) * _bits(kind) != 8 * (end - begin):
            raise ValueError(f"{file}: {name} is {kind} {shape} in bytes {begin} to {end}; damaged")
        position = end
    if position != size - 8 - length:
        raise ValueError(f"{file}: its tensors end at {position}, the file after {size - 8 - length} bytes; damaged")
    return shapes


def _bits(kind: str) -> int:
    """Of one element: BOOL and names like BF16, F8_E4M3, U64."""
    digits = re.match(r"(?:BF|F|I|U)([0-9]{1,2})", kind)
    return 8 if kind == "BOOL" else int(digits[1]) if digits else 0


def parameters(directory: Path) -> int:
    return sum(math.prod(shape) for file in weight_files(directory) for _, shape in tensor_shapes(file).values())


def _directory(path: Path) -> Found | None:
    if not (path / "config.json").is_file():
        return None
    config = read_object(path / "config.json")
    kind = config.get("model_type")
    files = weight_files(path)
    if not files:
        return None
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    info: dict[str, Any] = {"model_type": kind, "parameters": parameters(path)}
    formats = sorted({dtype for dtype, _ in tensor_shapes(files[0]).values()})
    info["format"] = ", ".join(formats)
    if kind == BACKBONE_TYPE:
        text = config.get("text_config") or config
        info |= {"width": text.get("hidden_size"), "layers": text.get("num_hidden_layers")}
        return Found(path=path, kind=ModelKind.BACKBONE, size_bytes=size, info=info, config=config)
    if kind == POLICY_TYPE:
        info |= policy_facts(config["policy"]) | _history(path)
        return Found(path=path, kind=ModelKind.POLICY, size_bytes=size, info=info, config=config)
    if kind == UPSTREAM_TYPE:
        info |= {"made_by": "the reference implementation", "action_dim": config.get("action_dim")}
        return Found(path=path, kind=ModelKind.POLICY, size_bytes=size, info=info, config=config)
    if kind == PRETRAINER_TYPE:
        info |= pretrainer_facts(config["pretrainer"]) | _history(path)
        return Found(path=path, kind=ModelKind.EXPERT, size_bytes=size, info=info, config=config)
    if kind == EXPERT_TYPE:
        info["made_by"] = "dexvla convert --from scaledp"
        return Found(path=path, kind=ModelKind.EXPERT, size_bytes=size, info=info, config=config)
    return None


def policy_facts(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What a person wants to know of a policy, from the `policy` of its config.json."""
    names = ("action_dim", "state_dim", "chunk_size", "fusion", "robot", "fps")
    cameras = [camera["name"] for camera in policy.get("cameras", ())]
    expert = {name: policy["expert"].get(name) for name in ("kind", "depth", "width") if name in policy["expert"]}
    return {name: policy.get(name) for name in names} | {"cameras": cameras, "expert": expert}


def pretrainer_facts(pretrainer: Mapping[str, Any]) -> dict[str, Any]:
    expert = pretrainer["expert"]
    return {
        "stage": 1,
        "depth": expert["depth"],
        "width": expert["width"],
        "chunk_size": pretrainer["chunk_size"],
        "embodiments": [one["name"] for one in pretrainer["embodiments"]],
    }


def _history(path: Path) -> dict[str, Any]:
    if not (path / "manifest.json").is_file():
        return {}
    manifest = read_object(path / "manifest.json")
    return {name: manifest[name] for name in ("stage", "step") if name in manifest}


def _stage_1_run(path: Path) -> Found | None:
    """The folder of a run of stage 1 stands for its newest checkpoint."""
    if not (path / "run.json").is_file() or read_object(path / "run.json").get("stage") != 1:
        return None
    finished = [folder for folder in (path / "checkpoints").glob("step-*") if (folder / "manifest.json").is_file()]
    found = _directory(max(finished, key=lambda folder: folder.name)) if finished else None
    if found is None:
        return None
    return Found(path=path, kind=found.kind, size_bytes=found.size_bytes, info=found.info, config=found.config)


def _torch_file(path: Path) -> Found | None:
    if path.suffix not in _TORCH_FILES or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if not any(name.endswith("/data.pkl") for name in archive.namelist()):
            return None
    info = {"model_type": "scaledp", "format": "torch.save"}
    return Found(path=path, kind=ModelKind.EXPERT, size_bytes=path.stat().st_size, info=info)

"""Tensors on disk: safetensors files, alone or in shards with an index, read strictly. No pickle is read or written."""

import errno
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file as _save_file
from torch import Tensor, nn

from dexvla.errors import CheckpointError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
EMBEDDING = "backbone.model.language_model.embed_tokens.weight"
SHARD_BYTES = 5_000_000_000
_ALIGNMENT = 64  # bytes, of the memory that torch makes itself


def save_file(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write one safetensors file. A full disk is an OSError here, as everywhere else."""
    try:
        _save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = int(found.group(1)) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


_MAX_JSON = 2**28  # bytes; a manifest of a large run lists its episodes
_MAX_DEPTH = 50


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError naming the file."""
    try:
        if path.stat().st_size > _MAX_JSON:
            raise CheckpointError(f"{path}: larger than {_MAX_JSON // 2**20} MiB; not settings of a model")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: missing") from error
    except RecursionError as error:
        raise CheckpointError(f"{path}: its JSON is nested too deeply") from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: found a JSON {type(value).__name__}, expected an object")
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        inner, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise CheckpointError(f"{path}: its JSON is nested too deeply")
        if isinstance(inner, dict | list):
            waiting += [(one, depth + 1) for one in (inner.values() if isinstance(inner, dict) else inner)]
    return value


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a model directory. Raises CheckpointError naming the file that is missing."""
    single, index = directory / WEIGHTS_FILE, directory / INDEX_FILE
    if single.is_file():
        return [single]
    if not index.is_file():
        pickled = any(directory.glob("*.bin"))
        hint = "; weights in .bin files are not read, convert them to safetensors" if pickled else ""
        raise CheckpointError(f"{directory}: neither {WEIGHTS_FILE} nor {INDEX_FILE} is there{hint}")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: not a readable index of weight files: {error!r}") from error
    files = [directory / name for name in names]
    for file in files:
        if file.parent != directory or not file.is_file():
            raise CheckpointError(f"{file}: missing; {INDEX_FILE} lists it")
    return files


def read_weights(
    directory: Path,
    *,
    rename: Callable[[str], str | None] = lambda name: name,
    files: Sequence[Path] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """All tensors of a model directory under the names that `rename` gives them; those named None are left out.

    files: read these instead of the directory's.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(directory) if files is None else files:
        try:
            with safe_open(file, framework="pt", device=str(device)) as opened:
                for name in opened.keys():  # noqa: SIM118 - not a mapping
                    ours = rename(name)
                    if ours is not None:
                        tensor = opened.get_tensor(name)
                        if dtype is not None and tensor.is_floating_point():
                            tensor = tensor.to(dtype)
                        tensors[ours] = _aligned(tensor)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: truncated or not a safetensors file ({error})") from error
    return tensors


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor in memory that begins where torch's own would.

    A file's tensors follow each other without gaps, so they begin anywhere; and on many processors the last bits of a
    matrix product depend on that. A policy that was saved and loaded would act otherwise than it did before.
    """
    return tensor.clone() if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT else tensor


def write_weights(tensors: Mapping[str, Tensor], directory: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as model.safetensors, or as shards with an index where they exceed `shard_bytes`."""
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor.detach().contiguous().cpu()
        filled += size
    if len(shards) == 1:
        save_file(shards[0], directory / WEIGHTS_FILE, metadata={"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, directory / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def check_fit(found: Mapping[str, torch.Size], expected: Mapping[str, torch.Size], where: str) -> None:
    """Raise CheckpointError where names or shapes differ, naming a tensor, both shapes and the likely cause."""
    for name, shape in expected.items():
        if name in found and found[name] != shape:
            raise CheckpointError(
                f"{where}: {name} has shape {list(found[name])}, expected {list(shape)}: {likely_cause(name)}"
            )
    for what, names in (
        ("lacks", [name for name in expected if name not in found]),
        ("has the unknown", [name for name in found if name not in expected]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"{where}: {what} tensor {names[0]}{more}: {likely_cause(names[0])}")


def likely_cause(name: str) -> str:
    """What usually lies behind a tensor that is missing, unknown or of another shape."""
    if "norm_after_pool" in name:
        return "one of the fusions is TinyVLA's, whose expert norms its condition"
    if "pos_embed" in name:
        return "the chunk sizes, or the sizes of the expert, differ"
    if "x_embedder" in name or "final_layer.linear" in name:
        return "the action dimensions, or the sizes of the expert, differ"
    if "expert.combine" in name or "cond_obs_emb" in name:
        return (
            "the state dimensions, the hidden sizes of the backbones, or the sizes or kinds (ScaleDP, U-Net) "
            "of the expert differ"
        )
    if name.startswith("expert."):
        return "the experts are of different sizes (such as ScaleDP-L and ScaleDP-H) or kinds (ScaleDP, U-Net)"
    if name.startswith("fusion."):
        return "the fusions (FiLM, pooled, TinyVLA) or the hidden sizes of the backbones differ"
    return "the backbones are of different sizes, or the weights are not those of this config.json"


def expected_shapes(module: nn.Module, *, tied: bool) -> dict[str, torch.Size]:
    """Names and shapes that a module's weights need; a tied output projection is not among them."""
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    if tied:
        shapes.pop("backbone.lm_head.weight", None)
        shapes.pop("lm_head.weight", None)
    return shapes


def drop_tied_copy(tensors: dict[str, Tensor], where: str) -> None:
    """Take a tied output projection out of `tensors`: it is stored by some programs and left out by others.

    Where it is the only one of the two, it becomes the embedding.
    """
    copy = tensors.pop("backbone.lm_head.weight", None)
    embedding = tensors.get(EMBEDDING)
    if copy is None or copy.is_meta:
        return
    if embedding is None:
        tensors[EMBEDDING] = copy
    elif not torch.equal(copy, embedding):
        raise CheckpointError(
            f"{where}: lm_head.weight differs from the embedding, but config.json has tie_word_embeddings true; "
            "set it to false if the output projection was trained on its own"
        )


def materialise(module: nn.Module) -> None:
    """Give parameters that are on the meta device uninitialised memory on the CPU."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.is_meta:
                empty = torch.empty_like(parameter, device="cpu")
                setattr(part, name, nn.Parameter(empty, requires_grad=parameter.requires_grad))

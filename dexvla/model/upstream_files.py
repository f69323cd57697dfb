"""Directories that the reference implementation left: which files belong to a checkpoint, and what is in them.

Layouts (docs/decisions/model.md): a plain checkpoint; a LoRA checkpoint, whose adapters and other trained weights lie
over a base model; either with a moving average beside it. Names of folders carry no meaning here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2VLConfig

from dexvla.errors import CheckpointError
from dexvla.model import upstream
from dexvla.model.adapters import Adapters, strip_wrappers
from dexvla.model.pickled import read_dataset_stats
from dexvla.model.processing import Processor
from dexvla.model.report import LoadReport, per_part
from dexvla.model.torch_files import read_torch_tensors
from dexvla.model.weights import INDEX_FILE, WEIGHTS_FILE, read_json, read_weights
from dexvla.spec import BACKBONE_TYPE, UPSTREAM_TYPE, NormStats, PolicySpec

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
TRAINED_FILE = "non_lora_trainables.bin"
EMA_FILE = "ema_weights.pth"
TORCH_WEIGHTS = "pytorch_model.bin"
TORCH_INDEX = "pytorch_model.bin.index.json"
STATS_FILES = ("dataset_stats.pkl", "dataset_stats.npz")


@dataclass(frozen=True, kw_only=True)
class UpstreamCheckpoint:
    """What a directory of the reference holds, in our terms. tensors: under our names, adapters merged."""

    spec: PolicySpec
    backbone: Qwen2VLConfig
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    norm_stats: NormStats | None
    stats_file: Path | None
    processor: Processor | None
    report: LoadReport


def config_file(directory: Path) -> Path:
    """The config.json that describes `directory`: there, or for weights in checkpoint-N one folder up."""
    here, above = directory / "config.json", directory.resolve().parent / "config.json"
    if not here.is_file() and above.is_file() and (_has_weights(directory) or (directory / ADAPTER_CONFIG).is_file()):
        return above
    return here


def read_checkpoint(
    directory: Path,
    *,
    base: Path | None = None,
    ema: bool = False,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> UpstreamCheckpoint:
    """Read a checkpoint of the reference.

    base: base model of a LoRA checkpoint, in place of the path in its adapter_config.json. ema: the averaged weights
    of ema_weights.pth instead of the last ones. dtype: None keeps that of the files. Raises CheckpointError.
    """
    file = config_file(directory)
    config = read_json(file)
    if config.get("model_type") != UPSTREAM_TYPE:
        raise CheckpointError(f"{file}: model_type is {config.get('model_type')!r}, expected {UPSTREAM_TYPE!r}")
    spec, backbone = upstream.read_config(config, str(file))
    notes = [] if file.parent == directory else [f"config.json is that of {file.parent}"]
    if unread := upstream.unread_fields(config):
        notes.append(f"config.json has fields that nothing here reads: {', '.join(unread)}")
    adapted = (directory / ADAPTER_CONFIG).is_file()
    if adapted:
        named = _read_adapted(directory, base, ema, notes, config, dtype, device)
    elif base is not None:
        raise CheckpointError(f"{directory / ADAPTER_CONFIG}: missing; a base model goes with a LoRA checkpoint only")
    elif ema:
        named = strip_wrappers(read_torch_tensors(directory / EMA_FILE))
        notes.append(f"weights are the moving average of {EMA_FILE}")
    else:
        named = read_plain(directory)
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for name in list(named):
        tensor = named.pop(name)  # one at a time: both copies of a large model need not be there at once
        ours = upstream.from_upstream_name(name)
        if ours is None:
            left_out[name] = "the policy has no such tensor"
        elif not upstream.keep_for(spec.fusion, ours):
            left_out[name] = f"not used by a policy with fusion {spec.fusion}"
        else:
            tensors[ours] = _cast(tensor, dtype, device)
    processor, note = _processor(directory, file.parent)
    notes += note
    stats_file = find_stats(directory)
    norm_stats = None if stats_file is None else _read_stats(stats_file, spec)
    if norm_stats is None:
        notes.append("no dataset_stats.pkl in this folder or the one above: actions have no units")
    report = LoadReport(
        source=str(directory),
        kind="upstream with LoRA" if adapted else "upstream",
        tensors=len(tensors),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        loaded=per_part(tensors),
        left_out=left_out,
        notes=tuple(notes),
    )
    return UpstreamCheckpoint(
        spec=spec,
        backbone=backbone,
        config=config,
        tensors=tensors,
        norm_stats=norm_stats,
        stats_file=stats_file,
        processor=processor,
        report=report,
    )


def find_stats(directory: Path) -> Path | None:
    """The reference keeps statistics one folder above the weights; what we export lies beside them."""
    places = [directory / name for name in ("norm_stats.json", *STATS_FILES)]
    places += [directory.resolve().parent / name for name in STATS_FILES]
    return next((place for place in places if place.is_file()), None)


def _read_stats(file: Path, spec: PolicySpec) -> NormStats:
    if file.suffix == ".json":
        try:
            stats = NormStats.model_validate(read_json(file))
        except ValueError as error:
            raise CheckpointError(f"{file}: {' '.join(str(error).split())}") from error
    else:
        stats = read_dataset_stats(file)
    if (stats.action_dim, stats.state_dim) != (spec.action_dim, spec.state_dim):
        raise CheckpointError(
            f"{file}: for {stats.action_dim} action and {stats.state_dim} state values, config.json says "
            f"{spec.action_dim} and {spec.state_dim}"
        )
    return stats


def read_plain(directory: Path) -> dict[str, Tensor]:
    """Weights of a full checkpoint: safetensors, or what DeepSpeed's consolidation writes with torch.save."""
    if (directory / WEIGHTS_FILE).is_file() or (directory / INDEX_FILE).is_file():
        return read_weights(directory)
    if (directory / TORCH_WEIGHTS).is_file():
        return strip_wrappers(read_torch_tensors(directory / TORCH_WEIGHTS))
    if (directory / TORCH_INDEX).is_file():
        listed = read_json(directory / TORCH_INDEX).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise CheckpointError(f"{directory / TORCH_INDEX}: weight_map is {listed!r}, expected names and files")
        tensors: dict[str, Tensor] = {}
        for name in sorted({str(name) for name in listed.values()}):
            if Path(name).name != name:
                raise CheckpointError(f"{directory / TORCH_INDEX}: {name!r} is not a file of this folder")
            tensors.update(read_torch_tensors(directory / name))
        return strip_wrappers(tensors)
    steps = sorted(entry.name for entry in directory.glob("checkpoint-*") if entry.is_dir())
    hint = f"; the weights are in its folder {steps[-1]}, name that" if steps else ""
    raise CheckpointError(f"{directory}: none of {WEIGHTS_FILE}, {INDEX_FILE}, {TORCH_WEIGHTS} is there{hint}")


def _has_weights(directory: Path) -> bool:
    return any((directory / name).is_file() for name in (WEIGHTS_FILE, INDEX_FILE, TORCH_WEIGHTS, TORCH_INDEX))


def _read_adapted(
    directory: Path,
    base: Path | None,
    ema: bool,
    notes: list[str],
    config: dict[str, Any],
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Base model, over it what was trained in full, into it the adapters; under the reference's names."""
    adapters = Adapters.read_config(directory / ADAPTER_CONFIG, read_json(directory / ADAPTER_CONFIG))
    if ema:
        trained = strip_wrappers(read_torch_tensors(directory / EMA_FILE))
        adapters.add(trained, directory / EMA_FILE)
        notes.append(f"weights are the moving average of {EMA_FILE}")
    else:
        if not (directory / TRAINED_FILE).is_file():
            raise CheckpointError(
                f"{directory / TRAINED_FILE}: missing; it holds what a LoRA run trained in full (the expert) and is "
                "written at the end of a run; for an earlier checkpoint consolidate its DeepSpeed state into it"
            )
        trained = strip_wrappers(read_torch_tensors(directory / TRAINED_FILE))
        stored = next((directory / name for name in ADAPTER_FILES if (directory / name).is_file()), None)
        if stored is None:
            raise CheckpointError(f"{directory / ADAPTER_FILES[0]}: missing; {ADAPTER_CONFIG} says there are adapters")
        safe = stored.suffix == ".safetensors"
        weights = read_weights(directory, files=[stored]) if safe else read_torch_tensors(stored)
        adapters.add(strip_wrappers(weights), stored)
    frozen = {name.replace(".base_layer.", "."): trained[name] for name in trained if ".base_layer." in name}
    trained = {name: tensor for name, tensor in trained.items() if "lora" not in name and ".base_layer." not in name}
    found = base if base is not None else _base_of(directory, adapters.base, complete=bool(frozen))
    if found is None:
        below = frozen
        notes.append("no base model: its frozen weights were taken from the checkpoint, which holds a copy")
    else:
        below = _read_base(found)
        _same_base(frozen, below, found, directory)
        notes.append(f"base model: {found}")
    whole = {**below, **trained}
    merged = adapters.merge(whole, dtype=dtype, device=device)
    notes.append(f"{merged} adapters of rank {adapters.rank} merged")
    return whole


def _base_of(directory: Path, named: str | None, *, complete: bool) -> Path | None:
    """The base model that adapter_config.json names, as it stands or relative to the checkpoint."""
    for place in (Path(named), directory / named) if named else ():
        if place.is_dir():
            return place
    if complete:
        return None
    raise CheckpointError(
        f"{directory / ADAPTER_CONFIG}: base_model_name_or_path is {named!r}, which is no directory here; "
        "name the base model (base=..., --base)"
    )


def _read_base(directory: Path) -> dict[str, Tensor]:
    """A base model's or plain checkpoint's tensors under the reference's names."""
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such directory; expected the base model of a LoRA checkpoint")
    kind = read_json(directory / "config.json").get("model_type")
    if kind == "dexvla":
        return read_weights(directory, rename=upstream.to_upstream_name)
    if kind not in (BACKBONE_TYPE, UPSTREAM_TYPE):
        raise CheckpointError(f"{directory / 'config.json'}: model_type is {kind!r}, expected {BACKBONE_TYPE!r}")

    def rename(name: str) -> str | None:
        ours = upstream.from_base_name(name) if kind == "qwen2_vl" else upstream.from_upstream_name(name)
        return None if ours is None else upstream.to_upstream_name(ours)

    renamed = {rename(name): tensor for name, tensor in read_plain(directory).items()}
    return {name: tensor for name, tensor in renamed.items() if name is not None}


def _same_base(frozen: dict[str, Tensor], below: dict[str, Tensor], base: Path, directory: Path) -> None:
    """The checkpoint's copy of the adapted layers tells whether this is the base model it was trained on."""
    for name, copy in frozen.items():
        given = below.get(name)
        if given is None or given.shape != copy.shape:
            found = "missing" if given is None else f"of shape {list(given.shape)}"
            raise CheckpointError(f"{base}: {name} is {found}, {directory} was trained on {list(copy.shape)}")
        coarse = min((copy.dtype, given.dtype), key=lambda kind: kind.itemsize)
        if not torch.equal(copy.to(coarse), given.to(coarse)):
            raise CheckpointError(
                f"{base}: {name} differs from the copy in {directory / TRAINED_FILE}; "
                "these adapters were trained on another base model"
            )


def _processor(directory: Path, above: Path) -> tuple[Processor | None, list[str]]:
    """Tokenizer and image settings, where the tokenizer is there; the reference often lacks the image settings."""
    for place in dict.fromkeys((directory, directory / "processor", above)):
        if (place / "tokenizer_config.json").is_file():
            processor = Processor.from_pretrained(place, standard_settings=True)
            if (place / "preprocessor_config.json").is_file():
                return processor, []
            return processor, ["preprocessor_config.json is missing: images are prepared as Qwen2-VL does"]
    return None, ["no tokenizer: only prepared tensors can be given to this policy"]


def _cast(tensor: Tensor, dtype: torch.dtype | None, device: torch.device | str) -> Tensor:
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

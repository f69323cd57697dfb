"""Policies on disk.

A checkpoint is a directory: model.safetensors (or shards with an index), config.json, norm_stats.json, the processor's
files, and manifest.json with the sha256 of each and whatever lineage the writer knows. It is written beside its final
place and renamed, so it is there whole or not at all.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from pydantic import ValidationError
from torch import Tensor
from transformers import Qwen2VLConfig

import dexvla
from dexvla.checksums import MANIFEST, check_files, file_sha256
from dexvla.errors import CheckpointError
from dexvla.files import atomic_directory, write_json
from dexvla.model import upstream
from dexvla.model.policy import DexVLA
from dexvla.model.processing import Processor
from dexvla.model.upstream_files import config_file, read_checkpoint
from dexvla.model.weights import (
    check_fit,
    drop_tied_copy,
    expected_shapes,
    materialise,
    read_json,
    read_weights,
    write_weights,
)
from dexvla.spec import (
    BACKBONE_TYPE,
    POLICY_TYPE,
    PRETRAINER_TYPE,
    UPSTREAM_TYPE,
    Initialisation,
    NormStats,
    PolicySpec,
    Spec,
    first_error,
)

FORMAT_VERSION = 1

_S = TypeVar("_S", bound=Spec)

_CONFIG_FIELDS = {"model_type", "format_version", "policy", "backbone"}
_CANNOT_ACT = (
    "{}: a stage-1 checkpoint, an expert without a backbone, which cannot act; "
    "train stage 2 with pretrained_expert set to it and use that checkpoint"
)
_NOT_STORED = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")


def save_policy(
    policy: DexVLA,
    directory: str | Path,
    *,
    manifest: Mapping[str, Any],
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint directory, which must not exist yet.

    manifest: what the writer knows about origin (run, step, data, parent ...), kept beside the checksums.
    state_dict: weights to write instead of the policy's own, such as their moving average or what a sharded
    optimiser gathered; the names are those of `policy.state_dict()`.
    """
    if Path(directory).exists():
        raise CheckpointError(f"{directory} exists already; a checkpoint is never written over another")
    tensors = dict(policy.state_dict() if state_dict is None else state_dict)
    tied = policy.backbone.tied
    if tied:
        tensors.pop("backbone.lm_head.weight", None)
    with init_empty_weights(include_buffers=False):
        plain = DexVLA(policy.spec, policy.backbone.config)
    check_fit({name: t.shape for name, t in tensors.items()}, expected_shapes(plain, tied=tied), str(directory))
    config = {
        "model_type": POLICY_TYPE,
        "format_version": FORMAT_VERSION,
        "policy": policy.spec.model_dump(mode="json"),
        "backbone": _stored(policy.backbone.config.to_dict()),
    }
    with atomic_directory(directory) as temporary:
        write_weights(tensors, temporary)
        write_json(temporary / "config.json", config)
        if policy.norm_stats is not None:
            write_json(temporary / "norm_stats.json", policy.norm_stats.model_dump(mode="json"))
        if policy.processor is not None:
            policy.processor.save(temporary)
        write_manifest(temporary, manifest)


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest` and, beside it, version, time and sums of the files that are in `directory` now."""
    files = {
        path.name: {"sha256": file_sha256(path), "bytes": path.stat().st_size} for path in sorted(directory.iterdir())
    }
    created = datetime.now(UTC).isoformat(timespec="seconds")
    header = {"format_version": FORMAT_VERSION, "dexvla": dexvla.__version__, "created": created, "files": files}
    write_json(directory / MANIFEST, {**manifest, **header})


def load_policy(
    path: str | Path,
    *,
    dtype: torch.dtype | None = torch.float32,
    device: torch.device | str = "cpu",
    verify: bool = True,
    base: str | Path | None = None,
    ema: bool = False,
) -> DexVLA:
    """Read a checkpoint of ours, or of the reference (config.json with model_type qwen2_vla), in evaluation mode.

    dtype None keeps that of the files. Every file is compared with the manifest's sha256 first; verify False compares
    sizes alone. For the reference's checkpoints: base is the base model of a LoRA checkpoint, in place of the path in
    its adapter_config.json; ema takes the moving average in ema_weights.pth. Processor and norm statistics may be
    missing there: then `processor` and `norm_stats` are None, and what needs them raises. Raises CheckpointError.
    """
    directory = model_directory(path)
    file = config_file(directory)
    try:
        config, where = read_json(file), str(file)
    except CheckpointError:
        if (directory / MANIFEST).is_file():
            check_files(directory)  # says whether it was damaged after it was saved
        raise
    kind = config.get("model_type")
    if kind != UPSTREAM_TYPE and (base is not None or ema):
        raise CheckpointError(f"{where}: model_type is {kind!r}; base and ema are for the reference's checkpoints")
    if kind == POLICY_TYPE:
        check_files(directory, verify=verify)
        spec, backbone = _own_config(config, where)
        tensors = read_weights(directory, dtype=dtype, device=device)
        norm_stats = _norm_stats(directory / "norm_stats.json")
        processor = Processor.from_pretrained(directory) if (directory / "tokenizer_config.json").is_file() else None
    elif kind == UPSTREAM_TYPE:
        read = read_checkpoint(
            directory, base=None if base is None else Path(base), ema=ema, dtype=dtype, device=device
        )
        spec, backbone, tensors = read.spec, read.backbone, read.tensors
        norm_stats, processor = read.norm_stats, read.processor
    elif kind == PRETRAINER_TYPE:
        raise CheckpointError(_CANNOT_ACT.format(directory))
    elif kind == BACKBONE_TYPE:
        raise CheckpointError(
            f"{directory}: a base model (model_type {kind!r}) where a checkpoint is expected; "
            "start stage 2 from it to get a checkpoint"
        )
    else:
        raise CheckpointError(f"{where}: model_type is {kind!r}, expected {POLICY_TYPE!r} or {UPSTREAM_TYPE!r}")
    if norm_stats is not None and (norm_stats.action_dim, norm_stats.state_dim) != (spec.action_dim, spec.state_dim):
        raise CheckpointError(
            f"{directory / 'norm_stats.json'}: for {norm_stats.action_dim} action and {norm_stats.state_dim} state "
            f"values, config.json says {spec.action_dim} and {spec.state_dim}"
        )
    return build_policy(
        spec, backbone, tensors, norm_stats=norm_stats, processor=processor, where=str(directory), device=device
    )


def build_policy(
    spec: PolicySpec,
    backbone: Qwen2VLConfig,
    tensors: dict[str, Tensor],
    *,
    norm_stats: NormStats | None = None,
    processor: Processor | None = None,
    where: str = "weights",
    device: torch.device | str = "cpu",
) -> DexVLA:
    """A policy around weights that are in memory already, under our names; they are taken over, not copied."""
    if processor is not None:
        _check_tokens(processor, backbone, where)
    try:
        with init_empty_weights(include_buffers=False):
            policy = DexVLA(spec, backbone, norm_stats=norm_stats, processor=processor)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{where}: config.json describes a model that cannot be built: {' '.join(repr(error).split())[:300]}"
        ) from error
    kept = {name: tensor for name, tensor in tensors.items() if upstream.keep_for(spec.fusion, name)}
    tied = policy.backbone.tied
    if tied:
        drop_tied_copy(kept, where)
    check_fit({name: tensor.shape for name, tensor in kept.items()}, expected_shapes(policy, tied=tied), where)
    policy.load_state_dict(kept, strict=False, assign=True)
    policy.backbone.tie()
    policy.to(device).requires_grad_(True)
    return policy.eval()


def new_policy(
    base_dir: str | Path,
    spec: PolicySpec,
    *,
    initialisation: Initialisation = Initialisation.ZERO,
    seed: int = 0,
    norm_stats: NormStats | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> DexVLA:
    """A fresh expert and fusion on a plain Qwen2-VL model. Raises CheckpointError if `base_dir` is not one."""
    directory = model_directory(base_dir)
    config = read_json(directory / "config.json")
    where = str(directory / "config.json")
    kind = config.get("model_type")
    if kind == PRETRAINER_TYPE:
        raise CheckpointError(
            f"{directory}: a stage-1 checkpoint where a base model is expected; start from plain Qwen2-VL weights and "
            "name it as pretrained_expert"
        )
    if kind in (POLICY_TYPE, UPSTREAM_TYPE):
        raise CheckpointError(
            f"{directory}: a checkpoint (model_type {kind!r}) where a base model is expected; "
            "stage 2 starts from plain Qwen2-VL weights, stage 3 from a checkpoint"
        )
    if kind != BACKBONE_TYPE:
        raise CheckpointError(f"{where}: model_type is {kind!r}, expected {BACKBONE_TYPE!r}")
    backbone = upstream.backbone_config(config, where)
    processor = Processor.from_pretrained(directory)
    tensors = read_weights(directory, rename=upstream.from_base_name, dtype=dtype, device=device)
    with init_empty_weights(include_buffers=False):
        fresh = DexVLA(spec, backbone)
    for part in (fresh.fusion, fresh.expert):
        materialise(part)
    fresh.initialise(initialisation, torch.Generator().manual_seed(seed))
    for name, tensor in fresh.state_dict().items():
        if not name.startswith("backbone."):
            tensors[name] = tensor.to(device, dtype)
    return build_policy(
        spec, backbone, tensors, norm_stats=norm_stats, processor=processor, where=str(directory), device=device
    )


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of one of our checkpoints."""
    return read_json(model_directory(path) / "manifest.json")


def read_spec(path: str | Path) -> PolicySpec:
    """The policy spec of a checkpoint, without its weights."""
    directory = model_directory(path)
    file = config_file(directory)
    config = read_json(file)
    reader = upstream.read_config if config.get("model_type") == UPSTREAM_TYPE else _own_config
    return reader(config, str(file))[0]


def model_directory(path: str | Path) -> Path:
    directory = Path(path)
    if not directory.exists():
        raise CheckpointError(f"{directory}: no such directory")
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: a file; expected the directory that holds config.json")
    return directory


def _own_config(config: dict[str, Any], where: str) -> tuple[PolicySpec, Qwen2VLConfig]:
    kind, version = config.get("model_type"), config.get("format_version")
    if kind == PRETRAINER_TYPE:
        raise CheckpointError(_CANNOT_ACT.format(where))
    if kind != POLICY_TYPE:
        raise CheckpointError(f"{where}: model_type is {kind!r}, expected {POLICY_TYPE!r}")
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{where}: format_version is {version!r}, this version reads {FORMAT_VERSION}")
    unknown = sorted(set(config) - _CONFIG_FIELDS)
    missing = sorted(_CONFIG_FIELDS - set(config))
    if unknown or missing:
        raise CheckpointError(f"{where}: unknown fields {unknown}, missing fields {missing}")
    spec = validated(PolicySpec, config["policy"], f"{where}: policy")
    if not isinstance(config["backbone"], dict):
        raise CheckpointError(f"{where}: backbone is {config['backbone']!r}, expected Qwen2-VL settings")
    return spec, upstream.backbone_config(config["backbone"], where)


def _norm_stats(path: Path) -> NormStats | None:
    return validated(NormStats, read_json(path), str(path)) if path.is_file() else None


def validated(kind: type[_S], value: Any, where: str) -> _S:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise CheckpointError(f"{where}: {first_error(error)}") from error


def _check_tokens(processor: Processor, config: Qwen2VLConfig, where: str) -> None:
    if processor.image_id != config.image_token_id:
        raise CheckpointError(
            f"{where}: the tokenizer's image token is {processor.image_id}, config.json has image_token_id "
            f"{config.image_token_id}; tokenizer and weights do not belong together"
        )
    if len(processor.tokenizer) > config.text_config.vocab_size:
        raise CheckpointError(
            f"{where}: the tokenizer has {len(processor.tokenizer)} tokens, config.json has vocab_size "
            f"{config.text_config.vocab_size}"
        )


def _stored(config: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _NOT_STORED}
    return {key: _stored(value) if isinstance(value, dict) else value for key, value in kept.items()}

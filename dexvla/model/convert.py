"""Checkpoints from one layout into another, with a report of what was loaded, what is fresh and why.

Every conversion reads the source whole and strictly, then writes the target beside its place and renames it. Values and
number formats are kept unless another format is asked for. Sources are never changed.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import Tensor
from transformers import Qwen2VLConfig

from dexvla.checksums import seal
from dexvla.errors import CheckpointError
from dexvla.files import atomic_directory, write_json
from dexvla.model import upstream
from dexvla.model.backbone import Backbone
from dexvla.model.checkpoint import build_policy, load_policy, model_directory, new_policy, save_policy
from dexvla.model.policy import DexVLA
from dexvla.model.pretrained import expert_sizes, load_expert_weights, read_scaledp
from dexvla.model.processing import Processor
from dexvla.model.report import LoadReport, per_part
from dexvla.model.upstream_export import write_checkpoint
from dexvla.model.upstream_files import read_checkpoint, read_plain
from dexvla.model.weights import check_fit, drop_tied_copy, expected_shapes, read_json, write_weights
from dexvla.spec import (
    BACKBONE_TYPE,
    EXPERT_SIZES,
    EXPERT_TYPE,
    POLICY_TYPE,
    CameraSpec,
    ConvertSpec,
    Layout,
    PolicySpec,
)

ORIGINAL = "upstream_config"  # entry of our manifest: the config.json that a checkpoint was converted from
_FRESH_IN_STAGE_2 = "a base model has none; stage 2 makes it"


def convert(spec: ConvertSpec) -> LoadReport:
    """Carry out one conversion. Raises CheckpointError for a source that does not hold what it should."""
    source, target = Path(spec.source), Path(spec.target)
    if target.exists():
        raise CheckpointError(f"{target} exists already; choose another place")
    dtype = {"stored": None, "float32": torch.float32, "bfloat16": torch.bfloat16}[spec.dtype]
    if spec.to_layout is not None:
        return to_upstream(source, target, dtype=dtype)
    if spec.from_layout is Layout.UPSTREAM:
        base = None if spec.base is None else Path(spec.base)
        return from_upstream(source, target, base=base, ema=spec.ema, dtype=dtype, cameras=spec.cameras)
    if spec.from_layout is Layout.SCALEDP:
        return from_scaledp(source, target, dtype=dtype)
    if spec.expert is not None:
        return with_fresh_expert(source, target, spec, dtype=dtype)
    return from_qwen2_vl(source, target, dtype=dtype)


def from_upstream(
    source: Path,
    target: Path,
    *,
    base: Path | None = None,
    ema: bool = False,
    dtype: torch.dtype | None = None,
    cameras: tuple[CameraSpec, ...] = (),
) -> LoadReport:
    """A checkpoint of the reference as one of ours; adapters are merged. cameras: names the policy's cameras."""
    source = model_directory(source)
    read = read_checkpoint(source, base=base, ema=ema, dtype=dtype)
    spec = read.spec.model_copy(update={"cameras": cameras}) if cameras else read.spec
    policy = build_policy(
        spec, read.backbone, read.tensors, norm_stats=read.norm_stats, processor=read.processor, where=str(source)
    )
    notes = list(read.report.notes)
    if not spec.cameras:
        notes.append("its cameras are not known: name them (--cameras) to evaluate or serve it")
    report = replace(read.report, notes=tuple(notes))
    save_policy(policy, target, manifest={"converted": report.to_json(), ORIGINAL: read.config})
    return report


def to_upstream(source: Path, target: Path, *, dtype: torch.dtype | None = None) -> LoadReport:
    """One of our checkpoints in the reference's layout."""
    source = model_directory(source)
    kind = read_json(source / "config.json").get("model_type")
    if kind != POLICY_TYPE:
        raise CheckpointError(f"{source / 'config.json'}: model_type is {kind!r}, expected {POLICY_TYPE!r}")
    policy = load_policy(source, dtype=dtype)
    manifest = source / "manifest.json"
    original = read_json(manifest).get(ORIGINAL) if manifest.is_file() else None
    with atomic_directory(target) as temporary:
        notes = list(write_checkpoint(policy, temporary, original if isinstance(original, dict) else None))
    if policy.norm_stats is None:
        notes.append("the checkpoint has no norm statistics; the reference needs them to evaluate")
    else:
        notes.append("statistics are in dataset_stats.npz; docs/upstream-differences.md makes dataset_stats.pkl of it")
    if policy.processor is None:
        notes.append("the checkpoint has no tokenizer; copy that of its base model")
    return _report(source, "dexvla to upstream", policy, tuple(notes))


def from_qwen2_vl(source: Path, target: Path, *, dtype: torch.dtype | None = None) -> LoadReport:
    """A Qwen2-VL model, checked tensor by tensor, as a base model in safetensors."""
    source = model_directory(source)
    file = source / "config.json"
    config = read_json(file)
    if config.get("model_type") != BACKBONE_TYPE:
        raise CheckpointError(f"{file}: model_type is {config.get('model_type')!r}, expected {BACKBONE_TYPE!r}")
    backbone = upstream.backbone_config(config, str(source / "config.json"))
    processor = Processor.from_pretrained(source)
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for name, tensor in read_plain(source).items():
        ours = upstream.from_base_name(name)
        if ours is None:
            left_out[name] = "a Qwen2-VL model has no such tensor"
        else:
            tensors[ours] = tensor if dtype is None else tensor.to(dtype)
    drop_tied_copy(tensors, str(source))
    check_base(tensors, backbone, str(source))
    with atomic_directory(target) as temporary:
        write_weights({upstream.to_upstream_name(name): tensor for name, tensor in tensors.items()}, temporary)
        write_json(temporary / "config.json", config)
        processor.save(temporary)
    return LoadReport(
        source=str(source),
        kind="qwen2-vl",
        tensors=len(tensors),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        loaded=per_part(tensors),
        fresh={"fusion": _FRESH_IN_STAGE_2, "action expert": _FRESH_IN_STAGE_2},
        left_out=left_out,
        notes=("a base model, to start stage 2 from",),
    )


def from_scaledp(source: Path, target: Path, *, dtype: torch.dtype | None = None) -> LoadReport:
    """A released ScaleDP file as safetensors that `pretrained_expert` and `load_expert_weights` take."""
    source = Path(source)
    if not source.is_file():
        raise CheckpointError(f"{source}: no such file; expected a released ScaleDP file (torch.save)")
    found, left_out = read_scaledp(source)
    tensors = {name: tensor if dtype is None else tensor.to(dtype) for name, tensor in found.items()}
    sizes = expert_sizes({name: tensor.shape for name, tensor in tensors.items()})
    with atomic_directory(target) as temporary:
        write_weights(tensors, temporary)
        write_json(temporary / "config.json", {"model_type": EXPERT_TYPE, "format_version": 1, "expert": sizes})
        seal(temporary)
    reason = "it reads the condition and is made fresh where the expert is taken over"
    return LoadReport(
        source=str(source),
        kind="scaledp",
        tensors=len(tensors),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        loaded={"action expert": len(tensors)},
        fresh={"expert.cond_obs_emb": reason, "expert.combine": reason},
        left_out=left_out,
        notes=(", ".join(f"{name} {size}" for name, size in sizes.items()),),
    )


def check_base(tensors: Mapping[str, Tensor], backbone: Qwen2VLConfig, where: str) -> None:
    """Raise CheckpointError unless these are all tensors of the backbone, a tied output projection left out."""
    with init_empty_weights(include_buffers=False):
        plain = Backbone(backbone)
    expected = {f"backbone.{name}": shape for name, shape in expected_shapes(plain, tied=plain.tied).items()}
    check_fit({name: tensor.shape for name, tensor in tensors.items()}, expected, where)


def with_fresh_expert(
    source: Path, target: Path, wanted: ConvertSpec, *, dtype: torch.dtype | None = None
) -> LoadReport:
    """A Qwen2-VL model with a fresh fusion and expert, or a pretrained expert, as a policy of ours."""
    assert wanted.expert is not None
    assert wanted.action_dim is not None
    assert wanted.state_dim is not None
    spec = PolicySpec(
        expert=EXPERT_SIZES[wanted.expert],
        action_dim=wanted.action_dim,
        state_dim=wanted.state_dim,
        chunk_size=wanted.chunk_size,
        fusion=wanted.fusion,
    )
    policy = new_policy(
        source, spec, initialisation=wanted.initialisation, seed=wanted.seed, dtype=dtype or torch.float32
    )
    reason = f"a base model has none; made with the {wanted.initialisation} initialisation, seed {wanted.seed}"
    report = _report(source, "qwen2-vl", policy, ())
    loaded = {part: count for part, count in report.loaded.items() if part not in ("fusion", "action expert")}
    fresh, left_out = {"fusion": reason, "action expert": reason}, {}
    if wanted.pretrained_expert is not None:
        taken = load_expert_weights(policy, wanted.pretrained_expert)
        loaded, left_out = loaded | taken.loaded, taken.left_out
        fresh = {"fusion": reason, **taken.fresh}
    report = replace(report, loaded=loaded, fresh=fresh, left_out=left_out, tensors=sum(loaded.values()))
    save_policy(policy, target, manifest={"converted": report.to_json()})
    return report


def _report(source: Path, kind: str, policy: DexVLA, notes: tuple[str, ...]) -> LoadReport:
    tensors = policy.state_dict()
    if policy.backbone.tied:
        del tensors["backbone.lm_head.weight"]
    return LoadReport(
        source=str(source),
        kind=kind,
        tensors=len(tensors),
        parameters=sum(parameter.numel() for parameter in policy.parameters()),
        loaded=per_part(tensors),
        notes=notes,
    )

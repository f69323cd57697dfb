"""Weights for the expert of a policy: from a released ScaleDP file, from another checkpoint, or from a conversion.

A released file (stage 1 of the reference) was trained with other encoders, so the layers that read their output,
`cond_obs_emb` and `combine`, are not taken over: they start fresh, as upstream.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dexvla.checksums import check_files
from dexvla.errors import CheckpointError
from dexvla.model.checkpoint import model_directory
from dexvla.model.policy import DexVLA
from dexvla.model.report import LoadReport
from dexvla.model.torch_files import TorchFile
from dexvla.model.upstream_files import config_file, read_checkpoint
from dexvla.model.weights import check_fit, likely_cause, read_json, read_weights
from dexvla.spec import BACKBONE_TYPE, EXPERT_TYPE, POLICY_TYPE, SCALEDP_SIZES, UPSTREAM_TYPE

_POOLED_NORM = "expert.norm_after_pool."  # a ScaleDP expert has it with TinyVLA's pooling alone
_FRESH = ("expert.cond_obs_emb.", "expert.combine.", _POOLED_NORM)
_WHY_FRESH = "it reads the condition, which comes from another encoder in stage 1"


def load_expert_weights(policy: DexVLA, path: str | Path) -> LoadReport:
    """Take the expert's weights over, in place; backbone and fusion stay.

    path: a released ScaleDP file (torch.save with ['nets']['nets']), what `dexvla convert --from scaledp` made of
    one, or a checkpoint. Sizes must be the same: a tensor of another shape raises CheckpointError with its name, both
    shapes and the likely cause, and so does a file with fewer or more blocks. From a ScaleDP file, `cond_obs_emb` and
    `combine` stay as they are; the report lists them as fresh.
    """
    path = Path(path)
    if path.is_file():
        found, left_out = read_scaledp(path)
        return _take(policy, found, str(path), "scaledp", left_out)
    directory = model_directory(path)
    file = config_file(directory)
    kind = read_json(file).get("model_type")
    if kind in (EXPERT_TYPE, POLICY_TYPE):
        check_files(directory)
    if kind == EXPERT_TYPE:
        return _take(policy, read_weights(directory), str(directory), "scaledp", {})
    if kind == BACKBONE_TYPE:
        raise CheckpointError(f"{directory}: a base model has no expert; name a checkpoint or a ScaleDP file")
    if kind == POLICY_TYPE:
        found = read_weights(directory, rename=lambda name: name if name.startswith("expert.") else None)
    elif kind == UPSTREAM_TYPE:
        tensors = read_checkpoint(directory).tensors
        found = {name: tensor for name, tensor in tensors.items() if name.startswith("expert.")}
    else:
        raise CheckpointError(f"{file}: model_type is {kind!r}, expected {POLICY_TYPE!r} or {UPSTREAM_TYPE!r}")
    expected = _expert_of(policy)
    fresh = {n: "only the policy pools as TinyVLA" for n in expected if n.startswith(_POOLED_NORM) and n not in found}
    left_out = {n: "only the file pools as TinyVLA" for n in found if n.startswith(_POOLED_NORM) and n not in expected}
    check_fit(
        {n: t.shape for n, t in found.items() if n not in left_out},
        {n: t.shape for n, t in expected.items() if n not in fresh},
        str(directory),
    )
    return _copy(expected, found, str(directory), "checkpoint", fresh, left_out)


def read_scaledp(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The expert's tensors of a released ScaleDP file under our names, and what of the file is left out, and why.

    The reference's rule: of the flat dict at ['nets']['nets'] (not the moving average), drop a leading `policy.`, keep
    names with `noise_pred` and without `cond_obs_emb`, drop a leading `noise_pred_net.`.
    """
    with TorchFile(path) as file:
        nets = file.value
        for key in ("nets", "nets"):
            if not isinstance(nets, Mapping) or key not in nets:
                keys = ", ".join(str(name)[:40] for name in list(nets)[:6]) if isinstance(nets, Mapping) else "none"
                raise CheckpointError(
                    f"{path}: no ['nets']['nets'], where a released ScaleDP file has its weights; its entries: {keys}"
                )
            nets = nets[key]
        wanted: dict[str, Any] = {}
        left_out: dict[str, str] = {}
        for name, item in nets.items():
            plain = str(name).removeprefix("policy.")
            if "noise_pred" not in plain:
                left_out[str(name)] = "not of the expert"
            elif "cond_obs_emb" in plain:
                left_out[str(name)] = "it reads stage 1's own condition"
            else:
                wanted[f"expert.{plain.removeprefix('noise_pred_net.')}"] = item
        if not wanted:
            raise CheckpointError(f"{path}: no name contains noise_pred; this is not a ScaleDP file")
        return file.tensors(wanted, "['nets']['nets']"), left_out


def expert_sizes(shapes: Mapping[str, Any]) -> dict[str, int]:
    """Depth, width, action dimension and chunk that an expert's tensors tell, as far as they are there."""
    sizes: dict[str, int] = {}
    depth = {name.split(".")[2] for name in shapes if name.startswith("expert.blocks.")}
    if depth:
        sizes["blocks"] = len(depth)
    embedder, positions = shapes.get("expert.x_embedder.weight"), shapes.get("expert.pos_embed")
    if embedder is not None and len(embedder) == 2:
        sizes["width"], sizes["action dimension"] = embedder[0], embedder[1]
    if positions is not None and len(positions) == 3:
        sizes["chunk"] = positions[1]
    return sizes


def _take(policy: DexVLA, found: dict[str, Tensor], where: str, kind: str, left_out: dict[str, str]) -> LoadReport:
    """Copy what a ScaleDP file has; anything missing but the layers that read the condition is an error."""
    expert = policy.spec.expert
    if expert.kind != "scaledp":
        raise CheckpointError(f"{where}: weights of a ScaleDP expert, but the policy's expert is a {expert.kind}")
    expected = _expert_of(policy)
    found_shapes = {name: tensor.shape for name, tensor in found.items()}
    cause = _difference(found_shapes, {name: tensor.shape for name, tensor in expected.items()})
    unknown = [name for name in found if name not in expected]
    fresh: dict[str, str] = {}
    for name, tensor in expected.items():
        if name in found and found[name].shape != tensor.shape:
            raise CheckpointError(
                f"{where}: {name} has shape {list(found[name].shape)}, expected {list(tensor.shape)}: "
                f"{cause or likely_cause(name)}"
            )
        if name not in found:
            if not name.startswith(_FRESH):
                raise CheckpointError(f"{where}: lacks tensor {name}: {cause or likely_cause(name)}")
            fresh[name] = _WHY_FRESH
    deeper = [name for name in unknown if name.startswith("expert.blocks.")]
    if deeper:
        raise CheckpointError(f"{where}: has the unknown tensor {deeper[0]}: {cause or likely_cause(deeper[0])}")
    left_out = left_out | dict.fromkeys(unknown, "the expert has no such tensor")
    return _copy(expected, found, where, kind, fresh, left_out)


def _copy(
    expected: dict[str, Tensor],
    found: dict[str, Tensor],
    where: str,
    kind: str,
    fresh: dict[str, str],
    left_out: dict[str, str],
) -> LoadReport:
    taken = {name: tensor for name, tensor in expected.items() if name not in fresh}
    with torch.no_grad():
        for name, tensor in taken.items():
            tensor.copy_(found[name])
    return LoadReport(
        source=where,
        kind=kind,
        tensors=len(taken),
        parameters=sum(tensor.numel() for tensor in taken.values()),
        loaded={"action expert": len(taken)},
        fresh=fresh,
        left_out=left_out,
    )


def _expert_of(policy: DexVLA) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in policy.state_dict().items() if name.startswith("expert.")}


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """How two experts differ, in words; empty where their tensors do not tell."""
    ours, theirs = expert_sizes(expected), expert_sizes(found)
    different = [name for name in ours if name in theirs and theirs[name] != ours[name]]
    if not different:
        return ""
    parts = [f"{name} {theirs[name]} in the file, {ours[name]} in the policy" for name in different]
    if "width" in different:
        parts.append(f"the file is {_size_name(theirs)}, the policy {_size_name(ours)}")
    return "; ".join(parts)


def _size_name(sizes: Mapping[str, int]) -> str:
    known = {
        (size.depth, size.width): name.removeprefix("scaledp-").upper()
        for name, size in SCALEDP_SIZES.items()
        if name.startswith("scaledp-")
    }
    name = known.get((sizes.get("blocks", 0), sizes.get("width", 0)))
    return f"ScaleDP-{name}" if name else "of no named size"

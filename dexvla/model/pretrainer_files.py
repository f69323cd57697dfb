"""Stage-1 checkpoints on disk, and what stage 2 takes from one.

A directory with model.safetensors, config.json (model_type dexvla_pretrainer), norm_stats.json (by embodiment),
tokenizer.json and manifest.json (sha256 of each), written beside its place and renamed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor

from dexvla.checksums import check_files
from dexvla.errors import CheckpointError
from dexvla.files import atomic_directory, write_json
from dexvla.model.checkpoint import FORMAT_VERSION, model_directory, validated, write_manifest
from dexvla.model.policy import DexVLA
from dexvla.model.pretrainer import Pretrainer
from dexvla.model.report import LoadReport
from dexvla.model.text_encoder import TextTokenizer, read_text_encoder, small_text_encoder, text_config
from dexvla.model.weights import check_fit, expected_shapes, likely_cause, read_json, read_weights, write_weights
from dexvla.spec import (
    PRETRAINER_TYPE,
    ActionKind,
    ActionSpace,
    EmbodimentSpec,
    Initialisation,
    NormStats,
    PretrainerSpec,
    ScaleDPSpec,
)

_CONFIG_FIELDS = {"model_type", "format_version", "pretrainer", "text_encoder"}

_OWN_LAYERS = ("expert.x_embedder.", "expert.final_layer.")


def new_pretrainer(
    spec: PretrainerSpec,
    *,
    text_encoder: str | Path | None = None,
    initialisation: Initialisation = Initialisation.ZERO,
    seed: int = 0,
    stats: Mapping[str, NormStats] | None = None,
) -> Pretrainer:
    """Fresh weights, but for a text encoder that is read from its directory. Raises CheckpointError."""
    tensors: dict[str, Tensor] | None = None
    if text_encoder is None:
        config, tokenizer = small_text_encoder()
    else:
        config, tokenizer, tensors = read_text_encoder(text_encoder)
    model = Pretrainer(spec, config, tokenizer=tokenizer, stats=stats)
    model.initialise(initialisation, torch.Generator().manual_seed(seed))
    if tensors is not None:
        model.text.model.load_state_dict(tensors)
    return model


def save_pretrainer(model: Pretrainer, directory: str | Path, *, manifest: Mapping[str, Any]) -> None:
    """Write a checkpoint directory, which must not exist yet. manifest: what the writer knows about its origin."""
    if Path(directory).exists():
        raise CheckpointError(f"{directory} exists already; a checkpoint is never written over another")
    assert model.tokenizer is not None
    config = {
        "model_type": PRETRAINER_TYPE,
        "format_version": FORMAT_VERSION,
        "pretrainer": model.spec.model_dump(mode="json"),
        "text_encoder": model.text.config.to_dict(),
    }
    with atomic_directory(directory) as temporary:
        write_weights(model.state_dict(), temporary)
        write_json(temporary / "config.json", config)
        stats = {name: stats.model_dump(mode="json") for name, stats in model.stats.items()}
        write_json(temporary / "norm_stats.json", stats)
        model.tokenizer.save(temporary)
        write_manifest(temporary, manifest)


def is_pretrainer(path: str | Path) -> bool:
    """Whether a directory holds a stage-1 checkpoint."""
    config = Path(path) / "config.json"
    return config.is_file() and read_json(config).get("model_type") == PRETRAINER_TYPE


def load_pretrainer(path: str | Path, *, verify: bool = True) -> Pretrainer:
    """Read a stage-1 checkpoint, in evaluation mode.

    Every file is compared with the manifest's sha256 first; verify False compares sizes alone.
    """
    directory = model_directory(path)
    check_files(directory, verify=verify)
    spec, settings = _config(directory)
    text = text_config(settings)
    stats = {
        name: validated(NormStats, value, f"{directory / 'norm_stats.json'}: {name}")
        for name, value in read_json(directory / "norm_stats.json").items()
    }
    for one in spec.embodiments:
        if one.name not in stats or (stats[one.name].action_dim, stats[one.name].state_dim) != _dims(one):
            raise CheckpointError(
                f"{directory / 'norm_stats.json'}: nothing for the embodiment {one.name} with {one.action_dim} action "
                f"and {one.state_dim} state values"
            )
    tokenizer = TextTokenizer.read(directory, text.max_position_embeddings)
    tensors = read_weights(directory)
    with init_empty_weights(include_buffers=False):
        model = Pretrainer(spec, text, tokenizer=tokenizer, stats=stats)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    check_fit(shapes, expected_shapes(model, tied=False), str(directory))
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(True).eval()


def load_trunk(policy: DexVLA, path: str | Path, *, embodiment: str | None = None) -> LoadReport:
    """Take the expert's trunk over from a stage-1 checkpoint, in place, and an embodiment's layers where they fit.

    `cond_obs_emb` and `combine` stay as they are: they read the condition of stage 1's encoders, not the backbone's.
    embodiment: whose layers to take; None takes those of the only one with the policy's dimensions, then of the one
    with its robot, too. Raises CheckpointError if the trunk or a named embodiment does not fit.
    """
    directory = model_directory(path)
    check_files(directory)
    spec, _ = _config(directory)
    _same_sizes(policy, spec, directory)
    chosen, why = _choose(policy, spec.embodiments, embodiment, directory)
    head = None if chosen is None else f"heads.{spec.embodiments.index(chosen)}."

    def rename(stored: str) -> str | None:
        if stored.startswith("trunk.") and ".cond_obs_emb." not in stored:
            return "expert." + stored.removeprefix("trunk.")
        if head is not None and stored.startswith(head) and ".combine." not in stored:
            return "expert." + stored.removeprefix(head)
        return None

    found = read_weights(directory, rename=rename)
    expected = {name: tensor for name, tensor in policy.state_dict().items() if name.startswith("expert.")}
    fresh: dict[str, str] = {}
    for name, tensor in expected.items():
        if name.startswith(("expert.cond_obs_emb.", "expert.combine.", "expert.norm_after_pool.")):
            fresh[name] = "it reads the condition, which comes from another encoder in stage 1"
        elif head is None and name.startswith(_OWN_LAYERS):
            fresh[name] = why
        elif name not in found:
            raise CheckpointError(f"{directory}: lacks tensor {name}: {likely_cause(name)}")
        elif found[name].shape != tensor.shape:
            raise CheckpointError(
                f"{directory}: {name} has shape {list(found[name].shape)}, expected {list(tensor.shape)}: "
                f"{likely_cause(name)}"
            )
    with torch.no_grad():
        for name, tensor in found.items():
            expected[name].copy_(tensor)
    own = sum(name.startswith(_OWN_LAYERS) for name in found)
    loaded = {"trunk": len(found) - own}
    if chosen is not None:
        loaded[f"layers of {chosen.name}"] = own
    others = [one.name for one in spec.embodiments if one is not chosen]
    left_out = {"views, text": "the backbone takes the place of stage 1's encoders"}
    left_out |= {f"layers of {name}": "another embodiment" if chosen is not None else why for name in others}
    return LoadReport(
        source=str(directory),
        kind="stage 1",
        tensors=len(found),
        parameters=sum(tensor.numel() for tensor in found.values()),
        loaded=loaded,
        fresh=fresh,
        left_out=left_out,
    )


def _choose(
    policy: DexVLA, embodiments: tuple[EmbodimentSpec, ...], name: str | None, directory: Path
) -> tuple[EmbodimentSpec | None, str]:
    """The embodiment whose layers are taken, or None and why."""
    wanted = (policy.spec.action_dim, policy.spec.state_dim)
    space = policy.spec.action_space
    known = ", ".join(f"{one.name} ({one.action_dim} actions, {one.state_dim} states)" for one in embodiments)
    if name is not None:
        named = next((one for one in embodiments if one.name == name), None)
        if named is None:
            raise CheckpointError(f"{directory}: no embodiment {name!r}; known: {known}")
        if named.action_dim != wanted[0]:
            raise CheckpointError(
                f"{directory}: the embodiment {name} has {named.action_dim} action values, the policy {wanted[0]}; "
                "leave pretrained_embodiment out to take the trunk alone"
            )
        if named.action_space != space:
            raise CheckpointError(
                f"{directory}: the embodiment {name} predicts {_words(named.action_space)}, the policy "
                f"{_words(space)}; give action_space, or leave pretrained_embodiment out to take the trunk alone"
            )
        return named, ""
    fitting = [one for one in embodiments if _dims(one) == wanted]
    if fitting and not any(one.action_space == space for one in fitting):
        return None, f"stage 1 predicts {_words(fitting[0].action_space)}, this policy {_words(space)}"
    fitting = [one for one in fitting if one.action_space == space]
    if len(fitting) > 1:
        same_robot = [one for one in fitting if one.robot is not None and one.robot == policy.spec.robot]
        if len(same_robot) != 1:
            raise CheckpointError(
                f"{directory}: several embodiments have {wanted[0]} action and {wanted[1]} state values: "
                f"{', '.join(one.name for one in fitting)}; choose one by pretrained_embodiment"
            )
        fitting = same_robot
    if fitting:
        return fitting[0], ""
    return None, f"no embodiment of stage 1 has {wanted[0]} action and {wanted[1]} state values; it had {known}"


def _same_sizes(policy: DexVLA, spec: PretrainerSpec, directory: Path) -> None:
    expert = policy.spec.expert
    if not isinstance(expert, ScaleDPSpec):
        raise CheckpointError(f"{directory}: stage 1 trains a ScaleDP expert, the policy has a {expert.kind}")
    sizes = [
        *(
            (name, getattr(spec.expert, name), getattr(expert, name))
            for name in ("depth", "width", "heads", "mlp_ratio")
        ),
        ("chunk_size", spec.chunk_size, policy.spec.chunk_size),
        ("diffusion.train_steps", spec.diffusion.train_steps, policy.spec.diffusion.train_steps),
    ]
    for name, found, expected in sizes:
        if found != expected:
            raise CheckpointError(
                f"{directory}: {name} of the expert is {found} in stage 1, {expected} in this run; they must agree"
            )


def _words(space: ActionSpace) -> str:
    kind = {ActionKind.ABSOLUTE: "positions", ActionKind.DELTA: "deltas", ActionKind.DIFFERENCE: "differences"}
    kept = f" (but for dimensions {', '.join(map(str, space.absolute))})" if space.absolute else ""
    return kind[space.kind] + kept


def _dims(embodiment: EmbodimentSpec) -> tuple[int, int]:
    return embodiment.action_dim, embodiment.state_dim


def _config(directory: Path) -> tuple[PretrainerSpec, dict[str, Any]]:
    where = str(directory / "config.json")
    config = read_json(directory / "config.json")
    kind, version = config.get("model_type"), config.get("format_version")
    if kind != PRETRAINER_TYPE:
        raise CheckpointError(f"{where}: model_type is {kind!r}, expected {PRETRAINER_TYPE!r}")
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{where}: format_version is {version!r}, this version reads {FORMAT_VERSION}")
    unknown, missing = sorted(set(config) - _CONFIG_FIELDS), sorted(_CONFIG_FIELDS - set(config))
    if unknown or missing:
        raise CheckpointError(f"{where}: unknown fields {unknown}, missing fields {missing}")
    if not isinstance(config["text_encoder"], dict):
        raise CheckpointError(f"{where}: text_encoder is {config['text_encoder']!r}, expected DistilBERT's settings")
    return validated(PretrainerSpec, config["pretrainer"], f"{where}: pretrainer"), config["text_encoder"]

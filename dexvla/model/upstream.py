"""The reference implementation's names and settings, in terms of ours.

Facts about its checkpoint layout are in docs/decisions/model.md. Only names and configuration are translated here;
the tensors themselves are the same.
"""

from copy import deepcopy
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from pydantic import ValidationError
from transformers import Qwen2VLConfig
from transformers.activations import ACT2FN

from dexvla.errors import CheckpointError
from dexvla.spec import (
    AUGMENTED_CROP,
    SCALEDP_SIZES,
    DiffusionSpec,
    Fusion,
    PolicySpec,
    ScaleDPSpec,
    UNetSpec,
    first_error,
)

OWN_FIELD = "dexvla_policy"  # our spec, in exported configurations that the reference's fields cannot express

# Upstream prefix -> ours. The first that fits counts.
_PREFIXES = (
    ("visual.", "backbone.model.visual."),
    ("model.", "backbone.model.language_model."),
    ("lm_head.", "backbone.lm_head."),
    ("policy_head.", "expert."),
    ("input_action_proj.mlps.", "fusion.prompt_proj."),
    ("reasoning_action_proj.mlps.", "fusion.reasoning_proj."),
    ("reasoning_film.scale_fc.", "fusion.film_scale."),
    ("reasoning_film.shift_fc.", "fusion.film_shift."),
)
# transformers 5 writes the backbone so; only base models come with these.
_BASE_PREFIXES = (
    ("model.visual.", "backbone.model.visual."),
    ("model.language_model.", "backbone.model.language_model."),
    *_PREFIXES[:3],
)

_MROPE_DEFAULT = [16, 24, 24]  # transformers' own where a configuration does not say
_SIZES = {"ScaleDP_H": SCALEDP_SIZES["scaledp-h"], "ScaleDP_L": SCALEDP_SIZES["scaledp-l"]}
_UNUSED = {
    Fusion.FILM: (),
    Fusion.POOLED: ("fusion.reasoning_proj.", "fusion.film_"),
    Fusion.TINYVLA: ("fusion.",),
}
_WIDEST = 1_000_000
_TEXT_LIMITS = {
    "hidden_size": _WIDEST,
    "intermediate_size": _WIDEST,
    "num_hidden_layers": 1000,
    "num_attention_heads": 1000,
    "num_key_value_heads": 1000,
    "vocab_size": 10_000_000,
}
_VISION_LIMITS = {
    "depth": 1000,
    "embed_dim": _WIDEST,
    "hidden_size": _WIDEST,
    "num_heads": 1000,
    "in_channels": 1000,
    "patch_size": 1000,
    "spatial_merge_size": 100,
    "temporal_patch_size": 100,
}
_HEADS = ("scale_dp_policy", "unet_diffusion_policy")


def from_upstream_name(name: str) -> str | None:
    """Our name of a tensor that the reference saved, or None if we know no such tensor."""
    return _translate(name, _PREFIXES)


def to_upstream_name(name: str) -> str:
    """The reference's name of one of our tensors."""
    translated = _translate(name, tuple((ours, theirs) for theirs, ours in _PREFIXES))
    if translated is None:
        raise ValueError(f"{name} has no counterpart upstream")
    return translated


def from_base_name(name: str) -> str | None:
    """Our name of a tensor of a plain Qwen2-VL model, in the spelling of transformers 4 or 5."""
    return _translate(name, _BASE_PREFIXES)


def keep_for(fusion: Fusion, name: str) -> bool:
    """False for tensors that upstream saves but that this fusion never uses: a TinyVLA head's input projection."""
    return not name.startswith(_UNUSED[fusion])


def read_config(config: dict[str, Any], where: str) -> tuple[PolicySpec, Qwen2VLConfig]:
    """Policy and backbone settings from the reference's config.json. Raises CheckpointError naming the field.

    `learn_sigma`, `n_obs_steps`, `obs_as_cond`, `noise_samples` of the head and `concat` are not looked at: upstream
    accepts them and none changes what a trained model computes. using_film false without is_tinyvla, with which
    upstream stops in the first step, is the pooled prompt. Its training always crops images at random and its
    evaluation in the middle, so that is what the policy does.
    """
    head = config.get("policy_head_config")
    if not isinstance(head, dict):
        raise CheckpointError(f"{where}: policy_head_config is {head!r}, expected the settings of the action head")
    kind = config.get("policy_head_type", head.get("model_type"))
    if kind not in _HEADS:
        raise CheckpointError(f"{where}: policy_head_type is {kind!r}, expected {' or '.join(map(repr, _HEADS))}")
    fusion = Fusion.FILM if config.get("using_film", False) else Fusion.POOLED
    if head.get("is_tinyvla", False):
        fusion = Fusion.TINYVLA
    try:
        expert = _unet(head) if kind == "unet_diffusion_policy" else _scaledp(config, head)
        spec = PolicySpec(
            expert=expert,
            action_dim=head["input_dim"],
            state_dim=head["state_dim"],
            chunk_size=head["prediction_horizon"],
            fusion=fusion,
            diffusion=DiffusionSpec(
                train_steps=head["num_train_timesteps"], inference_steps=head["num_inference_timesteps"]
            ),
            llm_loss_weight=config.get("llm_loss_weight", 1.0),
            centre_crop=AUGMENTED_CROP,
        )
    except KeyError as error:
        raise CheckpointError(f"{where}: policy_head_config has no {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{where}: policy_head_config: {' '.join(str(error).split())}") from error
    if OWN_FIELD in config:
        spec = _own_spec(config[OWN_FIELD], spec, where)
    return spec, backbone_config(config, where)


def _scaledp(config: dict[str, Any], head: dict[str, Any]) -> ScaleDPSpec:
    """A size that upstream knows by name wins over the numbers, as there."""
    return _SIZES.get(str(config.get("policy_head_size"))) or ScaleDPSpec(
        depth=head["depth"], width=head["n_emb"], heads=head["num_heads"], mlp_ratio=head.get("mlp_ratio", 4.0)
    )


def _unet(head: dict[str, Any]) -> UNetSpec:
    return UNetSpec(
        down_dims=tuple(head["down_dims"]),
        kernel_size=head["kernel_size"],
        n_groups=head["n_groups"],
        diffusion_step_embed_dim=head["diffusion_step_embed_dim"],
    )


def size_name(expert: object) -> str | None:
    """The reference's name of an expert's size, if it knows it."""
    return next((name for name, size in _SIZES.items() if size == expert), None)


def _own_spec(given: object, read: PolicySpec, where: str) -> PolicySpec:
    """Our settings, which must not contradict the reference's fields."""
    try:
        spec = PolicySpec.model_validate(given)
    except ValidationError as error:
        raise CheckpointError(f"{where}: {OWN_FIELD}: {first_error(error)}") from error
    for field in ("action_dim", "state_dim", "chunk_size", "fusion", "diffusion"):
        if getattr(spec, field) != getattr(read, field):
            raise CheckpointError(
                f"{where}: {OWN_FIELD} has {field} {getattr(spec, field)}, policy_head_config {getattr(read, field)}"
            )
    ours, theirs = (one.expert.model_dump(exclude={"combine_width"}) for one in (spec, read))
    if ours != theirs:
        raise CheckpointError(f"{where}: {OWN_FIELD} has the expert {ours}, policy_head_config {theirs}")
    return spec


def backbone_config(config: dict[str, Any], where: str) -> Qwen2VLConfig:
    """Qwen2-VL settings from a config.json in the reference's, transformers 4's or transformers 5's spelling."""
    settings = {k: deepcopy(v) for k, v in config.items() if not _ours(k)}
    vision = settings.get("vision_config")
    if not isinstance(vision, dict):
        raise CheckpointError(f"{where}: vision_config is {vision!r}, expected the settings of the vision tower")
    layers = _text(settings).get("num_hidden_layers", 1)
    if type(layers) is not int or not 1 <= layers <= _TEXT_LIMITS["num_hidden_layers"]:  # before a list is made of it
        raise CheckpointError(f"{where}: num_hidden_layers is {layers!r}, expected a number from 1 to 1000")
    settings["model_type"] = "qwen2_vl"
    settings["vision_config"] = {**vision, "model_type": "qwen2_vl_vision"}
    try:
        read = Qwen2VLConfig.from_dict(settings)
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{where}: not a Qwen2-VL configuration: {' '.join(str(error).split())}") from error
    text = read.text_config
    _check_sizes(read, where)
    head, rest = divmod(text.hidden_size, text.num_attention_heads)
    section = text.rope_parameters.get("mrope_section", _MROPE_DEFAULT)
    if not isinstance(section, list | tuple) or not all(type(part) is int for part in section):
        raise CheckpointError(f"{where}: mrope_section is {section!r}, expected three numbers")
    if rest or 2 * sum(section) != head:
        raise CheckpointError(
            f"{where}: hidden_size {text.hidden_size} in {text.num_attention_heads} heads does not go with "
            f"mrope_section {section}, which should add up to half a head"
        )
    return read


def unread_fields(config: dict[str, Any]) -> list[str]:
    """Fields of the reference's config.json that nothing here looks at: typing mistakes, or settings we do not know."""
    plain = Qwen2VLConfig()
    known = {*plain.to_dict(), *plain.text_config.to_dict(), "rope_scaling", "rope_theta", "vision_token_id"}
    vision = {*plain.vision_config.to_dict(), "in_chans", "spatial_patch_size"}  # the released files have them
    unread = [name for name in config if not _ours(name) and name not in known]
    return unread + [f"vision_config.{name}" for name in config["vision_config"] if name not in vision]


def _ours(name: str) -> bool:
    """Whether a field of config.json is not the backbone's."""
    skip = ("policy_head", "architectures", "torch_dtype", "dtype", "transformers_version", "_name_or_path")
    return name.startswith(skip) or name in ("using_film", "llm_loss_weight", "concat", OWN_FIELD)


def _text(settings: dict[str, Any]) -> dict[str, Any]:
    """The language model's settings: in a section of their own since transformers 5."""
    own = settings.get("text_config")
    return own if isinstance(own, dict) else settings


def _check_sizes(config: Qwen2VLConfig, where: str) -> None:
    """Raise CheckpointError for a number that no model has: building it would fail oddly, or never end."""
    text = config.text_config
    for part, limits in ((config.text_config, _TEXT_LIMITS), (config.vision_config, _VISION_LIMITS)):
        section = "vision_config." if part is config.vision_config else ""
        for field, most in limits.items():
            value = getattr(part, field, None)
            if type(value) is not int or not 1 <= value <= most:
                raise CheckpointError(f"{where}: {section}{field} is {value!r}, expected a number from 1 to {most}")
        if not isinstance(part.hidden_act, str) or part.hidden_act not in ACT2FN:
            raise CheckpointError(f"{where}: {section}hidden_act is {part.hidden_act!r}, which torch does not know")

    if not isinstance(text.pad_token_id, int | None) or not 0 <= (text.pad_token_id or 0) < text.vocab_size:
        raise CheckpointError(f"{where}: pad_token_id is {text.pad_token_id!r}, vocab_size is {text.vocab_size}")


def _translate(name: str, prefixes: tuple[tuple[str, str], ...]) -> str | None:
    for old, new in prefixes:
        if name.startswith(old):
            return new + name[len(old) :]
    return None

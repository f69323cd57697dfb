"""Our policies in the reference's layout: its config.json, its tokenizer and image files, its statistics.

No pickle is written: statistics go into dataset_stats.npz, from which docs/upstream-differences.md makes the
dataset_stats.pkl that the reference's evaluation wants.
"""

import json
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Qwen2VLConfig

from dexvla.errors import CheckpointError
from dexvla.files import write_json
from dexvla.model import upstream
from dexvla.model.pickled import write_dataset_stats
from dexvla.model.policy import DexVLA
from dexvla.model.processing import Processor
from dexvla.model.weights import write_weights
from dexvla.spec import AUGMENTED_CROP, UPSTREAM_TYPE, Fusion, PolicySpec

_TEXT_FIELDS = (
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "max_window_layers",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "use_cache",
    "vocab_size",
)
_TOKEN_FIELDS = (
    "image_token_id",
    "video_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
    "vision_token_id",
    "tie_word_embeddings",
)
_VISION_FIELDS = (
    "depth",
    "embed_dim",
    "hidden_size",
    "hidden_act",
    "mlp_ratio",
    "num_heads",
    "in_channels",
    "patch_size",
    "spatial_merge_size",
    "spatial_patch_size",
    "temporal_patch_size",
)
_COMBINE_WIDTH = 1024  # a constant of the reference's ScaleDP


def write_checkpoint(policy: DexVLA, directory: Path, original: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Write weights, configuration, statistics and processor files into `directory`, which exists and is empty.

    original: the config.json that this policy was converted from, kept word by word as long as it still says what the
    policy is. Returns what the reference will not be able to do with it.
    """
    tensors = upstream_tensors(policy)
    write_weights(tensors, directory)
    write_json(directory / "config.json", upstream_config(policy, original))
    if policy.norm_stats is not None:
        write_json(directory / "norm_stats.json", policy.norm_stats.model_dump(mode="json"))
        write_dataset_stats(directory / "dataset_stats.npz", policy.norm_stats)
    if policy.processor is not None:
        write_processor(policy.processor, directory)
    return limits(policy.spec)


def upstream_tensors(policy: DexVLA) -> dict[str, Tensor]:
    """The weights under the reference's names; a tied output projection is left out, as it leaves it out."""
    tensors = {upstream.to_upstream_name(name): tensor for name, tensor in policy.state_dict().items()}
    if policy.backbone.tied:
        tensors.pop("lm_head.weight", None)
    return tensors


def upstream_config(policy: DexVLA, original: dict[str, Any] | None = None) -> dict[str, Any]:
    """config.json as the reference reads it, with our own settings beside where its fields cannot hold them."""
    spec, backbone = policy.spec, policy.backbone.config
    config = _backbone_fields(backbone) | _head_fields(spec, policy.backbone.hidden_size)
    own = spec.model_dump(mode="json")
    config["torch_dtype"] = str(next(policy.parameters()).dtype).removeprefix("torch.")
    for candidate in (original, config):
        for complete in () if candidate is None else (candidate, {**candidate, upstream.OWN_FIELD: own}):
            if _says(complete, spec, backbone):
                return complete
    raise AssertionError("the reference's fields, with ours beside them, cannot say what this policy is")


def _says(config: dict[str, Any], spec: PolicySpec, backbone: Qwen2VLConfig) -> bool:
    try:
        read_spec, read_backbone = upstream.read_config(config, "config.json")
    except CheckpointError:
        return False
    return read_spec == spec and read_backbone.to_dict() == backbone.to_dict()


def limits(spec: PolicySpec) -> tuple[str, ...]:
    """Why the reference's own code could not run a policy of these settings, one sentence each."""
    found = []
    if spec.expert.kind == "scaledp":
        if upstream.size_name(spec.expert) is None:
            found.append("the reference knows the sizes ScaleDP_H and ScaleDP_L alone; this expert has another one")
        if spec.expert.combine_width != _COMBINE_WIDTH:
            found.append(
                f"the reference's combine layer is {_COMBINE_WIDTH} wide, this one {spec.expert.combine_width}"
            )
    else:
        found.append("the reference cannot load a saved U-Net policy (it looks for policy_head_size)")
    if spec.centre_crop != AUGMENTED_CROP:
        found.append(
            f"the reference's evaluation shows the middle {AUGMENTED_CROP:.0%} of images, this policy was trained "
            f"for {spec.centre_crop:.0%}"
        )
    if spec.fusion not in (Fusion.FILM, Fusion.TINYVLA):
        found.append(f"the reference has no fusion {spec.fusion}")
    if spec.fusion is not Fusion.FILM:
        found.append("the reference makes projections that this policy does not have, and leaves them unused")
    return tuple(found)


def write_processor(processor: Processor, directory: Path) -> None:
    """Tokenizer and image settings as transformers 5 and, with the file names it looks for, 4.45 read them."""
    processor.save(directory)
    template = directory / "chat_template.jinja"
    if template.is_file():
        write_json(directory / "chat_template.json", {"chat_template": template.read_text(encoding="utf-8")})
    settings = json.loads((directory / "preprocessor_config.json").read_text(encoding="utf-8"))
    size = settings["size"]
    settings |= {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
        "min_pixels": size.get("shortest_edge", size.get("min_pixels")),
        "max_pixels": size.get("longest_edge", size.get("max_pixels")),
    }
    write_json(directory / "preprocessor_config.json", settings)
    tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    model = tokenizer["model"]
    write_json(directory / "vocab.json", model["vocab"])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    file = directory / "tokenizer_config.json"
    names = json.loads(file.read_text(encoding="utf-8"))
    added = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in tokenizer["added_tokens"]}
    special = names.pop("extra_special_tokens", None)
    if isinstance(special, list):
        names["additional_special_tokens"] = special
    write_json(file, names | {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added})


def _backbone_fields(backbone: Qwen2VLConfig) -> dict[str, Any]:
    """Text settings at the top level, rotary settings in transformers 4's two fields."""
    whole = backbone.to_dict()
    text, vision, rotary = whole["text_config"], whole["vision_config"], dict(whole["text_config"]["rope_parameters"])
    theta = rotary.pop("rope_theta")
    fields = {name: text[name] for name in _TEXT_FIELDS if text.get(name) is not None}
    fields |= {name: whole[name] for name in _TOKEN_FIELDS if whole.get(name) is not None}
    fields |= {
        "architectures": ["Qwen2VLForConditionalGenerationForVLA"],
        "model_type": UPSTREAM_TYPE,
        "rope_theta": theta,
        "rope_scaling": {**rotary, "type": rotary.get("type", "default")},
        "use_sliding_window": text["use_sliding_window"],
        "sliding_window": text["sliding_window"],
        "vision_config": {
            **{name: vision[name] for name in _VISION_FIELDS if name in vision},
            "in_chans": vision["in_channels"],
            "model_type": UPSTREAM_TYPE,
        },
    }
    return fields


def _head_fields(spec: PolicySpec, hidden_size: int) -> dict[str, Any]:
    expert = spec.expert
    tiny = spec.fusion is Fusion.TINYVLA
    head: dict[str, Any] = {
        "input_dim": spec.action_dim,
        "state_dim": spec.state_dim,
        "prediction_horizon": spec.chunk_size,
        "num_train_timesteps": spec.diffusion.train_steps,
        "num_inference_timesteps": spec.diffusion.inference_steps,
        "noise_samples": 1,
        "is_tinyvla": tiny,
    }
    fields: dict[str, Any] = {
        "concat": "token_cat",
        "llm_loss_weight": spec.llm_loss_weight,
        "using_film": spec.fusion is Fusion.FILM,
        "policy_head_config": head,
    }
    if expert.kind == "scaledp":
        head |= {
            "model_type": "scale_dp_policy",
            "output_dim": spec.action_dim,
            "num_queries": spec.chunk_size,
            "cond_dim": hidden_size,
            "depth": expert.depth,
            "n_emb": expert.width,
            "num_heads": expert.heads,
            "mlp_ratio": expert.mlp_ratio,
            "eval": False,
            "learn_sigma": False,
            "n_obs_steps": 2,
            "obs_as_cond": True,
            "time_as_cond": True,
        }
        return fields | {
            "policy_head_type": "scale_dp_policy",
            "policy_head_size": upstream.size_name(expert) or "ScaleDP_custom",
        }
    head |= {
        "model_type": "unet_diffusion_policy",
        "global_cond_dim": hidden_size,
        "diffusion_step_embed_dim": expert.diffusion_step_embed_dim,
        "down_dims": list(expert.down_dims),
        "kernel_size": expert.kernel_size,
        "n_groups": expert.n_groups,
    }
    return fields | {"policy_head_type": "unet_diffusion_policy"}

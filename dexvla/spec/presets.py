"""Training presets: what fills the fields of a `TrainSpec` that were not given.

`tiny` is for two CPU cores and minutes; `small` for two CPU cores and an hour, on a base model of `dexvla init-model
--preset small --whiten DATA` and one camera recorded at 112 x 112. The `dexvla-2b-*` presets carry the figures of the
DexVLA paper (arXiv 2502.05855) and, where the paper is silent, those of its released scripts: global batch 96 (8 GPUs x
12). Those that end in `-scripts` follow the scripts also where they differ: vision tower trained, betas 0.9/0.98, eps
1e-7. `divla` and `tinyvla` are the same scripts with the other heads: a U-Net over 16 steps and LoRA on both towers
(DiVLA, arXiv 2412.03293), and without reasoning (TinyVLA, arXiv 2409.12514).
"""

from collections.abc import Mapping
from typing import Any

from dexvla.errors import UserError
from dexvla.spec.training import TrainSpec

_PAPER: dict[str, Any] = {
    "batch_size": 12,
    "precision": "bf16",
    "gradient_checkpointing": True,
    "workers": 8,
    "log_every": 10,
    "save_every": 10_000,
    "optim": {"learning_rate": 2e-5, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0},
}
_PAPER_STAGES: dict[int, dict[str, Any]] = {
    1: {
        "chunk_size": 50,
        "image_height": 240,
        "image_width": 320,
        "image_encoder": "resnet-50",
        "steps": 100_000,  # the paper gives none for stage 1
        "gradient_checkpointing": False,
        "optim": {**_PAPER["optim"], "learning_rate": 1e-4, "schedule": "constant", "warmup_ratio": 0.0},
    },
    2: {
        "chunk_size": 50,
        "image_height": 240,
        "image_width": 320,
        "steps": 100_000,
        "freeze_vision": True,
        "optim": {**_PAPER["optim"], "schedule": "constant", "warmup_ratio": 0.01},
    },
    3: {
        "steps": 80_000,
        "optim": {**_PAPER["optim"], "schedule": "cosine", "warmup_ratio": 0.001},
    },
}
_TINY: dict[str, Any] = {
    "batch_size": 8,
    "steps": 200,
    "log_every": 5,
    "save_every": 100,
    "augment": False,
    "precision": "float32",
    "optim": {"learning_rate": 5e-4, "warmup_ratio": 0.05, "schedule": "cosine"},
}
_SMALL: dict[str, Any] = {
    "batch_size": 32,
    "steps": 3000,
    "log_every": 20,
    "save_every": 500,
    "augment": False,
    "precision": "bf16",
    "noise_draws": 4,
    "ema_decay": 0.999,
    "optim": {"learning_rate": 5e-4, "warmup_ratio": 0.05, "schedule": "cosine"},
}


def _paper(expert: str) -> dict[int, dict[str, Any]]:
    """All stages; stage 3 takes the sizes from its checkpoint."""
    sized = {stage: {**_PAPER, **_PAPER_STAGES[stage], "expert": expert} for stage in (1, 2)}
    return {**sized, 3: {**_PAPER, **_PAPER_STAGES[3]}}


def _scripts(expert: str) -> dict[int, dict[str, Any]]:
    """Stages 2 and 3 as the released scripts set them where they differ from the paper."""
    theirs = {"betas": (0.9, 0.98), "eps": 1e-7}
    paper = _paper(expert)
    return {
        stage: {**paper[stage], "freeze_vision": False, "optim": {**paper[stage]["optim"], **theirs}}
        for stage in (2, 3)
    }


def _unet(fusion: str, **both: Any) -> dict[int, dict[str, Any]]:
    """Both stages with a U-Net; LoRA is on both towers, so the vision tower is not frozen."""
    paper, lora = _paper("unet"), {"towers": ("vision", "llm"), "rank": 64, "alpha": 256, "dropout": 0.05}
    own = {"fusion": fusion, "chunk_size": 16, "freeze_vision": False}
    return {2: {**paper[2], **own, "lora": lora, **both}, 3: {**paper[3], "lora": lora, **both}}


_TINY_SIZES: dict[str, Any] = {"expert": "tiny", "chunk_size": 20, "image_height": 112, "image_width": 140}
_SMALL_SIZES: dict[str, Any] = {"expert": "small", "chunk_size": 50, "image_height": 112, "image_width": 112}

PRESETS: dict[str, dict[int, dict[str, Any]]] = {
    "tiny": {1: {**_TINY, **_TINY_SIZES, "image_encoder": "tiny"}, 2: {**_TINY, **_TINY_SIZES}, 3: _TINY},
    "small": {2: {**_SMALL, **_SMALL_SIZES}, 3: _SMALL},
    "dexvla-2b-scaledp-h": _paper("scaledp-h"),
    "dexvla-2b-scaledp-l": _paper("scaledp-l"),
    "dexvla-2b-scaledp-h-scripts": _scripts("scaledp-h"),
    "dexvla-2b-scaledp-l-scripts": _scripts("scaledp-l"),
    "divla": _unet("film"),
    "tinyvla": _unet("tinyvla", use_reasoning=False, llm_loss_weight=0.0),
}


def with_preset(fields: Mapping[str, Any]) -> TrainSpec:
    """`fields` (as read from YAML or a form) over the preset they name. Nested tables are merged field by field.

    Raises UserError for an unknown preset and pydantic.ValidationError for bad fields.
    """
    name, stage = fields.get("preset"), fields.get("stage")
    if name is None:
        return TrainSpec.model_validate(dict(fields))
    if not isinstance(name, str) or name not in PRESETS:
        raise UserError(f"preset: unknown preset {name!r}; known: {', '.join(PRESETS)}")
    defaults = PRESETS[name].get(stage, {}) if isinstance(stage, int) else {}
    return TrainSpec.model_validate(_merge(defaults, fields))


def _merge(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in given.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged

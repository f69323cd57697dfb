"""The model: Qwen2-VL backbone, fusion, diffusion expert, checkpoints. Importing this loads no torch; its names do."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dexvla.model.checkpoint import load_policy, new_policy, save_policy
    from dexvla.model.policy import DexVLA, Losses, Prediction
    from dexvla.model.pretrained import load_expert_weights
    from dexvla.model.processing import Processor, answer_text, build_inputs, collate

_ROOMS = {
    "load_policy": "checkpoint",
    "new_policy": "checkpoint",
    "save_policy": "checkpoint",
    "load_expert_weights": "pretrained",
    "DexVLA": "policy",
    "Losses": "policy",
    "Prediction": "policy",
    "Processor": "processing",
    "answer_text": "processing",
    "build_inputs": "processing",
    "collate": "processing",
}

__all__ = [
    "DexVLA",
    "Losses",
    "Prediction",
    "Processor",
    "answer_text",
    "build_inputs",
    "collate",
    "load_expert_weights",
    "load_policy",
    "new_policy",
    "save_policy",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)

"""Where the reference's numbers are, and how close ours have to come."""

import json
from pathlib import Path

import torch
from torch import Tensor

from dexvla.model.checkpoint import build_policy
from dexvla.model.policy import DexVLA
from dexvla.model.upstream import from_upstream_name, read_config
from dexvla.model.weights import read_weights
from tests.support.paths import ROOT

BATCH = (
    "input_ids",
    "attention_mask",
    "labels",
    "pixel_values",
    "image_grid_thw",
    "actions",
    "states",
    "is_pad",
)

QWEN2_VL_2B = {
    "model_type": "qwen2_vl",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "tie_word_embeddings": True,
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "in_chans": 3},
}


def find_parity() -> Path:
    """The full set beside the repository where it is there, the part that our tests need otherwise."""
    shared = ROOT.parent / "shared" / "parity"
    return shared if (shared / "tiny").is_dir() else ROOT / "tests" / "data" / "parity"


def load_beside_tiny(parity: Path, name: str, dtype: torch.dtype = torch.float32) -> DexVLA:
    """A model of which only what differs from the tiny one is stored."""
    folder = parity / name
    spec, config = read_config(json.loads((folder / "config.json").read_text()), str(folder))
    own = read_weights(folder, rename=from_upstream_name, dtype=dtype)
    tensors = read_weights(parity / "tiny", rename=from_upstream_name, dtype=dtype)
    if name == "tiny_unet":
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith("expert.")}
    return build_policy(spec, config, tensors | own, where=str(folder))


def assert_close(name: str, ours: Tensor, theirs: Tensor) -> None:
    """Within 1e-4 absolute plus 1e-4 relative, and of the same shape."""
    assert ours.shape == theirs.shape, f"{name}: shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    torch.testing.assert_close(ours.float(), theirs.float(), atol=1e-4, rtol=1e-4, msg=lambda text: f"{name}: {text}")

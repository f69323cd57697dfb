"""The reference's config.json for every head, and its U-Net checkpoints, which the reference itself cannot read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dexvla.model import load_policy
from dexvla.model.upstream import read_config
from dexvla.spec import Fusion, ScaleDPSpec, UNetSpec
from tests.support.parity_data import load_beside_tiny


def config_of(parity: Path, name: str) -> dict[str, Any]:
    return json.loads((parity / name / "config.json").read_text())


@pytest.mark.parametrize(
    ("name", "fusion", "expert"),
    [
        ("tiny", Fusion.FILM, ScaleDPSpec(depth=2, width=48, heads=4)),
        ("tiny_tinyvla", Fusion.TINYVLA, ScaleDPSpec(depth=2, width=48, heads=4)),
        ("tiny_unet", Fusion.FILM, UNetSpec(down_dims=(16, 32, 64), diffusion_step_embed_dim=32)),
    ],
)
def test_settings(parity: Path, name: str, fusion: Fusion, expert: ScaleDPSpec | UNetSpec) -> None:
    spec, _ = read_config(config_of(parity, name), name)
    assert (spec.fusion, spec.expert) == (fusion, expert)
    assert (spec.action_dim, spec.state_dim, spec.chunk_size, spec.llm_loss_weight) == (14, 14, 8, 0.5)


def test_fields_without_effect_upstream_have_none_here(parity: Path) -> None:
    config = config_of(parity, "tiny")
    plain, _ = read_config(config, "plain")
    head = config["policy_head_config"] | {"learn_sigma": True, "n_obs_steps": 7, "obs_as_cond": False}
    changed, _ = read_config(config | {"policy_head_config": head, "concat": "anything"}, "changed")
    assert changed == plain


def test_without_film_is_pooled(parity: Path) -> None:
    """Upstream fails in the first step with it (B4)."""
    spec, _ = read_config(config_of(parity, "tiny") | {"using_film": False}, "config.json")
    assert spec.fusion is Fusion.POOLED


def test_a_saved_u_net_can_be_read(parity: Path, tmp_path: Path) -> None:
    """Its config.json has no policy_head_size, over which the reference stumbles (B8)."""
    config = config_of(parity, "tiny_unet")
    assert "policy_head_size" not in config
    below = load_file(parity / "tiny" / "model.safetensors")
    tensors = {name: tensor for name, tensor in below.items() if not name.startswith("policy_head.")}
    save_file(tensors | load_file(parity / "tiny_unet" / "model.safetensors"), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded, expected = load_policy(tmp_path), load_beside_tiny(parity, "tiny_unet")
    assert loaded.spec == expected.spec
    for one, two in zip(loaded.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(one, two)

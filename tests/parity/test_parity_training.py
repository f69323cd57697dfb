"""Losses, everything on the way to them, and gradients against the reference's numbers."""

import json
from pathlib import Path

import pytest
import torch
from parity_data import BATCH, assert_close
from safetensors.torch import load_file
from torch import Tensor

from dexvla.model.checkpoint import load_policy
from dexvla.model.policy import DexVLA, Losses
from dexvla.model.upstream import from_upstream_name


@pytest.fixture(scope="module")
def batch(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: inputs[name] for name in BATCH}


@pytest.fixture(scope="module")
def losses(tiny: DexVLA, batch: dict[str, Tensor], inputs: dict[str, Tensor]) -> Losses:
    tiny.zero_grad()
    result = tiny.losses(
        batch, noise=inputs["train_noise"][0], timesteps=inputs["train_timesteps"], keep_hidden_states=True
    )
    result.loss.backward()
    return result


def test_positions(tiny: DexVLA, batch: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    mask = batch["attention_mask"].bool()
    positions, following = tiny.backbone.positions(batch["input_ids"], mask, batch["image_grid_thw"])
    assert torch.equal(positions[:, mask], outputs["train.position_ids"][:, mask])
    # The reference keeps the next position as its distance from the padded length.
    assert torch.equal(following[:, None] - mask.shape[1], outputs["train.rope_deltas"])


def test_vision(tiny: DexVLA, batch: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        vision = tiny.backbone.model.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"]).pooler_output
    assert_close("vision_embeds", vision, outputs["train.vision_embeds"])


def test_hidden_states_and_logits(losses: Losses, batch: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    mask = batch["attention_mask"].bool()
    assert losses.hidden_states is not None
    assert losses.logits is not None
    for layer in (0, 1):
        assert_close(f"layer {layer}", losses.hidden_states[layer][mask], outputs[f"train.hidden_states.{layer}"][mask])
    assert_close("last_hidden_states", losses.last_hidden_states[mask], outputs["train.last_hidden_states"][mask])
    assert_close("logits", losses.logits[mask], outputs["train.logits"][mask])


def test_condition_and_noise(losses: Losses, outputs: dict[str, Tensor]) -> None:
    assert_close("condition", losses.condition, outputs["train.head_cond"])
    assert_close("noisy_actions", losses.noisy_actions, outputs["train.noisy_actions"])
    assert_close("noise_pred", losses.noise_pred, outputs["train.noise_pred"])


def test_losses(losses: Losses, outputs: dict[str, Tensor]) -> None:
    for name in ("llm_loss", "action_loss", "loss"):
        assert_close(name, getattr(losses, name), outputs[f"train.{name}"])


def test_gradients(tiny: DexVLA, losses: Losses, parity: Path) -> None:
    expected = json.loads((parity / "tiny" / "grad_norms.json").read_text())["l2_norm_of_gradient"]
    parameters = dict(tiny.named_parameters())
    assert {from_upstream_name(name) for name in expected} == set(parameters)
    for name, norm in expected.items():
        gradient = parameters[str(from_upstream_name(name))].grad
        assert gradient is not None, f"{name} has no gradient"
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-3, abs=1e-6), name


def test_bfloat16_weights_stay_near(parity: Path, batch: dict[str, Tensor], inputs: dict[str, Tensor], info) -> None:
    """Three times the distance that the reference's own bfloat16 run has from its float32 run."""
    policy = load_policy(parity / "tiny", dtype=torch.bfloat16)
    outputs = load_file(parity / "tiny" / "outputs.safetensors")
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        result = policy.losses(batch, noise=inputs["train_noise"][0], timesteps=inputs["train_timesteps"])
    assert result.noise_pred.dtype == torch.float32
    pairs = {
        "train.last_hidden_states": (result.last_hidden_states[mask], outputs["train.last_hidden_states"][mask]),
        "train.noise_pred": (result.noise_pred, outputs["train.noise_pred"]),
        "train.head_cond": (result.condition, outputs["train.head_cond"]),
        "train.llm_loss": (result.llm_loss, outputs["train.llm_loss"]),
        "train.action_loss": (result.action_loss, outputs["train.action_loss"]),
    }
    for name, (ours, theirs) in pairs.items():
        distance = float((ours.float() - theirs).abs().max())
        assert distance <= 3 * info["bf16_vs_float32"][name]["max_abs"], f"{name}: {distance}"

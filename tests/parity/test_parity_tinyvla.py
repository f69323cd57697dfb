"""The head without reasoning: hidden states of all tokens pooled."""

from pathlib import Path

import pytest
import torch
from parity_data import BATCH, assert_close
from safetensors.torch import load_file
from torch import Tensor

from dexvla.model.policy import DexVLA
from dexvla.spec import Fusion


@pytest.fixture(scope="module")
def given(parity: Path) -> dict[str, Tensor]:
    return load_file(parity / "tiny_tinyvla" / "inputs.safetensors")


@pytest.fixture(scope="module")
def expected(parity: Path) -> dict[str, Tensor]:
    return load_file(parity / "tiny_tinyvla" / "outputs.safetensors")


def test_training(tinyvla: DexVLA, given: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert tinyvla.spec.fusion is Fusion.TINYVLA
    batch = {name: given[name] for name in BATCH}
    with torch.no_grad():
        result = tinyvla.losses(batch, noise=given["train_noise"][0], timesteps=given["train_timesteps"])
    assert_close("last_hidden_states", result.last_hidden_states, expected["train.last_hidden_states"])
    for name in ("noisy_actions", "noise_pred", "llm_loss", "action_loss", "loss"):
        assert_close(name, getattr(result, name), expected[f"train.{name}"])


def test_inference_with_the_references_flat_positions(
    tinyvla: DexVLA, given: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    """The reference evaluates this head with 1-D positions. `predict` does not, so compare the parts."""
    ids, mask = given["infer.input_ids"], given["infer.attention_mask"].bool()
    flat = torch.arange(ids.shape[1]).expand(3, 1, -1)
    with torch.no_grad():
        embeds = tinyvla.backbone.embed(ids, given["infer.pixel_values"], given["infer.image_grid_thw"])
        hidden, _ = tinyvla.backbone.language(embeds, mask, flat)
        condition = tinyvla.fusion(hidden, mask, torch.zeros_like(mask))
    result = tinyvla.expert.sample(condition, given["infer.states"], given["infer.noise"])
    assert result.timesteps == expected["infer.ddim_timesteps"].tolist()
    assert_close("ddim_samples", result.samples_sbta[:, 0], expected["infer.ddim_samples"])
    assert_close("actions", result.actions_bta, expected["infer.actions"])

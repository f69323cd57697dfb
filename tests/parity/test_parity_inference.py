"""Generated tokens, every denoising step and the chunk against the reference's numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from parity_data import assert_close
from safetensors.torch import load_file
from torch import Tensor

from dexvla.model.checkpoint import load_policy
from dexvla.model.policy import DexVLA

END = 560  # <|im_end|> of the tiny tokenizer


def prompt(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "states")
    return {name: inputs[f"infer.{name}"] for name in names}


@pytest.mark.parametrize(("case", "end"), [("infer", END), ("infer_eos", 672)])
def test_predict(
    tiny: DexVLA,
    inputs: dict[str, Tensor],
    outputs: dict[str, Tensor],
    info: dict[str, Any],
    case: str,
    end: int,
) -> None:
    result = tiny.predict(prompt(inputs), noise=inputs["infer.noise"], max_new_tokens=8, eos_token_id=end)
    assert result.reasoning_ids == outputs[f"{case}.generated_ids"].tolist() == [info[case]["generated_ids"]]
    assert result.reasoning_text == [info[case]["text"]]
    assert result.ddim_timesteps == outputs[f"{case}.ddim_timesteps"].tolist()
    assert_close("hidden states", result.hidden_states[0], outputs[f"{case}.hidden_states"][0])
    assert_close("condition", result.condition, outputs[f"{case}.film_condition"])
    assert_close("noise_pred_steps", result.noise_pred_steps[:, 0], outputs[f"{case}.noise_pred_steps"])
    assert_close("ddim_samples", result.ddim_samples[:, 0], outputs[f"{case}.ddim_samples"])
    assert_close("actions", result.actions, outputs[f"{case}.actions"])


def test_no_actions_are_nan_where_the_reference_has_nan(tiny: DexVLA, inputs: dict[str, Tensor]) -> None:
    """The first generated token declared to be the end token: nothing was said, and the actions are still finite."""
    first = 211
    result = tiny.predict(prompt(inputs), noise=inputs["infer.noise"], max_new_tokens=8, eos_token_id=first)
    assert result.reasoning_ids == [[first]]
    assert torch.isfinite(result.actions).all()
    assert torch.isfinite(result.condition).all()


def test_bfloat16_weights_stay_near(parity: Path, inputs: dict[str, Tensor], info: dict[str, Any]) -> None:
    """The same tokens, and three times the distance that the reference's own bfloat16 run has from its float32 run."""
    policy = load_policy(parity / "tiny", dtype=torch.bfloat16)
    exact = load_file(parity / "tiny" / "outputs.safetensors")
    result = policy.predict(prompt(inputs), noise=inputs["infer.noise"], max_new_tokens=8, eos_token_id=END)
    assert result.reasoning_ids == [info["infer"]["generated_ids_bf16"]]
    assert result.actions.dtype == torch.float32
    for name, ours in (("film_condition", result.condition), ("actions", result.actions)):
        distance = float((ours - exact[f"infer.{name}"]).abs().max())
        assert distance <= 3 * info["bf16_vs_float32"][f"infer.{name}"]["max_abs"], f"{name}: {distance}"

"""The U-Net head against the reference's numbers: losses, noise, every denoising step, the chunk."""

from pathlib import Path

import pytest
import torch
from parity_data import BATCH, assert_close
from safetensors.torch import load_file
from torch import Tensor

from dexvla.model.policy import DexVLA
from dexvla.spec import UNetSpec

END = 560  # <|im_end|> of the tiny tokenizer


@pytest.fixture(scope="module")
def given(parity: Path, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs of the tiny model with noise of its own."""
    return {**inputs, **load_file(parity / "tiny_unet" / "inputs.safetensors")}


@pytest.fixture(scope="module")
def expected(parity: Path) -> dict[str, Tensor]:
    return load_file(parity / "tiny_unet" / "outputs.safetensors")


def test_training(unet: DexVLA, given: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert isinstance(unet.spec.expert, UNetSpec)
    batch = {name: given[name] for name in BATCH}
    with torch.no_grad():
        result = unet.losses(batch, noise=given["train_noise"][0], timesteps=given["train_timesteps"])
    assert_close("condition", result.condition, expected["train.head_cond"])
    for name in ("noisy_actions", "noise_pred", "llm_loss", "action_loss", "loss"):
        assert_close(name, getattr(result, name), expected[f"train.{name}"])


@pytest.mark.parametrize(("case", "end"), [("infer", END), ("infer_eos", 672)])
def test_predict(unet: DexVLA, given: dict[str, Tensor], expected: dict[str, Tensor], case: str, end: int) -> None:
    prompt = {name.removeprefix("infer."): value for name, value in given.items() if name.startswith("infer.")}
    result = unet.predict(prompt, noise=prompt.pop("noise"), max_new_tokens=8, eos_token_id=end)
    assert result.ddim_timesteps == expected[f"{case}.ddim_timesteps"].tolist()
    assert_close("condition", result.condition, expected[f"{case}.film_condition"])
    assert_close("noise_pred_steps", result.noise_pred_steps[:, 0], expected[f"{case}.noise_pred_steps"])
    assert_close("ddim_samples", result.ddim_samples[:, 0], expected[f"{case}.ddim_samples"])
    assert_close("actions", result.actions, expected[f"{case}.actions"])

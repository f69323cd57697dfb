"""Where the reference has NaN and ours acts."""

import torch
from torch import Tensor

from dexvla.model.policy import DexVLA


def prompt(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "states")
    return {name: inputs[f"infer.{name}"] for name in names}


def test_no_actions_are_nan_where_the_reference_has_nan(tiny: DexVLA, inputs: dict[str, Tensor]) -> None:
    """The first generated token declared to be the end token: nothing was said, and the actions are still finite."""
    first = 211
    result = tiny.predict(prompt(inputs), noise=inputs["infer.noise"], max_new_tokens=8, eos_token_id=first)
    assert result.reasoning_ids == [[first]]
    assert torch.isfinite(result.actions).all()
    assert torch.isfinite(result.condition).all()

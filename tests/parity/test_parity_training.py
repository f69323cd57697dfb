"""Gradients of the training loss against the reference's, parameter by parameter."""

import json
from pathlib import Path

import pytest
from torch import Tensor

from dexvla.model.policy import DexVLA
from dexvla.model.upstream import from_upstream_name
from tests.support.parity_data import BATCH


def test_gradients(tiny: DexVLA, parity: Path, inputs: dict[str, Tensor]) -> None:
    stored = json.loads((parity / "tiny" / "grad_norms.json").read_text())
    expected = stored["l2_norm_of_gradient"]
    tiny.zero_grad()
    batch = {name: inputs[name] for name in BATCH}
    result = tiny.losses(batch, noise=inputs["train_noise"][0], timesteps=inputs["train_timesteps"])
    result.loss.backward()
    assert result.loss.item() == pytest.approx(stored["loss"], rel=1e-4)
    parameters = dict(tiny.named_parameters())
    assert {from_upstream_name(name) for name in expected} == set(parameters)
    for name, norm in expected.items():
        gradient = parameters[str(from_upstream_name(name))].grad
        assert gradient is not None, f"{name} has no gradient"
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-3, abs=1e-6), name

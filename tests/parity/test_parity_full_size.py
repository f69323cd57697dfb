"""Names and shapes of the full-size models, without their weights."""

import json
import math
from pathlib import Path

import pytest
from accelerate import init_empty_weights

from dexvla.model.policy import DexVLA
from dexvla.model.upstream import backbone_config, from_upstream_name, to_upstream_name
from dexvla.spec import EXPERT_SIZES, PolicySpec
from tests.support.parity_data import QWEN2_VL_2B


@pytest.mark.parametrize(
    ("file", "size", "chunk"),
    [("2b_scaledp_h", "scaledp-h", 50), ("2b_scaledp_l", "scaledp-l", 50), ("unet", "unet", 16)],
)
def test_every_tensor_has_its_place(parity: Path, file: str, size: str, chunk: int) -> None:
    expected = json.loads((parity / f"keys_{file}.json").read_text())
    spec = PolicySpec(expert=EXPERT_SIZES[size], action_dim=14, state_dim=14, chunk_size=chunk)
    with init_empty_weights(include_buffers=False):
        policy = DexVLA(spec, backbone_config(QWEN2_VL_2B, "Qwen2-VL-2B"))
    ours = {to_upstream_name(name): list(tensor.shape) for name, tensor in policy.state_dict().items()}
    assert ours == expected["parameters"]
    assert all(from_upstream_name(to_upstream_name(name)) == name for name in policy.state_dict())
    # On the meta device the tie is not there yet, so the output projection counts on its own.
    tied = math.prod(expected["parameters"]["lm_head.weight"])
    found = sum(math.prod(parameter.shape) for parameter in policy.parameters())
    assert found - tied == expected["counts"]["total_unique"]
    assert sum(tensor.numel() for tensor in policy.expert.parameters()) == expected["counts"]["policy_head"]

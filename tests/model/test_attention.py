"""Training in bfloat16 on a CPU goes around a slow kernel: the same numbers, padding included."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dexvla.model.attention import COMPOSED, composed
from dexvla.model.checkpoint import new_policy
from dexvla.model.policy import DexVLA
from dexvla.model.processing import collate
from dexvla.spec import Initialisation
from tests.support.model_data import make_sample, policy_spec


@pytest.mark.parametrize("masked", [False, True])
def test_composed_attention_is_torchs(masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 3, 11, 8, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    sees = torch.ones(11, 11, dtype=torch.bool).tril() if masked else torch.ones(11, 11, dtype=torch.bool)
    bias = torch.zeros(2, 1, 11, 11, dtype=torch.float64).masked_fill(~sees, -1e4) if masked else None
    found = []
    for result in (
        composed(*parts, bias=bias, scale=0.3),
        F.scaled_dot_product_attention(*parts, attn_mask=sees if masked else None, scale=0.3),
    ):
        gradients = torch.autograd.grad(result.square().sum(), parts)
        found.append((result, *gradients))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_a_step_in_bfloat16_is_the_step_in_float32_rounded(base: Path) -> None:
    """Samples of different lengths, so that some are padded; queries at padding see no key at all."""
    policy: DexVLA = new_policy(base, policy_spec(), initialisation=Initialisation.UPSTREAM, seed=1).train()
    samples = [make_sample(policy, 0, "Stop.", "Wait."), make_sample(policy, 1, "Grasp the cup.", "Open the gripper.")]
    batch = collate(samples, policy.processor)
    assert not bool(batch["attention_mask"].all())

    def step(autocast: bool) -> tuple[float, str, torch.Tensor]:
        policy.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = policy.losses(batch, generator=torch.Generator().manual_seed(0), keep_logits=False).loss
        loss.backward()
        kind = policy.backbone.config._attn_implementation
        gradients = [value.grad.flatten() for value in policy.parameters() if value.grad is not None]
        return float(loss.detach()), kind, torch.cat(gradients)

    exact, kind, gradient = step(False)
    assert kind == "sdpa"
    rounded, kind, rough = step(True)
    assert kind == COMPOSED
    assert rounded == pytest.approx(exact, rel=0.02)
    assert float(F.cosine_similarity(gradient, rough, dim=0)) > 0.99
    assert torch.equal(gradient, step(False)[2]), "and back"


def test_without_gradients_torchs_kernel_stays(base: Path) -> None:
    policy = new_policy(base, policy_spec()).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert policy.backbone.choose_attention() == "sdpa"
    with torch.autocast("cpu", torch.bfloat16):
        assert policy.backbone.choose_attention() == COMPOSED
    assert policy.backbone.choose_attention() == "sdpa"

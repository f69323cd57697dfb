"""The loss in pieces against the whole: the same value and the same gradients."""

import pytest
import torch
from torch.nn import functional as F

from dexvla.model.policy import DexVLA
from dexvla.model.processing import collate
from dexvla.model.token_loss import token_loss
from tests.support.model_data import make_sample


def inputs(count: int = 37, width: int = 16, words: int = 101) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, width, generator=generator, requires_grad=True)
    weight = torch.randn(words, width, generator=generator, requires_grad=True)
    return hidden, weight, torch.randint(words, (count,), generator=generator)


@pytest.mark.parametrize("rows", [1, 8, 37, 1000])
def test_value_and_gradients_are_those_of_cross_entropy(rows: int) -> None:
    hidden, weight, labels = inputs()
    expected = F.cross_entropy(hidden @ weight.T, labels, reduction="sum")
    wanted = torch.autograd.grad(0.3 * expected, (hidden, weight))
    loss = token_loss(hidden, weight, labels, rows=rows)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(torch.autograd.grad(0.3 * loss, (hidden, weight)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_without_labels_the_loss_is_zero_and_still_differentiable() -> None:
    hidden, weight, labels = inputs(count=0)
    loss = token_loss(hidden, weight, labels)
    loss.backward()
    assert float(loss) == 0
    assert weight.grad is not None
    assert not weight.grad.any()


def test_a_frozen_projection_gets_no_gradient() -> None:
    hidden, weight, labels = inputs()
    token_loss(hidden, weight.detach(), labels).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_under_autocast_it_computes_in_bfloat16_like_the_layer() -> None:
    hidden, weight, labels = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = F.cross_entropy(F.linear(hidden, weight).float(), labels, reduction="sum")
        loss = token_loss(hidden, weight, labels, rows=8)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-5)
    wanted = torch.autograd.grad(expected, (hidden, weight))
    for ours, theirs in zip(torch.autograd.grad(loss, (hidden, weight)), wanted, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.02)


def test_a_step_without_logits_is_the_step_with_them(policy: DexVLA) -> None:
    samples = [make_sample(policy, 0, "Stop.", "Wait."), make_sample(policy, 1, "Put the cup away.", "Grasp the cup.")]
    batch = collate(samples, policy.processor)
    found = []
    for keep in (True, False):
        policy.zero_grad()
        result = policy.losses(batch, generator=torch.Generator().manual_seed(0), keep_logits=keep)
        result.loss.backward()
        assert (result.logits is not None) == keep
        found.append((result, {name: value.grad.clone() for name, value in policy.named_parameters()}))
    policy.zero_grad()
    (whole, expected), (pieces, ours) = found
    for name in ("loss", "llm_loss", "action_loss"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), atol=1e-5, rtol=1e-5)
    for name, gradient in ours.items():
        torch.testing.assert_close(
            gradient, expected[name], atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )

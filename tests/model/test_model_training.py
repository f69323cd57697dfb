"""What a trainer relies on: losses, their sums, precision, gradient checkpointing."""

import copy

import pytest
import torch
from torch import Tensor

from dexvla.errors import UserError
from dexvla.model.policy import DexVLA
from dexvla.model.processing import collate
from tests.support.model_data import make_sample

TEXTS = [
    ("Fold the shirt.", "Grasp the left sleeve."),
    ("Put the cup in the sink, then stop.", None),
    ("Stop.", "Wait."),
]


@pytest.fixture(scope="module")
def samples(policy: DexVLA) -> list[dict[str, Tensor]]:
    return [make_sample(policy, seed, *texts) for seed, texts in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def batch(policy: DexVLA, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return collate(samples, policy.processor)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {"noise": torch.randn(3, 6, 10, generator=generator), "timesteps": torch.tensor([2, 50, 99])}


def test_a_batch_of_different_lengths_is_its_samples(policy, samples, batch, drawn) -> None:
    assert len({len(sample["input_ids"]) for sample in samples}) == 3
    with torch.no_grad():
        together = policy.losses(batch, **drawn)
        alone = [
            policy.losses(
                collate([sample], policy.processor),
                noise=drawn["noise"][i : i + 1],
                timesteps=drawn["timesteps"][i : i + 1],
            )
            for i, sample in enumerate(samples)
        ]
    torch.testing.assert_close(together.noise_pred, torch.cat([one.noise_pred for one in alone]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.condition, torch.cat([one.condition for one in alone]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.llm_loss_sum, sum(one.llm_loss_sum for one in alone), atol=1e-4, rtol=1e-4)
    assert int(together.llm_tokens) == sum(int(one.llm_tokens) for one in alone)
    torch.testing.assert_close(together.action_loss, sum(one.action_loss for one in alone) / 3)


def test_sums_and_counts_give_the_means(policy, batch, drawn) -> None:
    result = policy(batch, **drawn)
    torch.testing.assert_close(result.llm_loss_sum / result.llm_tokens, result.llm_loss)
    torch.testing.assert_close(result.action_loss_sum / result.action_elements, result.action_loss)
    assert int(result.action_elements) == 3 * 6 * 10
    torch.testing.assert_close(result.loss, result.action_loss + policy.spec.llm_loss_weight * result.llm_loss)


def test_logits_are_optional_and_change_nothing(policy, batch, drawn) -> None:
    policy.zero_grad()
    policy.losses(batch, **drawn).loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}
    policy.zero_grad()
    result = policy.losses(batch, **drawn, keep_logits=False)
    result.loss.backward()
    assert result.logits is None
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-3, msg=name)


def test_padded_steps_do_not_count(policy, batch, drawn) -> None:
    padded = {**batch, "is_pad": torch.ones(3, 6, dtype=torch.bool)}
    padded["is_pad"][0, :2] = False
    with torch.no_grad():
        result = policy.losses(padded, **drawn)
        error = (result.noise_pred - drawn["noise"]).square()
    # Averaged over padded entries too, as the reference does.
    torch.testing.assert_close(result.action_loss, error[0, :2].sum() / (3 * 6 * 10))


def test_an_empty_reasoning_trains(policy, drawn) -> None:
    batch = collate([make_sample(policy, seed, "Stop.") for seed in range(3)], policy.processor)
    assert (batch["labels"] != -100).sum(1).tolist() == [1, 1, 1]
    policy.zero_grad()
    result = policy.losses(batch, **drawn)
    result.loss.backward()
    assert torch.isfinite(result.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in policy.parameters())


def test_every_parameter_learns(policy, batch, drawn) -> None:
    """Distributed wrappers stop where a parameter takes no part in the loss."""
    policy.zero_grad()
    policy.losses(batch, **drawn).loss.backward()
    assert [name for name, parameter in policy.named_parameters() if parameter.grad is None] == []


def test_tinyvla_pools_valid_tokens_only(tinyvla: DexVLA, drawn) -> None:
    samples = [make_sample(tinyvla, seed, *texts) for seed, texts in enumerate(TEXTS)]
    batch = collate(samples, tinyvla.processor)
    with torch.no_grad():
        together = tinyvla.losses(batch, **drawn).condition
        alone = [tinyvla.losses(collate([sample], tinyvla.processor)).condition for sample in samples]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_autocast_stays_near_float32(policy, batch, drawn) -> None:
    with torch.no_grad():
        exact = policy.losses(batch, **drawn)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = policy.losses(batch, **drawn)
    assert rounded.loss.dtype == rounded.noise_pred.dtype == rounded.condition.dtype == torch.float32
    assert 0 < float((rounded.noise_pred - exact.noise_pred).abs().max()) < 0.02
    assert float(rounded.loss) == pytest.approx(float(exact.loss), rel=0.01)


def test_bfloat16_weights_train(policy, batch, drawn) -> None:
    cast = copy.deepcopy(policy).to(torch.bfloat16)
    result = cast.losses(batch, **drawn)
    result.loss.backward()
    assert result.loss.dtype == torch.float32
    assert all(torch.isfinite(parameter.grad).all() for parameter in cast.parameters())
    with torch.no_grad():
        assert float(result.loss) == pytest.approx(float(policy.losses(batch, **drawn).loss), rel=0.02)


def test_gradient_checkpointing_gives_the_same_gradients(policy, batch, drawn) -> None:
    policy.zero_grad()
    policy.losses(batch, **drawn).loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}
    recomputing = copy.deepcopy(policy).train()
    recomputing.backbone.checkpoint_gradients(True)
    recomputing.zero_grad()
    forwards: list[int] = []
    for block in (recomputing.backbone.model.visual.blocks[0], recomputing.backbone.model.language_model.layers[0]):
        block.mlp.register_forward_pre_hook(lambda *_: forwards.append(1))
    recomputing.losses(batch, **drawn).loss.backward()
    assert len(forwards) == 4, "each block runs once forward and once more in the backward pass"
    for name, parameter in recomputing.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [("actions", (3, 6, 14), "expected (batch, 6, 10)"), ("states", (3, 14), "expected (batch, 7)")],
)
def test_wrong_dimensions_are_named(policy, batch, name: str, shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(UserError, match="14") as error:
        policy.losses({**batch, name: torch.zeros(shape)})
    assert expected in str(error.value)


def test_images_of_another_batch_are_refused(policy, batch) -> None:
    fewer = {**batch, "image_grid_thw": batch["image_grid_thw"][:-1]}
    with pytest.raises(ValueError, match="do not belong together"):
        policy.losses(fewer)

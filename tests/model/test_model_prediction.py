"""What a robot relies on: batches, early ends, forced reasonings, repeatable and bounded actions."""

import copy

import pytest
import torch
from torch import Tensor

from dexvla.errors import UserError
from dexvla.model.policy import DexVLA, Prediction
from dexvla.model.processing import collate
from tests.support.model_data import make_sample

INSTRUCTIONS = ["Fold the shirt.", "Put the cup in the sink, then go back to the start and wait there.", "Stop."]


@pytest.fixture(scope="module")
def samples(policy: DexVLA) -> list[dict[str, Tensor]]:
    return [make_sample(policy, seed, text, prompt=True) for seed, text in enumerate(INSTRUCTIONS)]


@pytest.fixture(scope="module")
def batch(policy: DexVLA, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return collate(samples, policy.processor)


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return torch.randn(3, 6, 10, generator=torch.Generator().manual_seed(2))


def singles(policy: DexVLA, samples: list[dict[str, Tensor]], noise: Tensor, **options) -> list[Prediction]:
    return [
        policy.predict(collate([sample], policy.processor), noise=noise[i : i + 1], **options)
        for i, sample in enumerate(samples)
    ]


def assert_same(together: Prediction, alone: list[Prediction]) -> None:
    assert together.reasoning_ids == [ids for one in alone for ids in one.reasoning_ids]
    assert together.reasoning_text == [text for one in alone for text in one.reasoning_text]
    for name, dim in (("condition", 0), ("actions", 0), ("ddim_samples", 1)):
        expected = torch.cat([getattr(one, name) for one in alone], dim=dim)
        torch.testing.assert_close(getattr(together, name), expected, atol=1e-4, rtol=1e-4, msg=name)
    for ours, one in zip(together.hidden_states, alone, strict=True):
        torch.testing.assert_close(ours, one.hidden_states[0], atol=1e-4, rtol=1e-4)


def test_a_batch_is_its_samples(policy, samples, batch, noise) -> None:
    assert not batch["attention_mask"].all()
    together = policy.predict(batch, noise=noise, max_new_tokens=6)
    assert together.actions.shape == (3, 6, 10)
    assert together.ddim_samples.shape == (4, 3, 6, 10)
    assert_same(together, singles(policy, samples, noise, max_new_tokens=6))


def test_samples_that_end_early_are_not_disturbed(policy, samples, batch, noise) -> None:
    """End tokens are chosen so that the samples stop at different times, one of them at once."""
    said = [ids for one in singles(policy, samples, noise, max_new_tokens=6) for ids in one.reasoning_ids]
    candidates = [[said[0][0], token] for token in set(said[1] + said[2])]
    lengths = {}
    for ends in candidates:
        stops = [next((i for i, token in enumerate(ids) if token in ends), 5) + 1 for ids in said]
        lengths[tuple(ends)] = stops
    ends = max(lengths, key=lambda key: len(set(lengths[key])))
    assert len(set(lengths[ends])) > 1
    assert 1 in lengths[ends]
    together = policy.predict(batch, noise=noise, max_new_tokens=6, eos_token_id=list(ends))
    assert [len(ids) for ids in together.reasoning_ids] == lengths[ends]
    assert_same(together, singles(policy, samples, noise, max_new_tokens=6, eos_token_id=list(ends)))


def test_nothing_said_gives_finite_actions(policy, batch, noise) -> None:
    """Every token ends the answer: its own state stands in for the reasoning."""
    every = list(range(policy.backbone.config.text_config.vocab_size))
    result = policy.predict(batch, noise=noise, eos_token_id=every)
    assert [len(ids) for ids in result.reasoning_ids] == [1, 1, 1]
    assert torch.isfinite(result.condition).all()
    assert torch.isfinite(result.actions).all()
    forced = policy.predict(batch, noise=noise, reasoning="")
    assert forced.reasoning_ids == [[policy.processor.end_id]] * 3
    assert forced.reasoning_text == ["", "", ""]
    assert torch.isfinite(forced.actions).all()


def test_an_empty_reasoning_pools_what_training_pooled(policy, noise) -> None:
    """Train and act agree for a policy that was taught to say nothing."""
    trained = collate([make_sample(policy, 0, INSTRUCTIONS[0])], policy.processor)
    prompt = collate([make_sample(policy, 0, INSTRUCTIONS[0], prompt=True)], policy.processor)
    with torch.no_grad():
        expected = policy.losses(trained).condition
    forced = policy.predict(prompt, noise=noise[:1], reasoning="")
    torch.testing.assert_close(forced.condition, expected, atol=1e-5, rtol=1e-4)


def test_forcing_what_was_generated_changes_nothing(policy, batch, noise, monkeypatch) -> None:
    generated = policy.predict(batch, noise=noise, max_new_tokens=5)
    rows = iter(generated.reasoning_ids)
    monkeypatch.setattr(policy.processor, "answer_ids", lambda _: next(rows))
    forced = policy.predict(batch, noise=noise, reasoning=["a", "b", "c"])
    assert forced.reasoning_ids == generated.reasoning_ids
    torch.testing.assert_close(forced.condition, generated.condition, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(forced.actions, generated.actions, atol=1e-4, rtol=1e-4)


def test_forced_reasonings_of_different_lengths(policy, samples, batch, noise) -> None:
    texts = ["Grasp the sleeve with both arms.", "Wait.", ""]
    together = policy.predict(batch, noise=noise, reasoning=texts)
    assert together.reasoning_text == texts
    alone = [
        policy.predict(collate([sample], policy.processor), noise=noise[i : i + 1], reasoning=texts[i])
        for i, sample in enumerate(samples)
    ]
    assert_same(together, alone)
    other = policy.predict(batch, noise=noise, reasoning=["Open the gripper.", "Wait.", ""])
    assert not torch.allclose(other.condition[0], together.condition[0], atol=1e-4)
    torch.testing.assert_close(other.condition[1:], together.condition[1:], atol=1e-5, rtol=1e-4)


def test_training_mode_does_not_matter(policy, batch, noise) -> None:
    """Recomputing blocks drop the key-value cache while they are in training mode."""
    expected = policy.predict(batch, noise=noise, max_new_tokens=4)
    training = copy.deepcopy(policy).train()
    training.backbone.eval()
    training.backbone.model.language_model.layers.train()
    training.backbone.checkpoint_gradients(True)
    result = training.predict(batch, noise=noise, max_new_tokens=4)
    assert result.reasoning_ids == expected.reasoning_ids
    torch.testing.assert_close(result.actions, expected.actions, atol=1e-5, rtol=1e-4)
    assert training.training
    assert training.backbone.model.language_model.layers[0].training
    assert not training.backbone.training


def test_autocast_and_bfloat16_weights(policy, batch, noise) -> None:
    exact = policy.predict(batch, noise=noise, reasoning="Wait.")
    with torch.autocast("cpu", torch.bfloat16):
        rounded = policy.predict(batch, noise=noise, reasoning="Wait.")
    cast = copy.deepcopy(policy).to(torch.bfloat16).predict(batch, noise=noise, reasoning="Wait.")
    for result in (rounded, cast):
        assert result.actions.dtype == result.ddim_samples.dtype == torch.float32
        assert 0 < float((result.actions - exact.actions).abs().max()) < 0.1


def test_a_seed_fixes_the_actions(policy, batch) -> None:
    def draw(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return policy.predict(batch, generator=generator, reasoning="Wait.").actions

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert draw(1).abs().max() <= 1


def test_denoising_steps(policy, batch, noise) -> None:
    result = policy.predict(batch, noise=noise, reasoning="Wait.", ddim_steps=10)
    assert result.ddim_timesteps == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]
    with pytest.raises(ValueError, match="1 to 100"):
        policy.predict(batch, noise=noise, reasoning="Wait.", ddim_steps=101)


def test_modulations_ahead_of_time_are_exact(policy) -> None:
    """Sampling computes the modulations of all steps at once; step by step through `forward` gives the same."""
    generator = torch.Generator().manual_seed(4)
    condition, states = torch.randn(2, 128, generator=generator), torch.randn(2, 7, generator=generator)
    noise = torch.randn(2, 6, 10, generator=generator)
    expert = policy.expert
    with torch.no_grad():
        fast = expert.sample(condition, states, noise)

        def predict_noise(sample: Tensor, index: int) -> Tensor:
            return expert(sample, torch.full((2,), fast.timesteps[index]), condition, states)

        slow = expert.schedule.sample(predict_noise, noise)
    torch.testing.assert_close(fast.samples_sbta, slow.samples_sbta, atol=1e-5, rtol=1e-5)


def test_tinyvla_reads_the_prompt_alone(tinyvla: DexVLA, noise) -> None:
    samples = [make_sample(tinyvla, seed, text, prompt=True) for seed, text in enumerate(INSTRUCTIONS)]
    result = tinyvla.predict(collate(samples, tinyvla.processor), noise=noise)
    assert result.reasoning_ids == [[], [], []]
    assert_same(result, singles(tinyvla, samples, noise))


def test_what_cannot_be_predicted_is_refused(policy, batch) -> None:
    with pytest.raises(UserError, match="max_new_tokens"):
        policy.predict(batch, max_new_tokens=0)
    with pytest.raises(UserError, match="2 reasonings were given for 3"):
        policy.predict(batch, reasoning=["a", "b"])
    with pytest.raises(ValueError, match="expected \\(3, 6, 10\\)"):
        policy.predict(batch, noise=torch.zeros(3, 6, 14), reasoning="")
    with pytest.raises(ValueError, match="padded on the left"):
        policy.predict({**batch, "attention_mask": batch["attention_mask"].flip(1)}, reasoning="")
    with pytest.raises(UserError, match=r"control token.*im_end"):
        policy.predict(batch, reasoning="Wait.<|im_end|>")

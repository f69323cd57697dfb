"""The U-Net expert beyond the reference: any chunk, any action dimension, reload, precision, bad sizes."""

import copy
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from dexvla.data.normalise import unnormalise_actions
from dexvla.errors import CheckpointError
from dexvla.model import load_expert_weights
from dexvla.model.checkpoint import load_policy, new_policy, save_policy
from dexvla.model.policy import DexVLA
from dexvla.model.processing import collate
from dexvla.model.unet import UNet
from dexvla.spec import EXPERT_SIZES, Initialisation, NormStats, PolicySpec, UNetSpec
from tests.support.model_data import make_sample, policy_spec

SMALL = UNetSpec(down_dims=(8, 16, 24), n_groups=4, diffusion_step_embed_dim=16)


@pytest.fixture(scope="module")
def unet(base: Path, norm_stats: NormStats) -> DexVLA:
    spec = policy_spec(expert=SMALL)
    return new_policy(base, spec, initialisation=Initialisation.UPSTREAM, seed=1, norm_stats=norm_stats)


@pytest.fixture(scope="module")
def batch(unet: DexVLA) -> dict[str, Tensor]:
    return collate([make_sample(unet, seed, "Stop.", "Wait.") for seed in range(2)], unet.processor)


def fresh_expert(spec: UNetSpec, *, chunk: int, seed: int = 0) -> UNet:
    expert = UNet(policy_spec(expert=spec, chunk_size=chunk), 12)
    expert.initialise(Initialisation.UPSTREAM, torch.Generator().manual_seed(seed))
    return expert.eval()


@pytest.mark.parametrize("chunk", [1, 5, 6, 7, 8, 50])
@pytest.mark.parametrize("dims", [(8,), (8, 16), (8, 16, 24), (8, 8, 8, 8)])
def test_any_chunk_size_goes(chunk: int, dims: tuple[int, ...]) -> None:
    expert = fresh_expert(SMALL.model_copy(update={"down_dims": dims}), chunk=chunk)
    noise = torch.randn(3, chunk, 10, generator=torch.Generator().manual_seed(1))
    result = expert.sample(torch.ones(3, 12), torch.ones(3, 7), noise)
    assert result.actions_bta.shape == (3, chunk, 10)
    assert torch.isfinite(result.noise_sbta).all()


def test_padding_inside_is_zeros_at_the_end() -> None:
    """A chunk of 6 gives what the first 6 steps of a chunk of 8 give whose last two are zeros."""
    expert = fresh_expert(SMALL, chunk=6)
    noisy = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(1))
    longer = torch.cat([noisy, torch.zeros(2, 2, 10)], dim=1)
    rest = torch.tensor([3, 70]), torch.ones(2, 12), torch.ones(2, 7)
    with torch.no_grad():
        torch.testing.assert_close(expert(noisy, *rest), expert(longer, *rest)[:, :6])


def test_scales_ahead_of_time_are_exact() -> None:
    """Sampling computes scales and shifts of all steps at once; step by step through `forward` gives the same."""
    expert, generator = fresh_expert(SMALL, chunk=6), torch.Generator().manual_seed(4)
    condition, states = torch.randn(2, 12, generator=generator), torch.randn(2, 7, generator=generator)
    noise = torch.randn(2, 6, 10, generator=generator)
    with torch.no_grad():
        fast = expert.sample(condition, states, noise)

        def predict_noise(sample: Tensor, index: int) -> Tensor:
            return expert(sample, torch.full((2,), fast.timesteps[index]), condition, states)

        slow = expert.schedule.sample(predict_noise, noise)
    torch.testing.assert_close(fast.samples_sbta, slow.samples_sbta, atol=1e-5, rtol=1e-5)


def test_saved_and_loaded_it_acts_the_same(unet: DexVLA, tmp_path: Path) -> None:
    """Upstream cannot read its own U-Net checkpoints, and has no way back to physical units."""
    save_policy(unet, tmp_path / "saved", manifest={})
    loaded = load_policy(tmp_path / "saved")
    assert loaded.spec == unet.spec
    prompt = collate([make_sample(unet, 0, "Stop.", prompt=True)], unet.processor)
    noise = torch.randn(1, 6, 10, generator=torch.Generator().manual_seed(2))
    one, two = (policy.predict(prompt, noise=noise, reasoning="Wait.").actions for policy in (unet, loaded))
    assert torch.equal(one, two)
    physical = unnormalise_actions(one[0].numpy(), loaded.norm_stats)
    assert physical.shape == (6, 10)
    assert physical.min() >= -1.0001
    assert physical.max() <= 2.0001


def test_every_parameter_learns(unet: DexVLA, batch: dict[str, Tensor]) -> None:
    unet.zero_grad()
    unet.losses(batch).loss.backward()
    assert [name for name, parameter in unet.named_parameters() if parameter.grad is None] == []


def test_fresh_it_does_not_look_at_the_condition_and_learns_to() -> None:
    """FiLM as the identity at first; then two chunks by heart."""
    generator = torch.Generator().manual_seed(0)
    expert = UNet(policy_spec(expert=UNetSpec(down_dims=(32, 64), diffusion_step_embed_dim=32)), 12)
    expert.initialise(Initialisation.ZERO, generator)
    actions = 2 * torch.rand(2, 6, 10, generator=generator) - 1
    seen = torch.randn(2, 12, generator=generator), torch.randn(2, 7, generator=generator)
    optimizer = torch.optim.AdamW(expert.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        noise = torch.randn(16, 6, 10, generator=generator)
        timesteps = torch.randint(100, (16,), generator=generator)
        noisy = expert.schedule.add_noise(actions.repeat(8, 1, 1), noise, timesteps)
        predicted = expert(noisy, timesteps, *(part.repeat(8, 1) for part in seen))
        if step == 0:
            other = expert(noisy, timesteps, torch.zeros(16, 12), torch.zeros(16, 7))
            torch.testing.assert_close(predicted, other)
        loss = (predicted - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10]), (losses[:10], losses[-10:])


def test_bfloat16_stays_near_float32(unet: DexVLA, batch: dict[str, Tensor]) -> None:
    drawn = {"noise": torch.randn(2, 6, 10), "timesteps": torch.tensor([5, 90])}
    cast = copy.deepcopy(unet).to(torch.bfloat16)
    assert torch.equal(cast.expert.diffusion_step_encoder[0].table.float(), unet.expert.diffusion_step_encoder[0].table)
    with torch.no_grad():
        exact = unet.losses(batch, **drawn)
        rounded = cast.losses(batch, **drawn)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = unet.losses(batch, **drawn)
    for result in (rounded, mixed):
        assert result.noise_pred.dtype == torch.float32
        assert float((result.noise_pred - exact.noise_pred).abs().max()) < 0.1


def test_another_kind_of_expert_is_refused(unet: DexVLA, policy: DexVLA, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "scaledp", manifest={})
    with pytest.raises(CheckpointError, match=r"ScaleDP, U-Net") as error:
        load_expert_weights(unet, tmp_path / "scaledp")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"down_dims": (8, 12)}, "multiples of n_groups 8"),
        ({"kernel_size": 4}, "would shift the steps"),
        ({"diffusion_step_embed_dim": 33}, "expected an even number"),
        ({"down_dims": ()}, "at least 1 item"),
    ],
)
def test_sizes_that_cannot_work_are_refused(sizes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UNetSpec(**sizes)


def test_the_kind_in_a_stored_spec_decides() -> None:
    for name, expert in EXPERT_SIZES.items():
        spec = PolicySpec(expert=expert, action_dim=3, state_dim=2)
        assert PolicySpec.model_validate_json(spec.model_dump_json()) == spec, name

"""The three ways to a condition, knowledge insulation, and fresh weights of every combination of parts."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dexvla.errors import UserError
from dexvla.model.checkpoint import load_policy, new_policy, save_policy
from dexvla.model.fresh import init_weights
from dexvla.model.fusion import FilmFusion, PooledFusion, new_fusion
from dexvla.model.policy import DexVLA
from dexvla.model.processing import collate
from dexvla.model.scaledp import ScaleDP
from dexvla.model.unet import UNet
from dexvla.spec import Fusion, Initialisation, TrainSpec, UNetSpec, with_preset
from tests.support.model_data import EXPERT, make_sample, policy_spec

UNET = UNetSpec(down_dims=(8, 16), n_groups=4, diffusion_step_embed_dim=16)
DRAWN = {"noise": torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(5)), "timesteps": torch.tensor([2, 60])}


def fresh(base: Path, **changes: object) -> DexVLA:
    return new_policy(base, policy_spec(**changes), initialisation=Initialisation.UPSTREAM, seed=1)


def batch_for(policy: DexVLA, *reasonings: str | None) -> dict[str, Tensor]:
    return collate([make_sample(policy, 0, "Stop.", text) for text in reasonings], policy.processor)


# --- fusions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expert", [EXPERT, UNET], ids=["scaledp", "unet"])
@pytest.mark.parametrize("fusion", [Fusion.POOLED, Fusion.TINYVLA])
def test_without_film_it_trains_predicts_and_comes_back(base: Path, tmp_path: Path, fusion: Fusion, expert) -> None:
    """Upstream stops in the first training step with using_film False (B4) and in evaluation with is_tinyvla (B6)."""
    policy = fresh(base, fusion=fusion, expert=expert)
    batch = batch_for(policy, "Wait.", "Grasp the cup with the left arm.")
    result = policy.losses(batch, **DRAWN)
    result.loss.backward()
    assert [name for name, parameter in policy.named_parameters() if parameter.grad is None] == []
    assert torch.isfinite(result.loss)
    save_policy(policy, tmp_path / "saved", manifest={})
    loaded = load_policy(tmp_path / "saved")
    prompts = collate([make_sample(policy, seed, "Stop.", prompt=True) for seed in range(2)], policy.processor)
    one, two = (model.predict(prompts, noise=DRAWN["noise"]) for model in (policy, loaded))
    assert torch.equal(one.actions, two.actions)
    assert one.reasoning_ids == [[], []]
    assert one.actions.abs().max() <= 1


def test_pooled_is_film_that_does_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    film, pooled = FilmFusion(16), PooledFusion(16)
    film.initialise(Initialisation.ZERO, generator)
    pooled.load_state_dict({name: t for name, t in film.state_dict().items() if name.startswith("prompt_proj.")})
    hidden = torch.randn(2, 9, 16, generator=generator)
    prompt = torch.arange(9)[None].expand(2, -1) < 5
    with torch.no_grad():
        torch.testing.assert_close(pooled(hidden, prompt, ~prompt), film(hidden, prompt, ~prompt))


def test_pooled_does_not_see_the_answer(base: Path) -> None:
    policy = fresh(base, fusion=Fusion.POOLED)
    with torch.no_grad():
        condition = policy.losses(batch_for(policy, "Wait.", "Grasp the cup."), **DRAWN).condition
    torch.testing.assert_close(condition[0], condition[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fusion", [Fusion.POOLED, Fusion.TINYVLA])
def test_a_given_reasoning_is_read(base: Path, fusion: Fusion) -> None:
    policy = fresh(base, fusion=fusion)
    prompt = collate([make_sample(policy, 0, "Stop.", prompt=True)], policy.processor)
    alone = policy.predict(prompt, noise=DRAWN["noise"][:1])
    told = policy.predict(prompt, noise=DRAWN["noise"][:1], reasoning="Grasp the cup.")
    assert told.reasoning_text == ["Grasp the cup."]
    assert torch.allclose(alone.condition, told.condition, atol=1e-5) is (fusion is Fusion.POOLED)


def test_flat_positions_are_for_comparing_tinyvla_only(policy: DexVLA, tinyvla: DexVLA) -> None:
    prompt = collate([make_sample(tinyvla, 0, "Stop.", prompt=True)], tinyvla.processor)
    own = tinyvla.predict(prompt, noise=DRAWN["noise"][:1]).condition
    flat = tinyvla.predict(prompt, noise=DRAWN["noise"][:1], flat_positions=True).condition
    assert not torch.allclose(own, flat, atol=1e-3)
    for model, options in ((policy, {}), (tinyvla, {"reasoning": "Wait."})):
        with pytest.raises(UserError, match="flat_positions"):
            model.predict(prompt, flat_positions=True, **options)


# --- knowledge insulation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", list(Fusion))
def test_insulation_keeps_the_experts_loss_out_of_the_backbone(base: Path, fusion: Fusion) -> None:
    policy = fresh(base, fusion=fusion, insulate_backbone=True)
    result = policy.losses(batch_for(policy, "Wait.", "Grasp the cup."), **DRAWN)
    result.action_loss.backward(retain_graph=True)
    reached = {name.split(".")[0] for name, p in policy.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"expert"} | ({"fusion"} if list(policy.fusion.parameters()) else set())
    result.llm_loss.backward()
    assert all(parameter.grad is not None for parameter in policy.backbone.parameters())


def test_insulation_changes_gradients_alone(base: Path) -> None:
    open_, insulated = fresh(base), fresh(base, insulate_backbone=True)
    batch = batch_for(open_, "Wait.", "Grasp the cup.")
    results = [policy.losses(batch, **DRAWN) for policy in (open_, insulated)]
    for name in ("loss", "action_loss", "llm_loss", "noise_pred", "condition"):
        assert torch.equal(*(getattr(result, name) for result in results))
    results[0].action_loss.backward()
    assert open_.backbone.model.visual.blocks[0].attn.qkv.weight.grad.any()
    results[1].loss.backward()
    whole = new_policy(base, open_.spec, initialisation=Initialisation.UPSTREAM, seed=1)
    whole.losses(batch, **DRAWN).loss.backward()
    for part in ("fusion", "expert"):
        for one, two in zip(getattr(insulated, part).parameters(), getattr(whole, part).parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad)


def test_insulation_needs_something_to_learn_from() -> None:
    fields = {"stage": 2, "data": [{"path": "d"}], "init_from": "b", "output_dir": "o", "preset": "tiny"}
    assert TrainSpec.model_fields["insulate_backbone"].default is False
    assert with_preset(fields | {"insulate_backbone": True}).insulate_backbone
    for nothing in ({"freeze_backbone": True}, {"llm_loss_weight": 0}):
        with pytest.raises(ValidationError, match="insulate_backbone"):
            with_preset(fields | nothing | {"insulate_backbone": True})


# --- fresh weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expert", [EXPERT, UNET], ids=["scaledp", "unet"])
@pytest.mark.parametrize("fusion", list(Fusion))
@pytest.mark.parametrize("how", list(Initialisation))
def test_every_fresh_value_is_chosen(expert, fusion: Fusion, how: Initialisation) -> None:
    """From memory full of NaN: whatever is left of it was left to chance."""
    spec = policy_spec(fusion, expert=expert)
    parts = [new_fusion(fusion, 12), (UNet if isinstance(expert, UNetSpec) else ScaleDP)(spec, 12)]
    for part in parts:
        for parameter in part.parameters():
            nn.init.constant_(parameter, float("nan"))
        part.initialise(how, torch.Generator().manual_seed(0))
        for name, parameter in part.named_parameters():
            assert torch.isfinite(parameter).all(), name
        assert all(torch.isfinite(buffer).all() for buffer in part.buffers())


@pytest.mark.parametrize("how", list(Initialisation))
def test_a_u_net_starts_as_documented(how: Initialisation) -> None:
    expert = UNet(policy_spec(expert=UNetSpec(down_dims=(64, 128), diffusion_step_embed_dim=64)), 100)
    expert.initialise(how, torch.Generator().manual_seed(0))
    for name, module in expert.named_modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()
        elif how is Initialisation.ZERO and name.endswith("cond_encoder.1"):
            assert not module.weight.any()
            scale, shift = module.bias.chunk(2)
            assert (scale == 1).all()
            assert not shift.any()
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            assert not module.bias.any()
            inputs = nn.init._calculate_fan_in_and_fan_out(module.weight)
            zero = (2 / sum(inputs)) ** 0.5
            upstream = 0.02 if isinstance(module, nn.Linear) else (3 * inputs[0]) ** -0.5
            expected = zero if how is Initialisation.ZERO else upstream
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.1), name


def test_a_layer_without_a_rule_is_an_error() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.empty(3))

    generator = torch.Generator()
    with pytest.raises(TypeError, match=r"no rule for fresh weights of 0.table \(Odd\)"):
        init_weights(nn.Sequential(Odd()), Initialisation.ZERO, generator)
    with pytest.raises(TypeError, match="Embedding"):
        init_weights(nn.ModuleList([nn.Embedding(2, 3)]), Initialisation.ZERO, generator)
    init_weights(Odd(), Initialisation.ZERO, generator, tables=("table",))

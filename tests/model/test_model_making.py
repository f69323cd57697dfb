"""Base models made on the spot, fresh weights, and what importing costs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dexvla.errors import UserError
from dexvla.model.checkpoint import new_policy
from dexvla.model.init_model import init_model
from dexvla.model.processing import collate
from dexvla.spec import SCALEDP_SIZES, Fusion, Initialisation
from tests.support.model_data import file_bytes, make_sample, policy_spec


def test_the_same_seed_gives_the_same_files(base: Path, tmp_path: Path) -> None:
    init_model(tmp_path / "same", seed=3)
    init_model(tmp_path / "other", seed=4)
    same, other, first = file_bytes(tmp_path / "same"), file_bytes(tmp_path / "other"), file_bytes(base)
    assert same == first
    assert {name for name in first if other[name] != first[name]} == {"model.safetensors"}


def test_transformers_reads_it_without_us(base: Path) -> None:
    from transformers import Qwen2VLForConditionalGeneration

    _, info = Qwen2VLForConditionalGeneration.from_pretrained(base, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]


def test_only_an_empty_place_is_taken(base: Path, tmp_path: Path) -> None:
    before = file_bytes(base)
    with pytest.raises(UserError, match="exists already"):
        init_model(base)
    assert file_bytes(base) == before
    with pytest.raises(UserError, match=r"unknown preset 'huge'; known: tiny, small"):
        init_model(tmp_path / "new", preset="huge")
    (tmp_path / "empty").mkdir()
    init_model(tmp_path / "empty")
    assert (tmp_path / "empty" / "model.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_zero_initialisation_starts_closed(base: Path) -> None:
    """No noise predicted, and the reasoning does not reach the condition yet; the steps of the chunk are told apart."""
    policy = new_policy(base, policy_spec(), initialisation=Initialisation.ZERO, seed=1)
    samples = [make_sample(policy, 0, "Stop.", text) for text in ("Wait.", "Grasp the cup with the left arm.")]
    with torch.no_grad():
        result = policy.losses(collate(samples, policy.processor))
    assert not result.noise_pred.any()
    torch.testing.assert_close(result.condition[0], result.condition[1], atol=1e-5, rtol=1e-4)
    positions = policy.expert.pos_embed[0]
    assert torch.cdist(positions, positions).fill_diagonal_(9).min() > 0.3
    linear = policy.expert.blocks[0].attn.qkv
    assert float(linear.weight.detach().std()) == pytest.approx((2 / (32 + 96)) ** 0.5, rel=0.1)
    assert not linear.bias.any()


def test_upstream_initialisation(base: Path) -> None:
    policy = new_policy(base, policy_spec(), initialisation=Initialisation.UPSTREAM, seed=1)
    for part in (policy.fusion, policy.expert):
        for name, parameter in part.state_dict().items():
            if name.endswith("bias") or name == "pos_embed":
                assert not parameter.any(), name
            else:
                assert float(parameter.std()) == pytest.approx(0.02, rel=0.15), name


def test_a_tinyvla_norm_starts_as_identity(base: Path) -> None:
    norm = new_policy(base, policy_spec(Fusion.TINYVLA)).expert.norm_after_pool
    assert (norm.weight == 1).all()
    assert not norm.bias.any()


def test_fresh_weights_follow_the_seed_alone(base: Path) -> None:
    one = new_policy(base, policy_spec(), seed=5)
    torch.manual_seed(99)
    two = new_policy(base, policy_spec(), seed=5)
    three = new_policy(base, policy_spec(), seed=6)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.expert.x_embedder.weight, three.expert.x_embedder.weight)


def test_it_learns(base: Path) -> None:
    """Two samples by heart: what to say and what to do, from the images alone.

    Long enough that the last bits, which differ from processor to processor, do not decide: own and other action are
    0.12 and 0.61 apart by then; and over several noises, because a single one moves the ratio by half. Each step looks
    at many noises of each sample, which costs little: only the expert sees them.
    """
    policy = new_policy(base, policy_spec(expert=SCALEDP_SIZES["tiny"]), seed=0).train()
    samples = [
        make_sample(policy, 0, "Go on.", "Grasp the cup."),
        make_sample(policy, 1, "Go on.", "Open the gripper."),
    ]
    batch = collate(samples, policy.processor)
    draws = (len(samples), 16)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        noise = torch.randn((*draws, *batch["actions"].shape[1:]), generator=generator)
        levels = torch.randint(0, policy.spec.diffusion.train_steps, draws, generator=generator)
        loss = policy.losses(batch, noise=noise, timesteps=levels, keep_logits=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
    prompts = collate([make_sample(policy, seed, "Go on.", prompt=True) for seed in (0, 1)], policy.processor)
    results = [policy.predict(prompts, generator=generator, max_new_tokens=20) for _ in range(4)]
    assert all(result.reasoning_text == ["Grasp the cup.", "Open the gripper."] for result in results)
    acted, wanted = torch.stack([result.actions for result in results]), batch["actions"]
    own, others = ((acted - actions).abs().mean() for actions in (wanted, wanted.flip(0)))
    assert own < 0.5 * others, (own, others)


def test_importing_the_room_is_cheap() -> None:
    """No torch until a name is asked for, and torchvision never."""
    code = (
        "import sys, dexvla.model\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "from dexvla.model import DexVLA, load_policy, build_inputs\n"
        "from dexvla.model.init_model import init_model\n"
        "assert 'torch' in sys.modules and 'torchvision' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import dexvla.model

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dexvla.model.nothing

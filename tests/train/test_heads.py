"""Runs with the other heads and fusions, from episodes to a checkpoint that acts: DiVLA, TinyVLA, no FiLM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dexvla.errors import CheckpointError
from dexvla.model import load_policy
from dexvla.model.processing import build_inputs, collate
from dexvla.spec import PRESETS, Fusion, LoraSpec, TrainSpec, UNetSpec, with_preset
from dexvla.train.loop import plan, train
from dexvla.train.lora import add_lora, plain_state_dict
from tests.support.trainings import stop_at

MakeSpec = Callable[..., TrainSpec]


def act(checkpoint: Path) -> torch.Tensor:
    policy = load_policy(checkpoint)
    assert policy.processor is not None
    sample = build_inputs(
        policy.processor,
        images=[torch.zeros(48, 64, 3, dtype=torch.uint8).numpy() for _ in policy.spec.cameras],
        image_sizes=[(camera.height, camera.width) for camera in policy.spec.cameras],
        instruction="Transfer the red cube.",
    )
    sample["states"] = torch.zeros(policy.spec.state_dim)
    generator = torch.Generator().manual_seed(0)
    return policy.predict(collate([sample], policy.processor), generator=generator, max_new_tokens=4).actions


@pytest.mark.parametrize(
    "fields",
    [
        {"expert": "unet-tiny", "chunk_size": 6, "lora": {"rank": 2, "alpha": 4}},
        {"expert": "unet-tiny", "fusion": "tinyvla", "use_reasoning": False, "llm_loss_weight": 0.0},
        {"fusion": "tinyvla"},
        {"fusion": "pooled", "insulate_backbone": True},
    ],
    ids=["divla", "tinyvla with a U-Net", "tinyvla with ScaleDP", "pooled"],
)
def test_a_run_ends_in_a_checkpoint_that_acts(make_spec: MakeSpec, fields: dict[str, Any], tmp_path: Path) -> None:
    spec = make_spec(steps=2, **fields)
    first = train(spec)
    policy = load_policy(first.checkpoint)
    assert policy.spec.fusion is Fusion(fields.get("fusion", "film"))
    assert policy.spec.insulate_backbone is fields.get("insulate_backbone", False)
    actions = act(first.checkpoint)
    assert actions.shape == (1, spec.chunk_size, 14)
    assert torch.isfinite(actions).all()
    options = {key: value for key, value in fields.items() if key in ("use_reasoning", "llm_loss_weight")}
    third = train(make_spec(stage=3, init_from=str(first.run), output_dir=str(tmp_path / "stage3"), steps=1, **options))
    before, after = (load_file(result.checkpoint / "model.safetensors") for result in (first, third))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("expert."))


def test_a_u_net_has_sixteen_steps_unless_told(make_spec: MakeSpec) -> None:
    result = train(make_spec(expert="unet-tiny", chunk_size=None, steps=1))
    assert load_policy(result.checkpoint).spec.chunk_size == 16


def test_adapters_on_a_u_net_train_resume_and_merge(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Every convolution and linear layer of it has one, those that double the steps too; the rest does not move."""
    donor = train(make_spec(output_dir=str(tmp_path / "donor"), expert="unet-tiny", steps=2))
    options: dict[str, Any] = {
        "pretrained_expert": str(donor.run),
        "expert": "unet-tiny",
        "lora": {"towers": ["expert"], "rank": 2, "alpha": 4, "dropout": 0.1},
        "optim": {"learning_rate": 3e-3},
        "steps": 6,
    }
    whole = train(make_spec(output_dir=str(tmp_path / "whole"), **options))
    given, merged = (load_file(result.checkpoint / "model.safetensors") for result in (donor, whole))
    assert given.keys() == merged.keys()
    expert = [name for name in given if name.startswith("expert.")]
    moved = {name for name in expert if not torch.equal(given[name], merged[name])}
    norms = {name for name in expert if given[name].ndim == 1}  # and biases
    assert moved == {name for name in expert if name not in norms}
    assert any(name.endswith("conv.weight") and "up_modules" in name for name in moved)
    part = make_spec(output_dir=str(tmp_path / "parts"), **options)
    assert train(part, stop=stop_at(3)).step == 3
    second = train(part, resume=True)
    resumed = load_file(second.checkpoint / "model.safetensors")
    assert all(torch.equal(resumed[name], merged[name]) for name in merged)


def test_adapters_on_a_fresh_expert_are_noted(make_spec: MakeSpec, tmp_path: Path) -> None:
    lora = {"towers": ["expert"], "rank": 2}
    assert "the expert starts from random weights, of which only adapters" in plan(make_spec(lora=lora)).notes[0]
    donor = train(make_spec(output_dir=str(tmp_path / "donor"), steps=1))
    assert not [
        note for note in plan(make_spec(lora=lora, pretrained_expert=str(donor.run))).notes if "adapters" in note
    ]


@pytest.mark.parametrize("quantise", [False, True])
def test_merged_adapters_of_a_u_net_compute_what_the_adapters_computed(
    make_spec: MakeSpec, quantise: bool, tmp_path: Path
) -> None:
    path = train(make_spec(expert="unet-tiny", chunk_size=6, steps=1)).checkpoint
    live, merged = load_policy(path), load_policy(path)
    add_lora(live, LoraSpec(towers=("expert",), rank=3, alpha=5, quantise=quantise))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in live.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=generator)
    before = merged.expert.state_dict()["mid_modules.0.blocks.0.block.0.weight"].clone()
    merged.load_state_dict(plain_state_dict(live))
    assert not torch.equal(before, merged.expert.state_dict()["mid_modules.0.blocks.0.block.0.weight"])
    shapes = ((2, 6, 14), (2, live.backbone.config.text_config.hidden_size), (2, live.spec.state_dim))
    noisy, condition, states = (torch.randn(shape, generator=generator) for shape in shapes)
    times = torch.tensor([3, 80])
    with torch.no_grad():
        said, expected = (policy.eval().expert(noisy, times, condition, states) for policy in (live, merged))
    assert float(said.std()) > 0.01
    rounded = 2e-3 if quantise else 1e-5  # the 4-bit product on a CPU has scales in bfloat16
    torch.testing.assert_close(said, expected, atol=rounded, rtol=1e-4)


def test_another_kind_of_expert_is_named(make_spec: MakeSpec, tmp_path: Path) -> None:
    first = train(make_spec(expert="unet-tiny", steps=1))
    with pytest.raises(CheckpointError, match="expert is"):
        train(make_spec(stage=3, init_from=str(first.run), output_dir=str(tmp_path / "b"), expert="tiny"))


@pytest.mark.parametrize("stage", [2, 3])
def test_the_presets_of_the_other_heads(stage: int) -> None:
    """DiVLA: U-Net over 16 steps, LoRA on both towers. TinyVLA: the same without reasoning."""
    fields = {"stage": stage, "data": [{"path": "d"}], "init_from": "b", "output_dir": "o"}
    for name in ("divla", "tinyvla"):
        assert name in PRESETS
        spec = with_preset({**fields, "preset": name})
        assert spec.lora is not None
        assert (spec.lora.towers, spec.lora.rank, spec.lora.alpha) == (("vision", "llm"), 64, 256)
        assert not spec.freeze_vision
        assert spec.use_reasoning is (name == "divla")
        if stage == 2:
            assert (spec.expert, spec.chunk_size) == ("unet", 16)
            assert spec.fusion is (Fusion.FILM if name == "divla" else Fusion.TINYVLA)
    assert UNetSpec().down_dims == (256, 512, 1024)

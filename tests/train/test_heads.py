"""Runs with the other heads and fusions, from episodes to a checkpoint that acts: DiVLA, TinyVLA, no FiLM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dexvla.errors import CheckpointError, UserError
from dexvla.model import load_policy
from dexvla.model.processing import build_inputs, collate
from dexvla.spec import PRESETS, Fusion, TrainSpec, UNetSpec, with_preset
from dexvla.train.loop import train

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


def test_adapters_on_a_u_net_are_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(UserError, match=r"U-Net expert .* trains in full"):
        train(make_spec(expert="unet-tiny", lora={"towers": ["llm", "expert"]}))


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

"""Checkpoints: what is written comes back, and an expert is taken over."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dexvla.errors import CheckpointError
from dexvla.model import upstream
from dexvla.model.checkpoint import (
    load_policy,
    new_policy,
    read_manifest,
    read_spec,
    save_policy,
)
from dexvla.model.policy import DexVLA
from dexvla.model.pretrained import load_expert_weights
from dexvla.model.processing import collate
from dexvla.model.weights import read_weights, write_weights
from dexvla.spec import Fusion
from tests.support.model_data import EXPERT, make_sample, policy_spec, reseal


def same_weights(one: DexVLA, other: DexVLA) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


# --- round trips --------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_exactly(policy: DexVLA, written: Path) -> None:
    loaded = load_policy(written, verify=True)
    assert same_weights(loaded, policy)
    assert (loaded.spec, loaded.norm_stats) == (policy.spec, policy.norm_stats)
    assert not loaded.training
    assert read_spec(written) == policy.spec
    batch = collate([make_sample(policy, 0, "Stop.", "Wait.")], policy.processor)
    again = collate([make_sample(loaded, 0, "Stop.", "Wait.")], loaded.processor)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    noise, timesteps = torch.randn(1, 6, 10), torch.tensor([40])
    with torch.no_grad():
        before = policy.losses(batch, noise=noise, timesteps=timesteps)
        after = loaded.losses(batch, noise=noise, timesteps=timesteps)
    assert torch.equal(before.noise_pred, after.noise_pred)
    assert torch.equal(before.loss, after.loss)


def test_weights_lie_in_memory_as_torchs_own_do(tmp_path: Path) -> None:
    """In a file they begin anywhere, and the product of one row depends on it in its last bits on many processors."""
    made = torch.Generator().manual_seed(0)
    tensors = {f"{number:02}": torch.randn(33 + 2 * number, 65, generator=made) for number in range(20)}
    write_weights(tensors, tmp_path)
    read = read_weights(tmp_path)
    row = torch.randn(1, 65, generator=made)
    for name, tensor in tensors.items():
        assert read[name].data_ptr() % 64 == 0
        assert torch.equal(row @ read[name].T, row @ tensor.T)


def test_a_loaded_policy_trains(written: Path) -> None:
    loaded = load_policy(written).train()
    optimizer = torch.optim.AdamW(loaded.parameters(), lr=1e-3)
    batch = collate([make_sample(loaded, 0, "Stop.", "Wait.")], loaded.processor)
    loaded(batch).loss.backward()
    before = loaded.expert.final_layer.linear.weight.clone()
    optimizer.step()
    assert not torch.equal(loaded.expert.final_layer.linear.weight, before)
    assert loaded.backbone.lm_head.weight is loaded.backbone.model.language_model.embed_tokens.weight


def test_the_manifest_keeps_lineage_and_checksums(written: Path) -> None:
    manifest = read_manifest(written)
    assert (manifest["step"], manifest["data"]) == (12, ["episodes"])
    assert set(manifest["files"]) == {path.name for path in written.iterdir()} - {"manifest.json"}
    assert {"model.safetensors", "config.json", "norm_stats.json", "tokenizer.json"} <= set(manifest["files"])


def test_other_weights_can_be_written_in_place_of_its_own(policy: DexVLA, tmp_path: Path) -> None:
    """A moving average, for example."""
    averaged = {name: tensor * 0.5 for name, tensor in policy.state_dict().items()}
    save_policy(policy, tmp_path / "ema", manifest={}, state_dict=averaged)
    loaded = load_policy(tmp_path / "ema")
    assert torch.equal(loaded.expert.pos_embed, averaged["expert.pos_embed"])
    assert torch.equal(loaded.expert.x_embedder.weight, policy.expert.x_embedder.weight * 0.5)


def test_bfloat16(written: Path, tmp_path: Path) -> None:
    loaded = load_policy(written, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.backbone.model.language_model.rotary_emb.inv_freq.dtype == torch.float32
    save_policy(loaded, tmp_path / "half", manifest={})
    assert same_weights(load_policy(tmp_path / "half", dtype=torch.bfloat16), loaded)


def test_shards(policy: DexVLA, written: Path, tmp_path: Path) -> None:
    tensors = read_weights(written)
    write_weights(tensors, tmp_path, shard_bytes=1_000_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    again = read_weights(tmp_path)
    assert set(again) == set(tensors)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    next(tmp_path.glob("model-00002*")).unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-.*missing"):
        read_weights(tmp_path)


def test_a_tied_output_projection_may_be_stored(policy: DexVLA, checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    assert "backbone.lm_head.weight" not in tensors
    embedding = tensors["backbone.model.language_model.embed_tokens.weight"]
    save_file({**tensors, "backbone.lm_head.weight": embedding.clone()}, checkpoint / "model.safetensors")
    reseal(checkpoint)
    assert same_weights(load_policy(checkpoint), policy)
    save_file({**tensors, "backbone.lm_head.weight": embedding + 1}, checkpoint / "model.safetensors")
    reseal(checkpoint)
    with pytest.raises(CheckpointError, match=r"lm_head.weight differs from the embedding.*tie_word_embeddings"):
        load_policy(checkpoint)


def test_no_pickle_and_nothing_left_behind(written: Path) -> None:
    assert {path.suffix for path in written.iterdir()} <= {".json", ".safetensors", ".jinja", ".txt"}
    assert [path.name for path in written.parent.iterdir()] == ["step-12"]


def test_a_checkpoint_is_never_overwritten(policy: DexVLA, written: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        save_policy(policy, written, manifest={})


def test_a_tinyvla_policy_comes_back(tinyvla: DexVLA, tmp_path: Path) -> None:
    save_policy(tinyvla, tmp_path / "tinyvla", manifest={})
    loaded = load_policy(tmp_path / "tinyvla")
    assert loaded.spec.fusion is Fusion.TINYVLA
    assert loaded.norm_stats is None
    assert same_weights(loaded, tinyvla)


# --- base models --------------------------------------------------------------------------------------------


def test_a_base_model_in_the_spelling_of_transformers_5(base: Path, tmp_path: Path) -> None:
    from transformers import Qwen2VLForConditionalGeneration

    Qwen2VLForConditionalGeneration.from_pretrained(base).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "chat_template.jinja"):
        shutil.copy(base / name, tmp_path / name)
    ours, theirs = new_policy(base, policy_spec()), new_policy(tmp_path, policy_spec())
    assert same_weights(ours, theirs)
    assert ours.backbone.config.text_config.rope_parameters == theirs.backbone.config.text_config.rope_parameters


def test_base_names_in_the_spelling_of_transformers_5() -> None:
    for old, new in (
        ("visual.blocks.0.attn.qkv.weight", "model.visual.blocks.0.attn.qkv.weight"),
        ("model.layers.0.mlp.up_proj.weight", "model.language_model.layers.0.mlp.up_proj.weight"),
        ("lm_head.weight", "lm_head.weight"),
    ):
        assert upstream.from_base_name(old) == upstream.from_base_name(new) is not None


def test_a_checkpoint_is_no_base_model(written: Path, base: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a checkpoint .*'dexvla'.* where a base model is expected"):
        new_policy(written, policy_spec())
    with pytest.raises(CheckpointError, match=r"a base model .*'qwen2_vl'.* where a checkpoint is expected"):
        load_policy(base)


# --- taking over an expert ----------------------------------------------------------------------------------


def test_expert_weights_are_taken_over(policy: DexVLA, base: Path, written: Path) -> None:
    fresh = new_policy(base, policy_spec(), seed=8)
    film = fresh.fusion.film_scale.weight.clone()
    report = load_expert_weights(fresh, written)
    assert report.parameters == sum(parameter.numel() for parameter in fresh.expert.parameters())
    for name, tensor in fresh.expert.state_dict().items():
        assert torch.equal(tensor, policy.expert.state_dict()[name])
    assert torch.equal(fresh.fusion.film_scale.weight, film)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"chunk_size": 8}, r"expert.pos_embed has shape \[1, 6, 32\], expected \[1, 8, 32\]: the chunk sizes"),
        ({"action_dim": 14}, r"x_embedder.weight has shape \[32, 10\], expected \[32, 14\]: the action dimensions"),
        ({"state_dim": 8}, r"combine.0.weight has shape \[32, 135\], expected \[32, 136\]: the state dimensions"),
        ({"expert": EXPERT.model_copy(update={"depth": 3})}, r"lacks tensor expert.blocks.2.*different sizes"),
        (
            {"expert": EXPERT.model_copy(update={"depth": 1})},
            r"has the unknown tensor expert.blocks.1.*different sizes",
        ),
    ],
)
def test_an_expert_of_another_size_is_refused(base: Path, written: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        load_expert_weights(new_policy(base, policy_spec(**changes)), written)


def test_a_base_model_has_no_expert(base: Path, policy: DexVLA) -> None:
    with pytest.raises(CheckpointError, match="a base model has no expert"):
        load_expert_weights(policy, base)


# --- the reference's configuration --------------------------------------------------------------------------

REFERENCE = {
    "model_type": "qwen2_vla",
    "using_film": True,
    "llm_loss_weight": 0.5,
    "policy_head_type": "scale_dp_policy",
    "policy_head_size": "ScaleDP_H",
    "policy_head_config": {
        "depth": 1,
        "n_emb": 48,
        "num_heads": 4,
        "input_dim": 10,
        "state_dim": 7,
        "prediction_horizon": 16,
        "num_train_timesteps": 100,
        "num_inference_timesteps": 10,
        "is_tinyvla": False,
    },
    "vision_config": {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2},
}


def test_the_references_settings() -> None:
    spec, _ = upstream.read_config(REFERENCE, "config.json")
    assert (spec.expert.depth, spec.expert.width) == (32, 1280), "a known size name wins over the numbers"
    assert (spec.action_dim, spec.state_dim, spec.chunk_size, spec.llm_loss_weight) == (10, 7, 16, 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy_head_config": None}, "policy_head_config is None"),
        ({"policy_head_type": "gaussian"}, "policy_head_type is 'gaussian', expected 'scale_dp_policy' or 'unet_"),
        ({"policy_head_type": "unet_diffusion_policy"}, "has no 'down_dims'"),
        ({"policy_head_config": {"model_type": "scale_dp_policy"}, "policy_head_size": ""}, "has no 'depth'"),
        ({"policy_head_config": {**REFERENCE["policy_head_config"], "state_dim": 0}}, "state_dim"),
        ({"vision_config": None}, "vision_config is None"),
    ],
)
def test_the_references_settings_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        upstream.read_config({**REFERENCE, **change}, "config.json")
    assert "\n" not in str(error.value)

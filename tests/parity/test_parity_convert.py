"""Conversions: exact round trips, full sizes without memory, released ScaleDP files, and what the reports say."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dexvla.errors import CheckpointError
from dexvla.model.checkpoint import build_policy, load_policy, new_policy, read_manifest, save_policy
from dexvla.model.convert import convert
from dexvla.model.init_model import init_model
from dexvla.model.policy import DexVLA
from dexvla.model.pretrained import load_expert_weights
from dexvla.model.upstream import backbone_config, from_upstream_name, read_config
from dexvla.model.upstream_export import upstream_config, upstream_tensors
from dexvla.spec import (
    EXPERT_SIZES,
    SCALEDP_SIZES,
    CameraSpec,
    ConvertSpec,
    Fusion,
    Initialisation,
    NormStats,
    PolicySpec,
    ScaleDPSpec,
)
from tests.support.parity_data import QWEN2_VL_2B

CAMERAS = (CameraSpec(name="cam_high", height=56, width=84),)
SMALL = ScaleDPSpec(depth=2, width=48, heads=4, combine_width=64)


def run(source: Path, target: Path, **options: Any) -> Any:
    return convert(ConvertSpec(source=str(source), target=str(target), **options))


def same_files(one: Path, other: Path) -> None:
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base") / "tiny"
    init_model(directory, seed=3)
    return directory


@pytest.fixture
def reference(parity: Path, tmp_path: Path) -> Path:
    """The tiny model with statistics above it."""
    directory = tmp_path / "run" / "checkpoint-9"
    directory.mkdir(parents=True)
    for file in ("model.safetensors", "config.json"):
        shutil.copy(parity / "tiny" / file, directory)
    for file in (parity / "tiny" / "processor").iterdir():
        shutil.copy(file, directory)
    expected = np.load(parity / "episode" / "dataset_expected.npz")
    stats = {name.removeprefix("sim.stats."): expected[name] for name in expected if name.startswith("sim.stats.")}
    (directory.parent / "dataset_stats.pkl").write_bytes(pickle.dumps(stats))
    return directory


def stats(action_dim: int = 14, state_dim: int = 14) -> NormStats:
    ones, states = (1.5,) * action_dim, (0.1,) * state_dim
    return NormStats(
        action_mean=ones, action_std=ones, action_min=(-1.0,) * action_dim, action_max=ones,
        qpos_mean=states, qpos_std=states, steps=3,
    )  # fmt: skip


# --- round trips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_upstream_and_back_is_exact(reference: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """Names, values, number format, configuration word by word, statistics."""
    weights = {name: tensor.to(dtype) for name, tensor in load_file(reference / "model.safetensors").items()}
    save_file(weights, reference / "model.safetensors")
    report = run(reference, tmp_path / "ours", from_layout="upstream")
    assert (report.tensors, report.parameters) == (len(weights), sum(tensor.numel() for tensor in weights.values()))
    assert report.loaded == {"vision tower": 31, "language model": 26, "fusion": 12, "action expert": 39}
    assert not report.fresh
    assert not report.left_out
    assert read_manifest(tmp_path / "ours")["converted"]["source"] == str(reference)
    run(tmp_path / "ours", tmp_path / "back", to_layout="upstream")
    same_files(reference, tmp_path / "back")
    assert json.loads((reference / "config.json").read_text()) == json.loads(
        (tmp_path / "back/config.json").read_text()
    )
    original = pickle.loads((reference.parent / "dataset_stats.pkl").read_bytes())
    with np.load(tmp_path / "back" / "dataset_stats.npz", allow_pickle=False) as exported:
        assert set(exported) == set(original)
        for name in original:
            assert np.array_equal(exported[name], original[name]), name
            assert exported[name].dtype == original[name].dtype, name
    assert not [file for file in (tmp_path / "back").iterdir() if file.suffix in (".pkl", ".bin", ".pt", ".pth")]
    again = load_policy(tmp_path / "back")
    assert again.norm_stats == load_policy(reference).norm_stats
    assert again.processor is not None


def test_ours_and_back_is_exact(base: Path, tmp_path: Path) -> None:
    """Also what the reference's fields cannot say: cameras, sizes of its constants."""
    spec = PolicySpec(expert=SMALL, action_dim=10, state_dim=7, chunk_size=6, cameras=CAMERAS, fps=50.0, robot="arm")
    policy = new_policy(base, spec, initialisation=Initialisation.UPSTREAM, norm_stats=stats(10, 7))
    save_policy(policy, tmp_path / "one", manifest={})
    report = run(tmp_path / "one", tmp_path / "upstream", to_layout="upstream")
    assert any("combine layer is 1024 wide, this one 64" in note for note in report.notes)
    loaded = load_policy(tmp_path / "upstream")
    assert loaded.spec == spec
    run(tmp_path / "upstream", tmp_path / "two", from_layout="upstream")
    same_files(tmp_path / "one", tmp_path / "two")
    one, two = load_policy(tmp_path / "one"), load_policy(tmp_path / "two", verify=True)
    assert (one.spec, one.norm_stats) == (two.spec, two.norm_stats)
    assert one.backbone.config.to_dict() == two.backbone.config.to_dict()
    assert one.processor is not None
    assert two.processor is not None
    text = "<|im_start|>user\nFold the shirt.<|vision_start|><|image_pad|>"
    assert one.processor.tokenizer(text)["input_ids"] == two.processor.tokenizer(text)["input_ids"]
    assert one.processor.prompt_ids([4], "Fold.") == two.processor.prompt_ids([4], "Fold.")


@pytest.mark.parametrize("part", [0.95, 1.0, 0.8])
def test_the_centre_crop_survives_and_is_the_references_by_default(
    reference: Path, tmp_path: Path, part: float
) -> None:
    run(reference, tmp_path / "ours", from_layout="upstream")
    policy = load_policy(tmp_path / "ours")
    assert policy.spec.centre_crop == 0.95
    policy.spec = policy.spec.model_copy(update={"centre_crop": part})
    save_policy(policy, tmp_path / "one", manifest={})
    notes = run(tmp_path / "one", tmp_path / "upstream", to_layout="upstream").notes
    assert any("shows the middle 95%" in note for note in notes) is (part != 0.95)
    assert ("dexvla_policy" in json.loads((tmp_path / "upstream" / "config.json").read_text())) is (part != 0.95)
    assert load_policy(tmp_path / "upstream").spec == policy.spec


def test_a_generated_configuration_says_what_the_references_own_says(parity: Path, tiny: DexVLA) -> None:
    """Every field that describes the model, from the weights' own settings alone."""
    theirs = json.loads((parity / "tiny" / "config.json").read_text())
    ours = upstream_config(tiny)
    told = {"transformers_version", "sliding_window", "policy_head_size", "policy_head_config", "vision_config"}
    assert {key: ours.get(key) for key in theirs if key not in told} == {
        k: v for k, v in theirs.items() if k not in told
    }
    head = theirs["policy_head_config"]
    assert {key: head[key] for key in ours["policy_head_config"]} == ours["policy_head_config"]
    needed = {"cond_dim", "depth", "n_emb", "num_heads", "mlp_ratio", "input_dim", "output_dim", "state_dim",
              "prediction_horizon", "num_queries", "is_tinyvla", "num_train_timesteps", "model_type"}  # fmt: skip
    assert needed <= set(ours["policy_head_config"])
    vision = theirs["vision_config"]
    assert {key: ours["vision_config"][key] for key in vision} == vision


def test_fields_that_nothing_reads_are_named(reference: Path, tmp_path: Path) -> None:
    """A setting that we do not know may change what the model computes; it is not left out in silence."""
    assert not any(
        "nothing here reads" in note for note in run(reference, tmp_path / "a", from_layout="upstream").notes
    )
    file = reference / "config.json"
    config = json.loads(file.read_text())
    config["vision_config"]["dept"] = 3
    file.write_text(json.dumps(config | {"colour": 3}))
    notes = run(reference, tmp_path / "b", from_layout="upstream").notes
    assert "config.json has fields that nothing here reads: colour, vision_config.dept" in notes


def test_cameras_can_be_named_on_the_way(reference: Path, tmp_path: Path) -> None:
    report = run(reference, tmp_path / "ours", from_layout="upstream", cameras=CAMERAS)
    assert load_policy(tmp_path / "ours").spec.cameras == CAMERAS
    assert not any("--cameras" in note for note in report.notes)
    assert any("--cameras" in note for note in run(reference, tmp_path / "b", from_layout="upstream").notes)


def test_settings_that_contradict_each_other_are_refused(base: Path, tmp_path: Path) -> None:
    spec = PolicySpec(expert=SMALL, action_dim=10, state_dim=7, chunk_size=6)
    save_policy(new_policy(base, spec), tmp_path / "one", manifest={})
    run(tmp_path / "one", tmp_path / "upstream", to_layout="upstream")
    file = tmp_path / "upstream" / "config.json"
    config = json.loads(file.read_text())
    config["policy_head_config"]["prediction_horizon"] = 50
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config.json: dexvla_policy has chunk_size 6, policy_head_config 50"):
        load_policy(tmp_path / "upstream")


def test_the_tinyvla_head(parity: Path, tmp_path: Path) -> None:
    """Its unused projections are left out, and the report says so."""
    directory = tmp_path / "tinyvla"
    directory.mkdir()
    shutil.copy(parity / "tiny_tinyvla" / "config.json", directory)
    weights = load_file(parity / "tiny" / "model.safetensors")
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith("reasoning_")}
    weights |= load_file(parity / "tiny_tinyvla" / "model.safetensors")
    save_file(weights, directory / "model.safetensors")
    report = run(directory, tmp_path / "ours", from_layout="upstream")
    assert set(report.left_out) == {f"input_action_proj.mlps.{n}.{kind}" for n in (0, 2) for kind in ("weight", "bias")}
    run(tmp_path / "ours", tmp_path / "back", to_layout="upstream")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(weights) - set(back) == set(report.left_out)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in back.items())


@pytest.mark.parametrize("expert", ["unet", "scaledp"])
@pytest.mark.parametrize("fusion", list(Fusion))
def test_every_head_and_fusion(parity: Path, tmp_path: Path, base: Path, expert: str, fusion: Fusion) -> None:
    size = EXPERT_SIZES["unet-tiny"] if expert == "unet" else SMALL
    spec = PolicySpec(expert=size, action_dim=10, state_dim=7, chunk_size=6, fusion=fusion)
    policy = new_policy(base, spec, initialisation=Initialisation.UPSTREAM)
    save_policy(policy, tmp_path / "one", manifest={})
    run(tmp_path / "one", tmp_path / "upstream", to_layout="upstream")
    run(tmp_path / "upstream", tmp_path / "two", from_layout="upstream")
    same_files(tmp_path / "one", tmp_path / "two")
    assert load_policy(tmp_path / "two").spec == spec


# --- full size, without memory ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["scaledp-h", "scaledp-l", "unet"])
@pytest.mark.parametrize("stored_lm_head", [True, False])
def test_full_size_there_and_back(parity: Path, size: str, stored_lm_head: bool) -> None:
    """Every name and shape of the real model goes into a policy and comes out again; the tied lm_head may be there."""
    file = "keys_unet.json" if size == "unet" else f"keys_2b_{size.replace('-', '_')}.json"
    keys = json.loads((parity / file).read_text())
    head = keys["policy_head_config"]
    config = {
        **QWEN2_VL_2B,
        "model_type": "qwen2_vla",
        "using_film": True,
        "policy_head_type": keys["config"]["policy_head_type"],
        "policy_head_size": keys["config"]["policy_head_size"],
        "policy_head_config": head,
    }
    spec, backbone = read_config(config, "config.json")
    tensors: dict[str, Tensor] = {}
    for name, shape in keys["parameters"].items():
        ours = from_upstream_name(name)
        assert ours is not None, name
        if stored_lm_head or name != "lm_head.weight":
            tensors[ours] = torch.empty(shape, device="meta", dtype=torch.bfloat16)
    policy = build_policy(spec, backbone, tensors, device="meta")
    written = {name: list(tensor.shape) for name, tensor in upstream_tensors(policy).items()}
    assert written == {name: shape for name, shape in keys["parameters"].items() if name != "lm_head.weight"}
    unique = sum(parameter.numel() for parameter in policy.parameters())
    assert unique == keys["counts"]["total_unique"]
    again = upstream_config(policy)
    assert again.get("policy_head_size") == keys["config"]["policy_head_size"]
    assert {key: again["policy_head_config"][key] for key in head} == head
    assert read_config(again, "config.json")[0] == spec
    assert spec.expert == EXPERT_SIZES[size]
    assert (spec.action_dim, spec.state_dim, spec.chunk_size) == (14, 14, 16 if size == "unet" else 50)
    assert read_config(again, "config.json")[1].to_dict() == backbone_config(QWEN2_VL_2B, "base").to_dict()


# --- ScaleDP ------------------------------------------------------------------------------------------------


@pytest.fixture
def scaledp(tmp_path: Path) -> Callable[..., Path]:
    """A released file: nested, with stage 1's own encoders, policy. prefixes, optimiser and a moving average."""

    def make(spec: PolicySpec, **changes: Tensor | None) -> Path:
        from dexvla.model.scaledp import ScaleDP

        torch.manual_seed(4)
        expert = ScaleDP(spec, 40)
        nets = {
            f"policy.noise_pred_net.{name}": torch.randn_like(tensor)
            for name, tensor in expert.state_dict().items()
            if not name.startswith("combine.")
        }
        nets["policy.backbones.0.nets.0.weight"] = torch.ones(3)
        for name, tensor in changes.items():
            if tensor is None:
                del nets[name]
            else:
                nets[name] = tensor
        average = {name: torch.zeros_like(tensor) for name, tensor in nets.items()}
        file = tmp_path / "scaledp.ckpt"
        torch.save({"nets": {"nets": nets, "ema": average}, "optimizer": {"state": {}, "lr": 1e-4}, "step": 7}, file)
        return file

    return make


def policy_of(base: Path, **changes: Any) -> DexVLA:
    fields = {"expert": SMALL, "action_dim": 10, "state_dim": 7, "chunk_size": 6} | changes
    return new_policy(base, PolicySpec(**fields), seed=1)


@pytest.mark.parametrize("converted", [False, True])
def test_a_released_expert_is_taken_over(
    base: Path, tmp_path: Path, scaledp: Callable[..., Path], converted: bool
) -> None:
    policy = policy_of(base)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    file = scaledp(policy.spec)
    nets = torch.load(file)["nets"]["nets"]
    source = file
    if converted:
        source = tmp_path / "converted"
        report = run(file, source, from_layout="scaledp")
        assert set(report.left_out) == {name for name in nets if "noise_pred" not in name or "cond_obs" in name}
        assert {path.name for path in source.iterdir()} == {"config.json", "manifest.json", "model.safetensors"}
    report = load_expert_weights(policy, source)
    for name, tensor in policy.state_dict().items():
        theirs = nets.get(f"policy.noise_pred_net.{name.removeprefix('expert.')}")
        if name in report.fresh or theirs is None:
            assert torch.equal(tensor, before[name]), name
        else:
            assert torch.equal(tensor, theirs), name
    assert {name.split(".")[1] for name in report.fresh} == {"cond_obs_emb", "combine"}
    assert report.tensors == len([name for name in before if name.startswith("expert.")]) - len(report.fresh) > 30
    assert all("encoder" in reason for reason in report.fresh.values())
    assert json.loads(json.dumps(report.to_json())) == report.to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"expert": SMALL.model_copy(update={"width": 64})},
            r"expert.pos_embed has shape \[1, 6, 64\], expected \[1, 6, 48\]: width 64 in the file, 48 in the policy",
        ),
        ({"chunk_size": 16}, r"expert.pos_embed has shape \[1, 16, 48\].*: chunk 16 in the file, 6 in the policy"),
        (
            {"action_dim": 14},
            r"expert.x_embedder.weight has shape \[48, 14\], expected \[48, 10\]: action dimension 14 in the file, 10",
        ),
        (
            {"expert": SMALL.model_copy(update={"depth": 1})},
            r"lacks tensor expert.blocks.1.*: blocks 1 in the file, 2 in the policy",
        ),
        (
            {"expert": SMALL.model_copy(update={"depth": 3})},
            r"has the unknown tensor expert.blocks.2.*: blocks 3 in the file, 2 in the policy",
        ),
    ],
)
def test_a_released_expert_of_another_size(
    base: Path, scaledp: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    policy = policy_of(base)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as error:
        load_expert_weights(policy, scaledp(policy.spec.model_copy(update=changes)))
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.state_dict().items()), "nothing half taken"


def test_scaledp_l_into_h_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full size, on the meta device."""
    from accelerate import init_empty_weights

    from dexvla.model import pretrained

    def make(size: str) -> DexVLA:
        spec = PolicySpec(expert=SCALEDP_SIZES[f"scaledp-{size}"], action_dim=14, state_dim=14)
        with init_empty_weights(include_buffers=False):
            return DexVLA(spec, backbone_config(QWEN2_VL_2B, "base"))

    small = {name: tensor for name, tensor in make("l").state_dict().items() if name.startswith("expert.")}
    with pytest.raises(CheckpointError, match=r"the file is ScaleDP-L, the policy ScaleDP-H"):
        pretrained._take(make("h"), small, "scaledp_l.ckpt", "scaledp", {})


def test_files_that_are_no_released_expert(base: Path, tmp_path: Path, scaledp: Callable[..., Path]) -> None:
    policy = policy_of(base)
    file = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"w": torch.ones(1)}, "epoch": 3}, file)
    with pytest.raises(CheckpointError, match=r"no \['nets'\]\['nets'\], .*its entries: state_dict, epoch"):
        load_expert_weights(policy, file)
    torch.save({"nets": {"nets": {"policy.net.w": torch.ones(1)}}}, file)
    with pytest.raises(CheckpointError, match="no name contains noise_pred"):
        load_expert_weights(policy, file)
    file = scaledp(policy.spec, **{"policy.noise_pred_net.t_embedder.mlp.0.bias": None})
    with pytest.raises(CheckpointError, match=r"lacks tensor expert.t_embedder.mlp.0.bias"):
        load_expert_weights(policy, file)
    file = scaledp(policy.spec, **{"policy.noise_pred_net.extra": torch.ones(1)})
    assert load_expert_weights(policy, file).left_out["expert.extra"] == "the expert has no such tensor"


# --- Qwen2-VL -----------------------------------------------------------------------------------------------


def test_a_base_model_becomes_a_checked_base_model(base: Path, tmp_path: Path) -> None:
    """From torch's files with the output projection stored, into safetensors."""
    source = Path(shutil.copytree(base, tmp_path / "source"))
    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    torch.save(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}, source / "pytorch_model.bin")
    report = run(source, tmp_path / "base", from_layout="qwen2-vl")
    assert set(report.loaded) == {"vision tower", "language model"}
    assert set(report.fresh) == {"fusion", "action expert"}
    same_files(base, tmp_path / "base")
    spec = PolicySpec(expert=SMALL, action_dim=10, state_dim=7, chunk_size=6)
    one, two = new_policy(base, spec).state_dict(), new_policy(tmp_path / "base", spec).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    del weights["model.norm.weight"]
    torch.save(weights, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"lacks tensor backbone.model.language_model.norm.weight"):
        run(source, tmp_path / "other", from_layout="qwen2-vl")
    assert not (tmp_path / "other").exists()


def test_a_base_model_with_an_expert(base: Path, tmp_path: Path, scaledp: Callable[..., Path]) -> None:
    size = PolicySpec(expert=SCALEDP_SIZES["tiny"], action_dim=10, state_dim=7, chunk_size=6)
    options: dict[str, Any] = {"from_layout": "qwen2-vl", "expert": "tiny", "action_dim": 10, "state_dim": 7}
    report = run(base, tmp_path / "fresh", chunk_size=6, **options)
    assert set(report.fresh) == {"fusion", "action expert"}
    policy = load_policy(tmp_path / "fresh")
    assert policy.spec == size
    assert not policy.expert.final_layer.linear.weight.any(), "adaLN-Zero"
    report = run(base, tmp_path / "taken", chunk_size=6, pretrained_expert=str(scaledp(size)), **options)
    assert report.loaded["action expert"] > 30
    assert {name.split(".")[1] for name in report.fresh if "." in name} == {"cond_obs_emb", "combine"}
    assert load_policy(tmp_path / "taken").expert.final_layer.linear.weight.any()


# --- mistakes -----------------------------------------------------------------------------------------------


def test_wrong_sources(reference: Path, base: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    for source, options, message in (
        (reference, {"to_layout": "upstream"}, r"model_type is 'qwen2_vla', expected 'dexvla'"),
        (reference, {"from_layout": "qwen2-vl"}, r"model_type is 'qwen2_vla', expected 'qwen2_vl'"),
        (base, {"from_layout": "upstream"}, r"model_type is 'qwen2_vl', expected 'qwen2_vla'"),
        (base, {"from_layout": "scaledp"}, r"no such file; expected a released ScaleDP file"),
        (tmp_path / "gone", {"from_layout": "upstream"}, r"gone: no such directory"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run(source, target, **options)
        assert not target.exists()
    target.mkdir()
    with pytest.raises(CheckpointError, match="exists already"):
        run(reference, target, from_layout="upstream")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either --from"),
        ({"from_layout": "upstream", "to_layout": "upstream"}, "either --from"),
        ({"from_layout": "scaledp", "base": "x"}, "go with --from upstream"),
        ({"from_layout": "upstream", "expert": "tiny"}, "goes with --from qwen2-vl"),
        ({"from_layout": "qwen2-vl", "expert": "tiny"}, "needs --action-dim"),
        ({"from_layout": "qwen2-vl", "expert": "giant"}, "unknown expert size 'giant'; known"),
        ({"from_layout": "qwen2-vl", "action_dim": 3}, "go with --expert"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvertSpec(source="a", target="b", **options)

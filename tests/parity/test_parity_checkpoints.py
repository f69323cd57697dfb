"""Directories as the reference leaves them: plain, LoRA over a base model, moving average, statistics one folder up."""

import json
import math
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

from dexvla.errors import CheckpointError, UserError
from dexvla.model.checkpoint import load_policy, read_spec
from dexvla.model.policy import DexVLA
from dexvla.model.processing import Processor, build_inputs, collate
from dexvla.model.upstream import from_upstream_name
from tests.support.parity_data import assert_close

RANK, ALPHA = 4, 8
Make = Callable[..., Path]


@pytest.fixture
def plain(parity: Path, tmp_path: Path) -> Path:
    """A training output directory: configuration and statistics there, weights and tokenizer in checkpoint-30."""
    output = tmp_path / "my run"
    directory = output / "checkpoint-30"
    directory.mkdir(parents=True)
    shutil.copy(parity / "tiny" / "model.safetensors", directory)
    shutil.copy(parity / "tiny" / "config.json", directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copy(parity / "tiny" / "processor" / name, directory)
    expected = np.load(parity / "episode" / "dataset_expected.npz")
    stats = {name.removeprefix("all.stats."): expected[name] for name in expected if name.startswith("all.stats.")}
    (output / "dataset_stats.pkl").write_bytes(pickle.dumps(stats))
    return directory


@pytest.fixture
def adapters(parity: Path) -> dict[str, Tensor]:
    """Random adapters of every layer that the reference adapts."""
    layout = json.loads((parity / "tiny" / "lora_layout.json").read_text())
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(shape, generator=generator) * 0.05
        for name, shape in layout["adapter_model.safetensors"].items()
    }


@pytest.fixture
def lora(parity: Path, tmp_path: Path, adapters: dict[str, Tensor]) -> Path:
    """A LoRA checkpoint in the reference's layout, whose base is the tiny model with another expert."""
    layout = json.loads((parity / "tiny" / "lora_layout.json").read_text())
    weights = load_file(parity / "tiny" / "model.safetensors")
    base = tmp_path / "base"
    base.mkdir()
    shutil.copy(parity / "tiny" / "config.json", base)
    other = {name: tensor * 2 if "policy_head" in name else tensor for name, tensor in weights.items()}
    save_file(other, base / "model.safetensors")
    directory = tmp_path / "anything" / "at all"
    directory.mkdir(parents=True)
    shutil.copy(parity / "tiny" / "config.json", directory)
    save_file(adapters, directory / "adapter_model.safetensors")
    settings = {**layout["adapter_config.json"], "base_model_name_or_path": str(base)}
    (directory / "adapter_config.json").write_text(json.dumps(settings))
    trained = {}
    for name, shape in layout["non_lora_trainables.bin"].items():
        tensor = weights[name.removeprefix("base_model.model.").replace(".base_layer.", ".")]
        assert list(tensor.shape) == shape
        trained[name] = tensor.clone()
    torch.save(trained, directory / "non_lora_trainables.bin")
    return directory


def same(policy: DexVLA, weights: dict[str, Tensor]) -> None:
    ours = policy.state_dict()
    for name, tensor in weights.items():
        assert torch.equal(ours[str(from_upstream_name(name))], tensor), name


# --- plain --------------------------------------------------------------------------------------------------


def test_a_plain_checkpoint_with_what_lies_around_it(
    parity: Path, plain: Path, inputs: dict[str, Tensor], outputs: dict[str, Tensor]
) -> None:
    policy = load_policy(f"{plain}/")
    same(policy, load_file(plain / "model.safetensors"))
    assert policy.norm_stats is not None
    expected = np.load(parity / "episode" / "dataset_expected.npz")
    for name in ("action_min", "action_max", "qpos_mean", "qpos_std", "action_mean", "action_std", "example_qpos"):
        assert np.array_equal(np.float32(getattr(policy.norm_stats, name)), expected[f"all.stats.{name}"]), name
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "states")
    prompt = {name: inputs[f"infer.{name}"] for name in names}
    result = policy.predict(prompt, noise=inputs["infer.noise"], max_new_tokens=8)
    assert_close("actions", result.actions, outputs["infer.actions"])


def test_the_processor_without_its_hand_copied_files_is_the_same(parity: Path, plain: Path, tiny: DexVLA) -> None:
    assert not (plain / "preprocessor_config.json").exists()
    assert not (plain / "chat_template.json").exists()
    policy = load_policy(plain)
    assert policy.processor is not None
    assert tiny.processor is not None
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    one, other = (
        build_inputs(p.processor, images=[image], image_sizes=[(56, 84)], instruction="Fold it.", answer="Fold.")
        for p in (policy, tiny)
    )
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_only_what_needs_a_missing_file_raises(plain: Path, inputs: dict[str, Tensor]) -> None:
    for file in (*plain.glob("*token*"), *plain.glob("vocab*"), *plain.glob("merges*")):
        file.unlink()
    (plain.parent / "dataset_stats.pkl").unlink()
    policy = load_policy(plain)
    assert policy.processor is None
    assert policy.norm_stats is None
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "states")
    result = policy.predict({name: inputs[f"infer.{name}"] for name in names}, max_new_tokens=2, eos_token_id=560)
    assert result.reasoning_text is None
    with pytest.raises(UserError, match=r"no tokenizer.*copy"):
        build_inputs(policy.processor, images=[], image_sizes=[], instruction="Go.")
    with pytest.raises(UserError, match=r"no tokenizer.*copy"):
        collate([], policy.processor)


def test_the_configuration_may_lie_one_folder_up(plain: Path) -> None:
    (plain / "config.json").rename(plain.parent / "config.json")
    assert load_policy(plain).spec == read_spec(plain)
    with pytest.raises(CheckpointError, match=r"none of model.safetensors.*in its folder checkpoint-30, name that"):
        load_policy(plain.parent)


@pytest.mark.parametrize("shards", [1, 2])
def test_weights_that_were_consolidated_with_torch(plain: Path, shards: int) -> None:
    weights = load_file(plain / "model.safetensors")
    (plain / "model.safetensors").unlink()
    if shards == 1:
        torch.save(weights, plain / "pytorch_model.bin")
    else:
        names = list(weights)
        parts = {"pytorch_model-1.bin": names[:50], "pytorch_model-2.bin": names[50:]}
        for file, part in parts.items():
            torch.save({name: weights[name] for name in part}, plain / file)
        index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
        (plain / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    same(load_policy(plain), weights)


def test_a_tied_output_projection_alone_is_the_embedding(plain: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    renamed = {name.replace("model.embed_tokens", "lm_head"): tensor for name, tensor in weights.items()}
    save_file(renamed, plain / "model.safetensors")
    same(load_policy(plain), weights)


def test_the_moving_average_on_request(plain: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    average = {name: tensor * 0.5 for name, tensor in weights.items()}
    with pytest.raises(CheckpointError, match=r"ema_weights.pth: missing"):
        load_policy(plain, ema=True)
    torch.save(average | {"lm_head.weight": average["model.embed_tokens.weight"]}, plain / "ema_weights.pth")
    same(load_policy(plain, ema=True), average)
    same(load_policy(plain), weights)


# --- LoRA ---------------------------------------------------------------------------------------------------


def by_hand(parity: Path, adapters: dict[str, Tensor], scale: float = ALPHA / RANK) -> dict[str, Tensor]:
    """W + scale B A in double precision."""
    weights = load_file(parity / "tiny" / "model.safetensors")
    for name, down in adapters.items():
        if ".lora_A." in name:
            layer = name.removeprefix("base_model.model.").replace(".lora_A.", ".")
            up = adapters[name.replace(".lora_A.", ".lora_B.")]
            weights[layer] = (weights[layer].double() + scale * (up.double() @ down.double())).float()
    return weights


def test_lora_is_merged_as_by_hand(parity: Path, lora: Path, adapters: dict[str, Tensor]) -> None:
    expected = by_hand(parity, adapters)
    ours = load_policy(lora).state_dict()
    moved = 0
    for name, tensor in expected.items():
        torch.testing.assert_close(ours[str(from_upstream_name(name))], tensor, rtol=1e-6, atol=1e-7)
        moved += not torch.equal(tensor, load_file(parity / "tiny" / "model.safetensors")[name])
    assert moved == 22


def test_lora_computes_what_peft_computes(lora: Path, tiny: DexVLA, parity: Path, inputs: dict[str, Tensor]) -> None:
    """The adapters put into the live model by peft, not merged, against our merged weights."""
    from peft import LoraConfig, inject_adapter_in_model
    from peft.utils import set_peft_model_state_dict

    live = load_policy(parity / "tiny")
    layers = {
        str(from_upstream_name(name.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")))
        .removesuffix(".weight"): name
        for name in load_file(lora / "adapter_model.safetensors") if ".lora_A." in name
    }  # fmt: skip
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(layers)), live)
    stored = load_file(lora / "adapter_model.safetensors")
    renamed = {
        f"{layer}.lora_{side}.weight": stored[name.replace(".lora_A.", f".lora_{side}.")]
        for layer, name in layers.items()
        for side in "AB"
    }
    result = set_peft_model_state_dict(live, renamed)
    assert not result.unexpected_keys
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "states")
    prompt = {name: inputs[f"infer.{name}"] for name in names}
    with torch.no_grad():
        one, other = (
            policy.predict(prompt, noise=inputs["infer.noise"], max_new_tokens=4, eos_token_id=560)
            for policy in (live.eval(), load_policy(lora))
        )
        before = tiny.predict(prompt, noise=inputs["infer.noise"], max_new_tokens=4, eos_token_id=560)
    torch.testing.assert_close(other.condition, one.condition, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.actions, one.actions, rtol=1e-3, atol=1e-3)
    assert (before.condition - other.condition).abs().max() > 0.01


def edit(directory: Path, **changes: Any) -> None:
    file = directory / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_lora_settings_of_single_layers(parity: Path, lora: Path, adapters: dict[str, Tensor]) -> None:
    edit(lora, use_rslora=True)
    ours = load_policy(lora).state_dict()
    expected = by_hand(parity, adapters, ALPHA / math.sqrt(RANK))
    name = "model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(ours[str(from_upstream_name(name))], expected[name], rtol=1e-6, atol=1e-7)
    edit(lora, use_rslora=False, alpha_pattern={"up_proj": 20})
    ours = load_policy(lora).state_dict()
    for layer, scale in ((name, 20 / RANK), ("model.layers.0.mlp.gate_proj.weight", ALPHA / RANK)):
        expected = by_hand(parity, adapters, scale)
        torch.testing.assert_close(ours[str(from_upstream_name(layer))], expected[layer], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.", ""])
def test_lora_names_as_any_peft_writes_them(parity: Path, lora: Path, prefix: str) -> None:
    """peft 0.4 keeps the plain names of adapted layers; some programs strip a prefix themselves."""
    reference = load_policy(lora).state_dict()
    trained = torch.load(lora / "non_lora_trainables.bin")
    renamed = {prefix + name.removeprefix("base_model.model."): tensor for name, tensor in trained.items()}
    if prefix == "base_model.model.":
        renamed = {name.replace(".base_layer.", "."): tensor for name, tensor in renamed.items()}
        renamed |= {"base_model.model.model.layers.0.mlp.up_proj.lora_A.default.weight": torch.zeros(1)}
    torch.save(renamed, lora / "non_lora_trainables.bin")
    ours = load_policy(lora).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in reference.items())


def test_lora_finds_its_base_model(lora: Path, tmp_path: Path, plain: Path) -> None:
    reference = load_policy(lora).state_dict()
    edit(lora, base_model_name_or_path="/gone/Qwen2-VL-2B-Instruct")
    given = load_policy(lora, base=tmp_path / "base").state_dict()
    assert all(torch.equal(given[name], tensor) for name, tensor in reference.items())
    from_copy = load_policy(lora).state_dict()
    assert all(torch.equal(from_copy[name], tensor) for name, tensor in reference.items())
    trained = torch.load(lora / "non_lora_trainables.bin")
    torch.save({n: t for n, t in trained.items() if ".base_layer." not in n}, lora / "non_lora_trainables.bin")
    with pytest.raises(CheckpointError, match=r"base_model_name_or_path is '/gone/.*no directory here.*--base"):
        load_policy(lora)
    with pytest.raises(CheckpointError, match=r"adapter_config.json: missing; a base model goes with a LoRA"):
        load_policy(plain, base=tmp_path / "base")


def test_lora_on_another_base_model_is_refused(lora: Path, tmp_path: Path) -> None:
    weights = load_file(tmp_path / "base" / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] += 1
    save_file(weights, tmp_path / "base" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"up_proj.weight differs from the copy.*another base model"):
        load_policy(lora)


def test_lora_moving_average(parity: Path, lora: Path, adapters: dict[str, Tensor]) -> None:
    """A full state dict of the adapted model: adapters by their live names."""
    trained = torch.load(lora / "non_lora_trainables.bin")
    live = {name.replace(".weight", ".default.weight"): tensor * 3 for name, tensor in adapters.items()}
    torch.save(trained | live, lora / "ema_weights.pth")
    ours = load_policy(lora, ema=True).state_dict()
    for name, tensor in by_hand(parity, adapters, 9 * ALPHA / RANK).items():
        torch.testing.assert_close(ours[str(from_upstream_name(name))], tensor, rtol=1e-5, atol=1e-6)


LORA_MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no trained weights": (
        lambda d: (d / "non_lora_trainables.bin").unlink(),
        r"non_lora_trainables.bin: missing; .*written at the end of a run.*consolidate",
    ),
    "no adapters": (lambda d: (d / "adapter_model.safetensors").unlink(), r"adapter_model.safetensors: missing"),
    "DoRA": (lambda d: edit(d, use_dora=True), r"adapter_config.json: use_dora is True, only False can be merged"),
    "PiSSA": (lambda d: edit(d, init_lora_weights="pissa"), r"init_lora_weights is 'pissa', which changes the base"),
    "OLoRA": (lambda d: edit(d, init_lora_weights="olora"), r"init_lora_weights is 'olora', which changes the base"),
    "a regular expression": (
        lambda d: edit(d, alpha_pattern={"^model.layers.0.mlp.up_proj": 64}),
        r"alpha_pattern has the regular expression '\^model.layers.0.mlp.up_proj'",
    ),
    "an alpha of no layer": (
        lambda d: edit(d, alpha_pattern={"layers.9.up_proj": 64}),
        r"alpha_pattern names layers.9.up_proj, which is no adapted layer",
    ),
    "ranks in a list": (
        lambda d: edit(d, rank_pattern=["up_proj"]),
        r"rank_pattern is \['up_proj'\], expected numbers",
    ),
    "repeated layers": (lambda d: edit(d, layer_replication=[[0, 4]]), r"layer_replication is \[\[0, 4\]\], and how"),
    "a field of tomorrow": (lambda d: edit(d, use_sparkling=True), r"use_sparkling is True, and how that changes"),
    "biases": (lambda d: edit(d, bias="all"), r"bias is 'all', only 'none'"),
    "another kind": (lambda d: edit(d, peft_type="IA3"), r"peft_type is 'IA3', expected 'LORA'"),
    "no rank": (lambda d: edit(d, r=None), r"r is None, expected the rank"),
    "another rank": (lambda d: edit(d, r=8), r"lora_A \[4, \d+\] and lora_B \[\d+, 4\] with rank 8 do not fit"),
    "half a pair": (
        lambda d: save_file(
            {"base_model.model.visual.blocks.0.attn.proj.lora_A.weight": torch.ones(4, 32)},
            d / "adapter_model.safetensors",
        ),
        r"visual.blocks.0.attn.proj has lora_A alone",
    ),
    "another model's adapters": (
        lambda d: save_file(
            {f"base_model.model.model.layers.7.mlp.up_proj.lora_{s}.weight": torch.ones(4, 4) for s in "AB"},
            d / "adapter_model.safetensors",
        ),
        r"the base model has no model.layers.7.mlp.up_proj.weight",
    ),
    "a layer trained in full": (
        lambda d: save_file({"base_model.model.lm_head.weight": torch.ones(4, 4)}, d / "adapter_model.safetensors"),
        r"lm_head.weight is not an adapter",
    ),
}


@pytest.mark.parametrize("mistake", LORA_MISTAKES)
def test_lora_mistakes_are_one_line(lora: Path, mistake: str) -> None:
    damage, message = LORA_MISTAKES[mistake]
    damage(lora)
    with pytest.raises(CheckpointError, match=message) as error:
        load_policy(lora)
    assert "\n" not in str(error.value)


# --- mistakes -----------------------------------------------------------------------------------------------


def test_statistics_of_another_robot(plain: Path) -> None:
    file = plain.parent / "dataset_stats.pkl"
    stats = pickle.loads(file.read_bytes())
    for name in ("qpos_mean", "qpos_std"):
        stats[name] = stats[name][:7]
    file.write_bytes(pickle.dumps(stats))
    with pytest.raises(
        CheckpointError, match=r"dataset_stats.pkl: for 14 action and 7 state .*config.json says 14 and"
    ):
        load_policy(plain)


def test_statistics_that_run_code_stop_the_loading(plain: Path) -> None:
    (plain.parent / "dataset_stats.pkl").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    with pytest.raises(CheckpointError, match=r"dataset_stats.pkl: refused: it holds the name 'os.system'"):
        load_policy(plain)


def test_a_tokenizer_without_the_vision_tokens(plain: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"):
        text = (plain / name).read_text()
        (plain / name).write_text(text.replace("<|image_pad|>", "<|picture|>"))
    with pytest.raises(CheckpointError, match=r"the tokenizer has no <\|image_pad\|>; expected that of a Qwen2-VL"):
        load_policy(plain)


def fields(value: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of all entries of a JSON object, inner ones too."""
    found = []
    for name, item in value.items():
        found.append((*above, name))
        found += fields(item, (*above, name)) if isinstance(item, dict) else []
    return found


NO_NUMBER: tuple[Any, ...] = (None, "x", -1, 0, [], {}, 10**12)


@pytest.mark.parametrize(
    "place",
    [
        *((name,) for name in ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "hidden_act")),
        *((name,) for name in ("policy_head_type", "rope_theta", "pad_token_id", "llm_loss_weight")),
        *(("vision_config", name) for name in ("depth", "embed_dim", "num_heads")),
        *(("policy_head_config", name) for name in ("depth", "n_emb", "input_dim", "prediction_horizon", "mlp_ratio")),
        ("rope_scaling", "mrope_section"),
        ("rope_scaling", "rope_type"),
    ],
)
def test_whatever_stands_in_a_field_is_read_or_refused_in_one_line(plain: Path, place: tuple[str, ...]) -> None:
    """Nonsense neither escapes as another kind of error nor builds for ever."""
    original = json.loads((plain / "config.json").read_text())
    messages: list[str] = []
    for nonsense in NO_NUMBER:
        config = json.loads(json.dumps(original))
        section = config
        for name in place[:-1]:
            section = section[name]
        section[place[-1]] = nonsense
        (plain / "config.json").write_text(json.dumps(config))
        try:
            load_policy(plain)
        except CheckpointError as error:
            messages.append(str(error))
    assert messages, "not one value was refused"
    assert all(str(plain) in message and "\n" not in message for message in messages)


@pytest.mark.parametrize("nonsense", NO_NUMBER)
def test_whatever_stands_in_the_image_settings(parity: Path, plain: Path, nonsense: Any) -> None:
    original = json.loads((parity / "tiny" / "processor" / "preprocessor_config.json").read_text())
    messages: list[str] = []
    for place in fields(original):
        settings = json.loads(json.dumps(original))
        section = settings
        for name in place[:-1]:
            section = section[name]
        section[place[-1]] = nonsense
        (plain / "preprocessor_config.json").write_text(json.dumps(settings))
        try:
            Processor.from_pretrained(plain)
        except CheckpointError as error:
            messages.append(str(error))
    assert messages, "not one value was refused"
    assert all(str(plain) in message and "\n" not in message for message in messages)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resample": 2}, r"preprocessor_config.json: resample is .*2.*images are resized by 3 \(bicubic\)"),
        ({"do_resize": False}, r"preprocessor_config.json: do_resize is False; .*expected true"),
        ({"image_std": [0.5, 0, 0.5]}, r"image_std is \[0.5, 0, 0.5\], expected numbers other than 0"),
    ],
)
def test_image_settings_that_cannot_be_honoured_are_refused_by_name(
    parity: Path, plain: Path, settings: dict[str, Any], message: str
) -> None:
    original = json.loads((parity / "tiny" / "processor" / "preprocessor_config.json").read_text())
    (plain / "preprocessor_config.json").write_text(json.dumps(original | settings))
    with pytest.raises(CheckpointError, match=message):
        Processor.from_pretrained(plain)


@pytest.mark.parametrize("off", ["do_normalize", "do_rescale"])
def test_image_settings_are_honoured_as_transformers_does(parity: Path, plain: Path, off: str) -> None:
    original = json.loads((parity / "tiny" / "processor" / "preprocessor_config.json").read_text())
    (plain / "preprocessor_config.json").write_text(json.dumps(original | {off: False}))
    processor = Processor.from_pretrained(plain)
    image = np.random.default_rng(0).integers(0, 256, (56, 84, 3), np.uint8)
    theirs = processor.image_processor(images=[image], return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(processor.patches(image, (56, 84))[0], theirs, rtol=1e-5, atol=1e-5)


def test_weights_of_another_chunk_name_the_tensor(plain: Path) -> None:
    config = json.loads((plain / "config.json").read_text())
    config["policy_head_config"]["prediction_horizon"] = 50
    (plain / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match=r"expert.pos_embed has shape \[1, 8, 48\], expected \[1, 50, 48\]: the chunk"
    ):
        load_policy(plain)

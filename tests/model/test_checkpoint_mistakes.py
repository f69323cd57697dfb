"""Every mistake in a checkpoint is one line that names file, found and expected."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dexvla.errors import CheckpointError
from dexvla.model.checkpoint import (
    load_policy,
    new_policy,
    save_policy,
)
from dexvla.model.policy import DexVLA
from tests.support.model_data import policy_spec, reseal


def edit(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        value = json.loads((directory / name).read_text())
        change(value)
        (directory / name).write_text(json.dumps(value))
        reseal(directory)

    return apply


def cut(name: str, length: int) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        data = (directory / name).read_bytes()
        (directory / name).write_bytes(data[: length if length > 0 else len(data) + length])

    return apply


def without_manifest(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        damage(directory)
        reseal(directory)

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def pickle_instead(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    reseal(directory)


def retrained_tokenizer(directory: Path) -> None:
    """As if someone had put another model's tokenizer beside the weights."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (directory / name).read_text()
        (directory / name).write_text(text.replace("<|image_pad|>", "<|picture|>"))
    reseal(directory)


MISTAKES = {
    "no config": (remove("config.json"), r"config.json: missing"),
    "config is no JSON": (without_manifest(cut("config.json", 40)), r"config.json: not readable as JSON"),
    "deep config": (
        without_manifest(lambda d: (d / "config.json").write_text('{"a":' * 100_000) and None),
        r"config.json: its JSON is nested too deeply",
    ),
    "deep settings": (
        without_manifest(lambda d: (d / "config.json").write_text('{"a":' * 400 + "1" + "}" * 400) and None),
        r"config.json: its JSON is nested too deeply",
    ),
    "config was cut": (cut("config.json", 40), r"config.json: 40 bytes, the manifest says \d+: truncated or changed"),
    "config is a list": (
        without_manifest(lambda d: (d / "config.json").write_text("[]") and None),
        r"found a JSON list, expected an object",
    ),
    "no model type": (edit("config.json", lambda c: c.pop("model_type")), r"model_type is None, expected 'dexvla'"),
    "another model": (edit("config.json", lambda c: c.update(model_type="llama")), r"model_type is 'llama', expected"),
    "a later format": (edit("config.json", lambda c: c.update(format_version=9)), r"format_version is 9.*reads 1"),
    "unknown field": (edit("config.json", lambda c: c.update(chunk=3)), r"config.json: unknown fields \['chunk'\]"),
    "missing field": (edit("config.json", lambda c: c.pop("backbone")), r"missing fields \['backbone'\]"),
    "unknown policy field": (
        edit("config.json", lambda c: c["policy"].update(chunk=3)),
        r"config.json: policy: chunk: there is no such field; found '3'; did you mean chunk_size",
    ),
    "wrong policy field": (
        edit("config.json", lambda c: c["policy"]["expert"].update(depth="many")),
        r"policy: expert.depth: .*integer.*found 'many'",
    ),
    "no vision settings": (
        edit("config.json", lambda c: c["backbone"].pop("vision_config")),
        r"config.json: vision_config is None, expected",
    ),
    "wrong backbone": (
        edit("config.json", lambda c: c["backbone"]["text_config"].update(hidden_size="wide")),
        r"config.json: not a Qwen2-VL configuration.*hidden_size",
    ),
    "heads that do not divide": (
        edit("config.json", lambda c: c["backbone"]["text_config"].update(num_attention_heads=5)),
        r"hidden_size 128 in 5 heads does not go with mrope_section \[4, 6, 6\]",
    ),
    "config of another size": (
        edit("config.json", lambda c: c["policy"].update(chunk_size=9)),
        r"expert.pos_embed has shape \[1, 6, 32\], expected \[1, 9, 32\]: the chunk sizes",
    ),
    "config of another robot": (
        edit("config.json", lambda c: c["policy"].update(action_dim=14)),
        r"norm_stats.json: for 10 action and 7 state values, config.json says 14 and 7",
    ),
    "no weights": (remove("model.safetensors"), r"model.safetensors: missing; the manifest lists it"),
    "no weights and no manifest": (without_manifest(remove("model.safetensors")), r"neither model.safetensors nor"),
    "weights as a pickle": (pickle_instead, r"\.bin files are not read, convert them to safetensors"),
    "truncated weights": (cut("model.safetensors", -10), r"model.safetensors: .* bytes, the manifest says .*truncated"),
    "truncated weights and no manifest": (
        without_manifest(cut("model.safetensors", -10)),
        r"model.safetensors: truncated or not a safetensors file",
    ),
    "truncated header": (without_manifest(cut("model.safetensors", 20)), r"truncated or not a safetensors file"),
    "a manifest without sizes": (
        lambda d: (d / "manifest.json").write_text(json.dumps({"files": {"config.json": None}})),
        r"manifest.json: files has 'config.json' as None, expected sha256 and bytes",
    ),
    "a manifest that reaches outside": (
        lambda d: (d / "manifest.json").write_text(json.dumps({"files": {"../x": {"sha256": "", "bytes": 0}}})),
        r"manifest.json: files has '../x'",
    ),
    "image settings of the wrong kind": (
        edit("preprocessor_config.json", lambda c: c.update(patch_size="wide")),
        r"preprocessor_config.json: patch_size is 'wide', expected a number|unreadable.*patch_size",
    ),
    "no statistics": (remove("norm_stats.json"), r"norm_stats.json: missing; the manifest lists it"),
    "broken statistics": (
        edit("norm_stats.json", lambda c: c.update(action_min=[0.0])),
        r"norm_stats.json: .*arrays differ in length",
    ),
    "no tokenizer": (without_manifest(remove("tokenizer.json")), r"neither tokenizer.json nor vocab.json"),
    "broken tokenizer": (without_manifest(cut("tokenizer.json", 300)), r"unreadable tokenizer or image settings"),
    "no image settings": (without_manifest(remove("preprocessor_config.json")), r"preprocessor_config.json: missing"),
    "tokenizer without images": (
        retrained_tokenizer,
        r"the tokenizer has no <\|image_pad\|>; expected that of a Qwen",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(checkpoint: Path, mistake: str) -> None:
    damage, message = MISTAKES[mistake]
    damage(checkpoint)
    with pytest.raises(CheckpointError, match=message) as error:
        load_policy(checkpoint)
    assert str(checkpoint) in str(error.value)
    assert "\n" not in str(error.value)


def test_paths_that_are_no_checkpoint(tmp_path: Path, written: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such directory"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"model.safetensors: a file; expected the directory"):
        load_policy(written / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"config.json: missing"):
        load_policy(tmp_path)
    with pytest.raises(CheckpointError, match=r"nowhere: no such directory"):
        new_policy(tmp_path / "nowhere", policy_spec())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "norm_stats.json", "tokenizer.json"])
def test_a_changed_byte_is_found_before_anything_is_loaded(checkpoint: Path, name: str) -> None:
    load_policy(checkpoint)
    file = checkpoint / name
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(
        CheckpointError, match=rf"{name}: sha256 is \w{{16}}\.\.\., the manifest says \w{{16}}\.\.\.: .*Restore"
    ):
        load_policy(checkpoint)


def test_a_file_that_nobody_listed_is_named(checkpoint: Path) -> None:
    (checkpoint / "README.md").write_text("notes of a person, which no loader reads")
    load_policy(checkpoint)
    (checkpoint / "added_tokens.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"added_tokens.json: not listed in the manifest"):
        load_policy(checkpoint)


def test_without_a_manifest_it_is_refused_until_somebody_vouches_for_it(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").unlink()
    missing = r"manifest.json is missing: .* python -m dexvla.checksums "
    with pytest.raises(CheckpointError, match=missing):
        load_policy(checkpoint)
    command = [sys.executable, "-m", "dexvla.checksums", str(checkpoint)]
    subprocess.run(command, check=True, timeout=60)
    load_policy(checkpoint)
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (again.returncode, "never written over" in again.stderr) == (1, True)
    weights = bytearray((checkpoint / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (checkpoint / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"model.safetensors: sha256 is "):
        load_policy(checkpoint)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{}", '{"files": 3}', '{"files": {"../x": {"sha256": "", "bytes": 0}}}']
)
def test_a_manifest_that_is_none_is_a_line(checkpoint: Path, text: str) -> None:
    (checkpoint / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest.json: (not readable|files (is|has))"):
        load_policy(checkpoint)


def test_another_models_tokenizer_is_noticed(checkpoint: Path) -> None:
    edit("config.json", lambda c: c["backbone"].update(image_token_id=5))(checkpoint)
    with pytest.raises(CheckpointError, match=r"image token is \d+, config.json has image_token_id 5"):
        load_policy(checkpoint)


def test_weights_with_adapters_are_not_written(policy: DexVLA, tmp_path: Path) -> None:
    adapted = {**policy.state_dict(), "backbone.model.visual.blocks.0.attn.qkv.lora_A.default.weight": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r"unknown tensor .*lora_A"):
        save_policy(policy, tmp_path / "lora", manifest={}, state_dict=adapted)
    assert not (tmp_path / "lora").exists()

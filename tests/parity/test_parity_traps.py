"""Traps of the reference that no other test walks into; docs/upstream-differences.md lists all of them."""

import ast
import dataclasses
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from dexvla.data.chunks import action_chunk
from dexvla.data.normalise import normalise_actions
from dexvla.data.statistics import norm_stats
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import load_episode
from dexvla.errors import UserError
from dexvla.model.checkpoint import load_policy, new_policy
from dexvla.model.policy import DexVLA
from dexvla.model.processing import Processor, build_inputs, collate
from dexvla.spec import CameraSpec, Fusion, PaddedActions, PolicySpec, ScaleDPSpec, TrainSpec
from dexvla.train.data import EpisodeSamples, SampleSettings
from dexvla.train.loop import train
from dexvla.train.lora import add_lora
from dexvla.train.prepare import prepare_data
from tests.support.parity_data import BATCH, ROOT

SMALL = ScaleDPSpec(depth=1, width=32, heads=2, combine_width=32)


@pytest.fixture
def batch(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: inputs[name] for name in BATCH}


# --- A: numerics --------------------------------------------------------------------------------------------


def test_a1_a3_sampling_stays_float32_in_a_bfloat16_model(parity: Path, inputs: dict[str, Tensor]) -> None:
    """Neither NaN from rounded betas nor actions of eight bits; a training step before does not poison sampling."""
    policy = load_policy(parity / "tiny", dtype=torch.bfloat16)
    prompt = {n: inputs[f"infer.{n}"] for n in ("input_ids", "pixel_values", "image_grid_thw", "states")}
    before = policy.predict(prompt, noise=inputs["infer.noise"], max_new_tokens=2, eos_token_id=560)
    policy.losses({name: inputs[name] for name in BATCH}).loss.backward()
    after = policy.predict(prompt, noise=inputs["infer.noise"], max_new_tokens=2, eos_token_id=560)
    assert torch.equal(before.actions, after.actions)
    assert torch.isfinite(after.actions).all()
    free = after.actions[after.actions.abs() < 1]
    assert (free != free.bfloat16().float()).float().mean() > 0.9
    schedule = policy.expert.schedule
    assert schedule.alphas_cumprod.dtype == torch.float32
    assert float(schedule.alphas_cumprod[0]) < 1


def test_a6_padding_does_not_explode_in_a_dimension_that_rests() -> None:
    action = np.full((5, 2), 0.5, np.float32)
    action[:, 1] = np.linspace(-1, 1, 5)
    stats = norm_stats([(action, action)])
    zeros, _ = action_chunk(action, 8, PaddedActions.ZEROS)
    last, is_pad = action_chunk(action, 8, PaddedActions.REPEAT_LAST)
    assert np.abs(normalise_actions(zeros, stats)[is_pad]).max() > 1000, "what the reference feeds its expert"
    assert np.abs(normalise_actions(last, stats)).max() <= 1
    assert TrainSpec.model_fields["padded_actions"].default is PaddedActions.REPEAT_LAST


def test_a7_a8_padded_steps_count_in_the_mean_and_are_seen(
    tiny: DexVLA, batch: dict[str, Tensor], inputs: dict[str, Tensor]
) -> None:
    drawn = {"noise": inputs["train_noise"][0], "timesteps": inputs["train_timesteps"]}
    half = torch.zeros_like(batch["is_pad"])
    half[:, 4:] = 1
    with torch.no_grad():
        result = tiny.losses({**batch, "is_pad": half}, **drawn)
        error = (result.noise_pred - drawn["noise"]).square()[:, :4].sum()
        assert float(result.action_loss) == pytest.approx(float(error) / batch["actions"].numel(), rel=1e-5)
        other = batch["actions"].clone()
        other[:, 4:] += 1
        moved = tiny.losses({**batch, "is_pad": half, "actions": other}, **drawn)
    assert (moved.noise_pred[:, :4] - result.noise_pred[:, :4]).abs().max() > 1e-3


# --- B: fusion and generation -------------------------------------------------------------------------------


def test_b1_a_pad_token_inside_the_text_is_a_token(tiny: DexVLA, batch: dict[str, Tensor]) -> None:
    """The reference counts its pad id's occurrences to find where a row begins."""
    pad = 558
    row = int(batch["attention_mask"][1].sum())
    ids = batch["input_ids"].clone()
    inside = ids.shape[1] - row + 3
    ids[1, inside] = pad
    with torch.no_grad():
        together = tiny.losses({**batch, "input_ids": ids}).condition[1]
        per_row = len(batch["pixel_values"]) // 3
        alone = tiny.losses(
            {
                **{name: batch[name][1:2] for name in ("actions", "states", "is_pad")},
                **{name: batch[name][1:2, -row:] for name in ("attention_mask", "labels")},
                "input_ids": ids[1:2, -row:],
                "pixel_values": batch["pixel_values"][per_row : 2 * per_row],
                "image_grid_thw": batch["image_grid_thw"][3:6],
            }
        ).condition[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_b4_a_policy_without_film_trains_and_acts(base_model: Path) -> None:
    camera = CameraSpec(name="cam", height=56, width=56)
    spec = PolicySpec(
        expert=SMALL, action_dim=3, state_dim=2, chunk_size=4, fusion=Fusion.POOLED, cameras=(camera,)
    )  # fmt: skip
    policy = new_policy(base_model, spec)
    image = np.zeros((56, 56, 3), np.uint8)
    options = {"images": [image], "image_sizes": [(56, 56)], "instruction": "Fold it."}
    sample = build_inputs(policy.processor, **options, answer="Fold.<|im_end|>")
    sample |= {"actions": torch.zeros(4, 3), "states": torch.zeros(2), "is_pad": torch.zeros(4, dtype=torch.bool)}
    loss = policy.losses(collate([sample, sample], policy.processor)).loss
    loss.backward()
    assert torch.isfinite(loss)
    prompt = build_inputs(policy.processor, **options) | {"states": torch.zeros(2)}
    result = policy.predict(collate([prompt, prompt], policy.processor), max_new_tokens=3)
    assert result.actions.shape == (2, 4, 3)
    assert torch.isfinite(result.actions).all()


# --- C: initialisation --------------------------------------------------------------------------------------


def test_c3_any_size_and_every_setting_can_be_printed() -> None:
    odd = ScaleDPSpec(depth=3, width=36, heads=6, mlp_ratio=2.5)
    assert "depth=3" in repr(odd)
    assert ScaleDPSpec.model_validate_json(odd.model_dump_json()) == odd


# --- D: data ------------------------------------------------------------------------------------------------


def samples_of(folder: Path, base: Path) -> EpisodeSamples:
    manifest, motions = build_manifest(find_set(str(folder)))
    return EpisodeSamples(
        entries=manifest.episodes,
        root=Path("/"),
        stats=norm_stats(motions),
        processor=Processor.from_pretrained(base),
        settings=SampleSettings(
            cameras=tuple(CameraSpec(name=name, height=28, width=28) for name in manifest.cameras),
            chunk_size=4,
            diffusion_steps=100,
            use_reasoning=True,
            padded_actions=PaddedActions.REPEAT_LAST,
            augment=False,
            seed=0,
        ),
    )


def test_d2_a_sample_that_cannot_be_read_is_never_another_one(
    make_episode: Callable[..., Path], base_model: Path, tmp_path: Path
) -> None:
    for number in range(2):
        make_episode(tmp_path / f"episode_{number}.hdf5", seed=number, cameras=("cam",))
    samples = samples_of(tmp_path, base_model)
    assert samples[0, 30]["actions"].shape == (4, 14)
    samples = samples_of(tmp_path, base_model)
    with h5py.File(tmp_path / "episode_1.hdf5", "r+") as file:
        file["observations/images/cam"][6] = 0
    with pytest.raises(UserError, match=r"episode_1.hdf5.*cam.*6"):
        _ = samples[0, 30]


def test_d4_every_step_of_the_only_episode_is_trained_on(
    make_episode: Callable[..., Path], make_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    make_episode(tmp_path / "data" / "episode_0.hdf5", steps=13)
    data = prepare_data(make_spec(data=[{"path": str(tmp_path / "data")}]))
    assert [entry.steps for entry in data.train] == [13]
    assert data.held_out == ()


def test_d9_a_file_that_does_not_say_sim_is_a_real_robots(make_episode: Callable[..., Path], tmp_path: Path) -> None:
    """Kept: the action of a step answers the state before it. The simulated robot's recordings say so themselves."""
    path = make_episode(tmp_path / "a.hdf5")
    assert load_episode(path).sim
    with h5py.File(path, "r+") as file:
        del file.attrs["sim"]
    assert not load_episode(path).sim


def test_d3_d12_no_quiet_exit_and_no_garbage_collection_in_the_product() -> None:
    calls = set()
    for path in sorted((ROOT / "dexvla").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in {"gc.collect", "exit", "quit", "sys.exit", "os._exit"}:
                    calls.add((path.relative_to(ROOT / "dexvla").as_posix(), name))
    assert {name for _, name in calls} <= {"sys.exit"}
    assert {place for place, _ in calls} <= {"checksums.py", "cli.py", "robots/aloha_sim/live_renderer.py"}, (
        "only where a process begins"
    )


# --- E: training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tower", ["vision", "llm"])
def test_e1_adapters_go_where_they_are_told(parity: Path, tower: str) -> None:
    policy = load_policy(parity / "tiny")
    from dexvla.spec import LoraSpec

    names = add_lora(policy, LoraSpec(towers=(tower,), rank=2))
    wanted = "visual.blocks." if tower == "vision" else "language_model.layers."
    assert len(names) == {"vision": 8, "llm": 14}[tower]
    assert all(wanted in name for name in names)
    trained = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if name.startswith("backbone.")} == {
        f"{name}.lora_{side}.default.weight" for name in names for side in "AB"
    }


def test_e4_checkpoints_of_a_run_with_an_average_hold_the_average(make_spec: Callable[..., TrainSpec]) -> None:
    """Evaluation needs no flag: what it loads is the average."""
    plain = train(make_spec(steps=3, save_every=3)).checkpoint
    spec = make_spec(steps=3, save_every=3, ema_decay=0.5)
    averaged = train(spec.model_copy(update={"output_dir": spec.output_dir + "-ema"})).checkpoint
    one, other = load_policy(plain).state_dict(), load_policy(averaged).state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_e6_images_do_not_attend_to_each_other(tiny: DexVLA, batch: dict[str, Tensor]) -> None:
    """So the cost grows with their number, not with its square."""
    visual, grid = tiny.backbone.model.visual, batch["image_grid_thw"]
    sizes = grid.prod(-1).tolist()
    with torch.no_grad():
        together = visual(batch["pixel_values"], grid_thw=grid).pooler_output
        alone = [
            visual(patches, grid_thw=one[None]).pooler_output
            for patches, one in zip(batch["pixel_values"].split(sizes), grid, strict=True)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_e7_the_first_noise_levels_are_noisy(tiny: DexVLA) -> None:
    """With a schedule rounded to bfloat16 the factor of the noise is 0 at t = 0 and 1."""
    actions = torch.zeros(2, 8, 14)
    noisy = tiny.expert.schedule.add_noise(actions.bfloat16().float(), torch.ones_like(actions), torch.tensor([0, 1]))
    assert noisy[:, 0, 0].tolist() == pytest.approx([0.025, 0.042], abs=1e-3)
    bar = tiny.expert.schedule.alphas_cumprod[0]
    assert float(noisy[0, 0, 0]) == pytest.approx(math.sqrt(1 - float(bar)))


# --- F: evaluation ------------------------------------------------------------------------------------------


def test_f1_camera_images_are_resized_as_in_training(tiny: DexVLA) -> None:
    """480x640 gives the 99 tokens of training, not the 391 of the reference's evaluation."""
    image = np.zeros((480, 640, 3), np.uint8)
    assert tiny.processor is not None
    inputs = build_inputs(tiny.processor, images=[image], image_sizes=[(240, 320)], instruction="Fold it.")
    assert inputs["image_grid_thw"].tolist() == [[1, 18, 22]]
    assert int((inputs["input_ids"] == tiny.processor.image_id).sum()) == 99


def test_f7_a_tokenizer_with_upstreams_extra_token_gives_the_same_prompt(parity: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(parity / "tiny" / "processor", tmp_path / "processor"))
    file = json.loads((folder / "tokenizer.json").read_text())
    extra = dict(file["added_tokens"][-1], id=572, content="[SOA]")
    file["added_tokens"].append(extra)
    (folder / "tokenizer.json").write_text(json.dumps(file))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"]["572"] = {**settings["added_tokens_decoder"]["571"], "content": "[SOA]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    one, other = Processor.from_pretrained(parity / "tiny" / "processor"), Processor.from_pretrained(folder)
    assert len(other.tokenizer) == len(one.tokenizer) + 1
    assert one.prompt_ids([4], "Fold the shirt.") == other.prompt_ids([4], "Fold the shirt.")


def test_settings_are_complete(demos: Path, base_model: Path) -> None:
    """The settings of a sample have no field that is accepted and ignored, as the reference's loader has several."""
    fields: dict[str, Any] = {field.name: field for field in dataclasses.fields(SampleSettings)}
    source = (ROOT / "dexvla" / "train" / "data.py").read_text()
    assert [name for name in fields if f"settings.{name}" not in source] == []
    assert len(samples_of(demos, base_model)) == 72


def test_the_list_is_complete_and_names_tests_that_exist() -> None:
    rows = [line.split("|") for line in (ROOT / "docs/upstream-differences.md").read_text().splitlines()]
    shown = {row[1].strip(): row[4] for row in rows if len(row) == 6 and re.fullmatch(r"[A-F]\d+", row[1].strip())}
    last = {"A": 9, "B": 9, "C": 3, "D": 12, "E": 8, "F": 7}
    assert list(shown) == [f"{letter}{number}" for letter in last for number in range(1, last[letter] + 1)]
    here = Path(__file__).read_text()
    for trap, cell in shown.items():
        for fragment in re.findall(r"traps `(\w+)`", cell):
            assert f"def test_{fragment}_" in here, f"{trap}: {fragment}"
        folder = ""
        for place, fragment in re.findall(r"([\w/]+\.py)(?: `(\w+)`)?", cell):
            folder = place.rpartition("/")[0] or folder
            file = ROOT / "tests" / folder / Path(place).name
            file = file if file.is_file() else ROOT / "dexvla" / place
            assert file.is_file(), f"{trap}: {place}"
            assert fragment in file.read_text(), f"{trap}: {place} {fragment}"

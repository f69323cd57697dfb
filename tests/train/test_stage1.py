"""Stage 1 on real files of two robots: it learns, resumes exactly, and stage 2 takes over what fits."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dexvla.errors import CheckpointError, UserError
from dexvla.model.checkpoint import load_policy, read_manifest
from dexvla.model.pretrainer_files import load_pretrainer
from dexvla.spec import ActionSpace, TrainSpec, with_preset
from dexvla.train.loop import plan, train
from dexvla.train.pretraining import MixedSamples, PretrainTask
from dexvla.train.runs import Run, read_metrics
from dexvla.train.stages import kept_data, new_task
from dexvla.train.validation import NOISE_SEED, validation_places
from tests.support.trainings import stop_at

MakeSpec = Callable[..., TrainSpec]


@pytest.fixture(scope="session")
def other_robot(tmp_path_factory: pytest.TempPathFactory, make_episode: Callable[..., Path]) -> Path:
    """Two episodes with 10 actions, 7 states and cameras left, right and wrist."""
    folder = tmp_path_factory.mktemp("other_robot")
    for number in range(2):
        make_episode(
            folder / f"episode_{number}.hdf5",
            seed=10 + number,
            action_dim=10,
            state_dim=7,
            cameras=("left", "right", "wrist"),
            instruction="Fold the shirt.",
            labels=("Flatten the shirt.", "Fold the sleeve."),
            attributes={"robot": "arm", "seed": 100 + number},
        )
    return folder


@pytest.fixture
def stage1(demos: Path, other_robot: Path, tmp_path: Path) -> MakeSpec:
    """A stage-1 spec of a few quick steps on both robots."""

    def make(**fields: Any) -> TrainSpec:
        defaults: dict[str, Any] = {
            "preset": "tiny",
            "stage": 1,
            "data": [{"path": str(demos)}, {"path": str(other_robot)}],
            "output_dir": str(tmp_path / "stage1"),
            "chunk_size": 8,
            "image_height": 56,
            "image_width": 84,
            "steps": 4,
            "batch_size": 4,
            "save_every": 2,
            "log_every": 1,
            "device": "cpu",
        }
        return with_preset(defaults | fields)

    return make


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


def lines(run: Path | str) -> list[dict[str, Any]]:
    return read_metrics(Path(run) / "metrics.jsonl")


def losses(run: Path | str) -> list[float]:
    return [line["loss"] for line in lines(run) if "loss" in line]


def test_both_robots_are_learnt_by_one_trunk(stage1: MakeSpec) -> None:
    result = train(stage1(steps=32, batch_size=6, save_every=32, log_every=8, optim={"learning_rate": 3e-3}))
    first, last = lines(result.run)[0], lines(result.run)[-1]
    for name in ("loss", "action_loss.robot-14-14", "action_loss.arm-10-7"):
        assert last[name] < 0.6 * first[name]
    names = {path.name for path in result.checkpoint.iterdir()}
    assert names == {"model.safetensors", "config.json", "norm_stats.json", "tokenizer.json", "manifest.json"}
    manifest = read_manifest(result.checkpoint)
    assert (manifest["stage"], len(manifest["episodes"])) == (1, 5)
    assert set(manifest["dataset"]) == {"robot-14-14", "arm-10-7"}
    assert set(manifest["files"]) == names - {"manifest.json"}


def test_a_checkpoint_comes_back_as_it_was(stage1: MakeSpec) -> None:
    checkpoint = train(stage1(steps=2)).checkpoint
    model = load_pretrainer(checkpoint, verify=True)
    saved = weights(checkpoint)
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == {
        name: tensor.shape for name, tensor in saved.items()
    }
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())
    assert [(one.name, one.action_dim, one.state_dim) for one in model.spec.embodiments] == [
        ("robot-14-14", 14, 14),
        ("arm-10-7", 10, 7),
    ]
    assert model.stats["arm-10-7"].action_dim == 10
    assert model.tokenizer is not None
    assert model.tokenizer.ids("Fold the shirt.")


def test_resuming_gives_the_same_losses_and_weights_as_no_break(stage1: MakeSpec, tmp_path: Path) -> None:
    options: dict[str, Any] = {"augment": True, "ema_decay": 0.8, "steps": 6, "grad_accumulation": 2, "batch_size": 2}
    whole = train(stage1(output_dir=str(tmp_path / "whole"), **options))
    part = stage1(output_dir=str(tmp_path / "parts"), **options)
    assert train(part, stop=stop_at(3)).step == 3
    second = train(part, resume=True)
    assert losses(second.run) == losses(whole.run)
    resumed, straight = weights(second.checkpoint), weights(whole.checkpoint)
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


def test_accumulation_and_recomputing_change_nothing(stage1: MakeSpec, tmp_path: Path) -> None:
    whole = train(stage1(output_dir=str(tmp_path / "whole"), batch_size=4, steps=3))
    split = train(stage1(output_dir=str(tmp_path / "split"), batch_size=2, grad_accumulation=2, steps=3,
                         gradient_checkpointing=True))  # fmt: skip
    assert losses(split.run) == pytest.approx(losses(whole.run), rel=1e-4)


def test_two_processes_compute_what_one_computes_with_twice_the_batch(stage1: MakeSpec, tmp_path: Path) -> None:
    train(stage1(output_dir=str(tmp_path / "one"), batch_size=2, steps=3))
    two = stage1(output_dir=str(tmp_path / "two"), batch_size=1, steps=3)
    (tmp_path / "two.yaml").write_text(two.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "dexvla.cli", "train", str(tmp_path / "two.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-4)


def test_validation_is_logged_by_embodiment_and_the_best_stays(stage1: MakeSpec, tmp_path: Path) -> None:
    result = train(stage1(validation_fraction=0.4, steps=4, save_every=1, keep_checkpoints=1, validation_samples=6))
    found = [line for line in lines(result.run) if "val_loss" in line]
    assert [line["step"] for line in found] == [1, 2, 3, 4]
    names = ("robot-14-14", "arm-10-7")
    assert {f"val_action_loss.{name}" for name in names} <= found[0].keys()
    assert {f"val_action_error_1.{name}" for name in names} <= found[0].keys()
    assert not any("_10" in name or "_50" in name for name in found[0] if "error" in name), "the chunk has 8 actions"
    assert result.best is not None
    assert len(read_manifest(result.checkpoint)["held_out"]) == 2


@pytest.mark.parametrize("precision", ["bf16", "bf16_pure"])
def test_sixteen_bits_and_other_ways_to_load_work_too(stage1: MakeSpec, tmp_path: Path, precision: str) -> None:
    options = {"steps": 1, "precision": precision, "workers": 1, "picture_cache": str(tmp_path / "images")}
    result = train(stage1(**options, optim={"vision_learning_rate": 1e-4}))
    assert load_pretrainer(result.checkpoint).trunk.pos_embed.dtype == (
        torch.bfloat16 if precision == "bf16_pure" else torch.float32
    )
    assert len(list((tmp_path / "images").rglob("*.npy"))) == 5 * 3


def test_stage_2_takes_trunk_and_the_layers_of_its_robot(
    stage1: MakeSpec, make_spec: MakeSpec, tmp_path: Path, other_robot: Path
) -> None:
    donor = train(stage1(steps=3, optim={"learning_rate": 1e-3}))
    given = weights(donor.checkpoint)
    slow = {"optim": {"learning_rate": 1e-9}, "steps": 1, "pretrained_expert": str(donor.run)}
    for number, data in enumerate(([], [{"path": str(other_robot)}])):
        options = {**slow, "data": data} if data else slow
        heir = train(make_spec(output_dir=str(tmp_path / f"heir{number}"), **options))
        taken = weights(heir.checkpoint)
        for name in taken:
            part = name.removeprefix("expert.")
            if name.startswith("expert.") and not part.startswith(("combine.", "cond_obs_emb.")):
                own = part.startswith(("x_embedder.", "final_layer."))
                source = given[f"heads.{number}.{part}" if own else f"trunk.{part}"]
                assert torch.allclose(taken[name], source, atol=1e-6), name
        report = read_manifest(heir.checkpoint)["started_from"]["pretrained_expert"]
        assert report["loaded"].keys() == {"trunk", "layers of " + ("robot-14-14", "arm-10-7")[number]}
        assert {name.split(".")[1] for name in report["fresh"]} == {"combine", "cond_obs_emb"}
        assert all("another encoder" in why for why in report["fresh"].values())
        assert report["left_out"][("layers of arm-10-7", "layers of robot-14-14")[number]] == "another embodiment"


def test_another_robot_takes_the_trunk_alone(
    stage1: MakeSpec, make_spec: MakeSpec, tmp_path: Path, demos: Path, other_robot: Path
) -> None:
    donor = train(stage1(steps=1, data=[{"path": str(demos)}]))
    heir = train(make_spec(steps=1, pretrained_expert=str(donor.run), data=[{"path": str(other_robot)}]))
    report = read_manifest(heir.checkpoint)["started_from"]["pretrained_expert"]
    assert report["loaded"].keys() == {"trunk"}
    assert report["fresh"]["expert.x_embedder.weight"] == (
        "no embodiment of stage 1 has 10 action and 7 state values; it had robot-14-14 (14 actions, 14 states)"
    )


def test_validation_measures_the_error_of_sampled_actions_in_their_own_units(
    stage1: MakeSpec, tmp_path: Path, demos: Path
) -> None:
    """As by hand from the checkpoint: the same noise, denoised, back in units of the robot, beside the recording."""
    data = [{"path": str(demos)}]
    run = stage1(data=data, steps=1, save_every=1, chunk_size=12, batch_size=8, validation_fraction=0.4)
    result = train(run.model_copy(update={"validation_samples": 8, "batch_size": 8}))
    found = next(line for line in lines(result.run) if "val_loss" in line)
    task = new_task(run, kept_data(run, Run(result.run)))
    assert isinstance(task, PretrainTask)
    task.model.load_state_dict(load_pretrainer(result.checkpoint).state_dict())
    stats = task.model.stats["robot-14-14"]
    (part,) = task.parts()
    samples = MixedSamples([task._samples(0, part.data.held_out, augment=False)])
    drawn = [samples[place] for place in validation_places(samples, 8)]
    noise = torch.randn(8, 12, 14, generator=torch.Generator().manual_seed(NOISE_SEED))
    said = task.model.eval().predict(samples.collate(drawn), {0: noise})[0].numpy()
    done = np.stack([sample["actions"].numpy() for sample in drawn])
    assert np.abs(said).max() <= 1
    valid = ~np.stack([sample["is_pad"].numpy() for sample in drawn])
    scale = (np.asarray(stats.action_max) - np.asarray(stats.action_min)) / 2
    for horizon in (1, 10):
        rows = (np.abs(said - done) * scale)[:, horizon - 1][valid[:, horizon - 1]]
        assert found[f"val_action_error_{horizon}"] == pytest.approx(rows.mean(), rel=1e-3)


def test_each_embodiment_may_predict_deltas(
    stage1: MakeSpec, make_spec: MakeSpec, tmp_path: Path, demos: Path, other_robot: Path
) -> None:
    delta = {"kind": "delta", "absolute": [6, 13]}
    donor = train(stage1(steps=2, data=[{"path": str(demos), "action_space": delta}, {"path": str(other_robot)}]))
    one, other = load_pretrainer(donor.checkpoint).spec.embodiments
    assert (one.action_space, other.action_space) == (ActionSpace.model_validate(delta), ActionSpace())
    assert train(stage1(steps=3, data=[{"path": str(demos), "action_space": delta}, {"path": str(other_robot)}],
                        output_dir=str(donor.run)), resume=True).step == 3  # fmt: skip
    heir = train(make_spec(steps=1, pretrained_expert=str(donor.run), action_space=delta))
    mine, theirs = load_policy(heir.checkpoint).norm_stats, load_pretrainer(donor.checkpoint).stats[one.name]
    assert mine is not None
    np.testing.assert_allclose(mine.action_max, theirs.action_max, atol=1e-6)
    report = read_manifest(heir.checkpoint)["started_from"]["pretrained_expert"]
    assert report["loaded"].keys() == {"trunk", "layers of robot-14-14"}
    plain = train(make_spec(steps=1, pretrained_expert=str(donor.run), output_dir=str(tmp_path / "plain")))
    report = read_manifest(plain.checkpoint)["started_from"]["pretrained_expert"]
    assert report["fresh"]["expert.x_embedder.weight"] == (
        "stage 1 predicts deltas (but for dimensions 6, 13), this policy positions"
    )
    with pytest.raises(UserError, match="needs actions and states of the same dimensions; found 10 and 7"):
        plan(stage1(action_space=delta))
    with pytest.raises(UserError, match="the sources of the embodiment a must agree"):
        plan(stage1(data=[{"path": str(demos), "embodiment": "a", **extra} for extra in ({}, {"action_space": delta})]))


def test_layers_for_positions_do_not_go_into_a_policy_of_deltas(
    stage1: MakeSpec, make_spec: MakeSpec, tmp_path: Path
) -> None:
    donor = train(stage1(steps=1))
    heir = train(make_spec(steps=1, pretrained_expert=str(donor.run), action_space={"kind": "delta"}))
    report = read_manifest(heir.checkpoint)["started_from"]["pretrained_expert"]
    assert report["loaded"].keys() == {"trunk"}
    assert "stage 1 predicts positions" in report["fresh"]["expert.final_layer.linear.weight"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chunk_size": 9}, "chunk_size of the expert is 8 in stage 1, 9 in this run"),
        ({"expert": "scaledp-ti"}, "depth of the expert is 4 in stage 1, 8 in this run"),
        ({"pretrained_embodiment": "arm-10-7"}, "the embodiment arm-10-7 has 10 action values, the policy 14"),
        ({"pretrained_embodiment": "nao"}, "no embodiment 'nao'; known: robot-14-14 (14 actions"),
    ],
)
def test_what_does_not_fit_into_stage_2_is_one_line(
    stage1: MakeSpec, make_spec: MakeSpec, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    donor = train(stage1(steps=1))
    with pytest.raises(CheckpointError) as caught:
        plan(make_spec(pretrained_expert=str(donor.run), **fields))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_1_checkpoint_is_no_policy_and_no_base(stage1: MakeSpec, make_spec: MakeSpec, tmp_path: Path) -> None:
    donor = train(stage1(steps=1))
    with pytest.raises(CheckpointError, match="cannot act; train stage 2 with pretrained_expert"):
        load_policy(donor.checkpoint)
    with pytest.raises(CheckpointError, match="cannot act"):
        plan(make_spec(stage=3, init_from=str(donor.run)))
    with pytest.raises(CheckpointError, match="a stage-1 checkpoint where a base model is expected"):
        plan(make_spec(init_from=str(donor.checkpoint)))
    manifest = donor.checkpoint / "norm_stats.json"
    manifest.write_text(json.dumps({}) + "\n")
    with pytest.raises(CheckpointError, match="truncated or changed"):
        load_pretrainer(donor.checkpoint)


def test_embodiments_may_be_named_and_must_then_agree(stage1: MakeSpec, demos: Path, other_robot: Path) -> None:
    named = [{"path": str(demos), "embodiment": "aloha"}, {"path": str(other_robot), "embodiment": "franka"}]
    notes = "\n".join(plan(stage1(data=named)).notes)
    assert "aloha (14 actions, 14 states), franka (10 actions, 7 states); 6 cameras" in notes
    assert "small DistilBERT with random weights" in notes
    with pytest.raises(UserError, match="action dimension 10, but"):
        plan(stage1(data=[{**source, "embodiment": "one"} for source in named]))
    with pytest.raises(UserError, match="the same episode in the embodiments a and b"):
        plan(stage1(data=[{"path": str(demos), "embodiment": name} for name in ("a", "b")]))


@pytest.mark.parametrize(
    ("stage", "fields", "message"),
    [
        (1, {"lora": {}}, "lora has no use in stage 1"),
        (1, {"text_data": [{"path": "x"}]}, "text_data has no use in stage 1"),
        (1, {"init_from": "base"}, "init_from has no use in stage 1"),
        (2, {"image_encoder": "tiny"}, "image_encoder belongs to stage 1"),
        (2, {"data": [{"path": "x", "embodiment": "y"}]}, "embodiment belongs to stage 1"),
        (2, {"data": [{"path": "x", "action_space": {}}]}, "action_space belongs to stage 1"),
        (2, {"init_from": None}, "stage 2 needs init_from: a base model directory"),
        (2, {"pretrained_embodiment": "x"}, "chooses from pretrained_expert"),
        (1, {"image_encoder": "vgg"}, "unknown image encoder 'vgg'; known: tiny, resnet-50"),
    ],
)
def test_fields_of_other_stages_are_refused(
    stage1: MakeSpec, make_spec: MakeSpec, stage: int, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        (stage1 if stage == 1 else make_spec)(**fields)

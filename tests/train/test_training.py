"""Training on real files: it learns, resumes exactly, refuses what cannot work, and leaves nothing half-written."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dexvla.act.policy import CheckpointPolicy
from dexvla.episodes.manifest import find_set
from dexvla.errors import CheckpointError, UserError
from dexvla.evaluate.run import open_loop
from dexvla.model import load_policy
from dexvla.model.checkpoint import read_manifest
from dexvla.spec import TrainSpec, seen_episodes, seen_seeds
from dexvla.train.data import EpisodeSamples
from dexvla.train.loop import train
from dexvla.train.optim import learning_rate, make_optimizer
from dexvla.train.runs import read_metrics, resolve_checkpoint
from tests.support.trainings import stop_at

MakeSpec = Callable[..., TrainSpec]


def losses(run: Path | str) -> list[float]:
    return [line["loss"] for line in read_metrics(Path(run) / "metrics.jsonl") if "loss" in line]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


def test_a_run_learns_and_leaves_the_documented_files(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(steps=60, batch_size=4, save_every=25, log_every=5, keep_checkpoints=2)
    result = train(spec)
    seen = losses(result.run)
    assert len(seen) == 12
    assert sum(seen[-3:]) < 0.5 * sum(seen[:3])
    assert sorted(path.name for path in (result.run / "checkpoints").iterdir()) == ["step-0000050", "step-0000060"]
    assert [path.name for path in (result.run / "state").iterdir()] == ["step-0000060"]
    names = {path.name for path in result.checkpoint.iterdir()}
    assert {"model.safetensors", "config.json", "norm_stats.json", "manifest.json", "tokenizer.json"} <= names
    manifest = read_manifest(result.checkpoint)
    assert (manifest["step"], manifest["stage"], len(manifest["episodes"])) == (60, 2, 3)
    assert TrainSpec.model_validate(manifest["run"]) == spec
    assert any((result.run / "tensorboard").iterdir())
    assert resolve_checkpoint(result.run) == result.checkpoint
    assert not list(result.run.rglob("*.tmp"))


def test_resuming_gives_the_same_losses_and_weights_as_no_break(make_spec: MakeSpec, tmp_path: Path) -> None:
    options = {"augment": True, "ema_decay": 0.8, "lora": {"rank": 4, "alpha": 8, "dropout": 0.1}, "steps": 6}
    whole = train(make_spec(output_dir=str(tmp_path / "whole"), **options))
    part = make_spec(output_dir=str(tmp_path / "parts"), **options)
    first = train(part, stop=stop_at(3))
    assert first.interrupted
    assert first.step == 3
    second = train(part, resume=True)
    assert not second.interrupted
    assert losses(second.run) == losses(whole.run)
    resumed, straight = weights(second.checkpoint), weights(whole.checkpoint)
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "average.safetensors"])
def test_a_flipped_byte_in_the_trainers_state_is_not_trained_from(
    make_spec: MakeSpec, tmp_path: Path, name: str
) -> None:
    spec = make_spec(output_dir=str(tmp_path / "run"), ema_decay=0.8, steps=4)
    first = train(spec, stop=stop_at(2))
    assert first.step == 2
    file = tmp_path / "run" / "state" / "step-0000002" / name
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"step-0000002/{name}: sha256 is .*restore its folder from a backup"):
        train(spec, resume=True)
    content[-3] ^= 1
    file.write_bytes(content)
    assert train(spec, resume=True).step == 4


def test_metrics_after_the_last_checkpoint_are_cut_when_resuming(make_spec: MakeSpec) -> None:
    spec = make_spec(steps=4, save_every=2)
    run = Path(train(spec).run)
    whole = losses(run)
    for folder in ("checkpoints", "state"):  # as if the trainer had been killed before its last save
        for child in (run / folder / "step-0000004").iterdir():
            child.unlink()
        (run / folder / "step-0000004").rmdir()
    assert not (run / "state" / "step-0000002").exists(), "only the newest state is kept, so this run starts anew"
    train(spec, resume=True)
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl")] == [1, 2, 3, 4]
    assert losses(run) == whole


def test_stage_3_starts_from_stage_2_and_keeps_its_shape(make_spec: MakeSpec, tmp_path: Path) -> None:
    stage2 = train(make_spec(output_dir=str(tmp_path / "stage2"), steps=2))
    stage3 = train(make_spec(stage=3, init_from=str(stage2.run), output_dir=str(tmp_path / "stage3"), steps=2))
    policy = load_policy(stage3.checkpoint)
    assert policy.spec.chunk_size == 8
    assert (policy.spec.cameras[0].height, policy.spec.cameras[0].width) == (56, 84)
    assert policy.spec.recorded_cameras[0].width == 64
    assert read_manifest(stage3.checkpoint)["started_from"] == {"checkpoint": str(stage2.checkpoint)}
    before, after = weights(stage2.checkpoint), weights(stage3.checkpoint)
    assert before.keys() == after.keys()
    with pytest.raises(CheckpointError, match="chunk_size is 9, the checkpoint was trained with 8"):
        train(make_spec(stage=3, init_from=str(stage2.run), output_dir=str(tmp_path / "other"), chunk_size=9))


def test_a_policy_trained_on_random_crops_acts_and_is_validated_on_the_middle(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run by its own setting, whatever the checkpoint that it starts from had."""
    made: list[tuple[bool, float]] = []
    usual = EpisodeSamples.__init__

    def spied(self: EpisodeSamples, **options: Any) -> None:
        made.append((options["settings"].augment, options["settings"].centre_crop))
        usual(self, **options)

    monkeypatch.setattr(EpisodeSamples, "__init__", spied)
    options = {"validation_fraction": 0.34, "validation_samples": 2, "validation_max_tokens": 4, "steps": 1}
    start: dict[str, Any] = {}
    for name, augmented, part in (("2", True, 0.95), ("3", False, 1.0), ("4", True, 0.95)):
        result = train(make_spec(augment=augmented, output_dir=str(tmp_path / name), **options, **start))
        start = {"stage": 3, "init_from": str(result.run)}
        assert json.loads((result.checkpoint / "config.json").read_text())["policy"]["centre_crop"] == part
        assert CheckpointPolicy.load(result.checkpoint, device="cpu")._model.spec.centre_crop == part
        assert set(made) == {(augmented, part), (False, part)}, "training samples, validation samples"
        made.clear()


def test_a_checkpoint_remembers_what_its_ancestors_saw(
    make_spec: MakeSpec, tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    first = make_episode(tmp_path / "a" / "episode_0.hdf5", seed=1, attributes={"seed": 1, "task": "transfer_cube"})
    make_episode(tmp_path / "b" / "episode_0.hdf5", seed=2, attributes={"seed": 2, "task": "transfer_cube"})
    stage2 = train(make_spec(data=[{"path": str(tmp_path / "a")}], steps=1, output_dir=str(tmp_path / "2")))
    stage3 = train(
        make_spec(
            stage=3,
            data=[{"path": str(tmp_path / "b")}],
            init_from=str(stage2.run),
            steps=1,
            output_dir=str(tmp_path / "3"),
        )
    )
    manifest = read_manifest(stage3.checkpoint)
    assert seen_seeds(manifest) == {("transfer_cube", 1), ("transfer_cube", 2)}
    assert len(seen_episodes(manifest) or ()) == 2
    with pytest.raises(UserError, match="the checkpoint was trained on all of its 1 episodes"):
        open_loop(stage3.checkpoint, find_set(str(first)), held_out_only=True)


def test_other_cameras_than_the_checkpoints_have_to_be_named(make_spec: MakeSpec, tmp_path: Path) -> None:
    stage2 = train(make_spec(steps=1, output_dir=str(tmp_path / "2"), cameras=["cam_high", "cam_left_wrist"]))
    more = {"stage": 3, "init_from": str(stage2.run), "steps": 1, "output_dir": str(tmp_path / "3")}
    with pytest.raises(CheckpointError, match="trained with cameras cam_high, cam_left_wrist, the data has cam_high, "):
        train(make_spec(**more))
    result = train(make_spec(**more, cameras=["cam_left_wrist", "cam_high"]))
    assert [camera.name for camera in load_policy(result.checkpoint).spec.cameras] == ["cam_left_wrist", "cam_high"]


def test_lora_trains_adapters_and_saves_plain_weights(make_spec: MakeSpec, tmp_path: Path, base_model: Path) -> None:
    result = train(make_spec(lora={"rank": 2, "towers": ["llm"]}, steps=2))
    saved = weights(result.checkpoint)
    assert not [name for name in saved if "lora" in name or "base_layer" in name]
    fresh = train(make_spec(output_dir=str(tmp_path / "one"), steps=1, freeze_backbone=True))
    start = weights(fresh.checkpoint)
    changed = {name for name in saved if not torch.equal(saved[name], start[name])}
    assert any("language_model.layers" in name for name in changed)
    assert not any("visual." in name for name in changed), "the vision tower was not chosen"
    assert any(name.startswith("expert.") for name in changed)


def test_frozen_parts_stay_as_they_are(make_spec: MakeSpec, tmp_path: Path) -> None:
    one = weights(train(make_spec(freeze_vision=True, steps=1)).checkpoint)
    three = weights(train(make_spec(freeze_vision=True, steps=3, output_dir=str(tmp_path / "b"))).checkpoint)
    vision = [name for name in one if "visual." in name]
    assert vision
    assert all(torch.equal(one[name], three[name]) for name in vision)
    language = [name for name in one if "language_model.layers" in name]
    assert any(not torch.equal(one[name], three[name]) for name in language)


def test_pretrained_expert_weights_are_taken_over(make_spec: MakeSpec, tmp_path: Path) -> None:
    donor = train(make_spec(output_dir=str(tmp_path / "donor"), steps=3))
    heir = make_spec(
        output_dir=str(tmp_path / "heir"), steps=1, pretrained_expert=str(donor.run), optim={"learning_rate": 1e-9}
    )
    result = train(heir)
    given, taken = weights(donor.checkpoint), weights(result.checkpoint)
    expert = [name for name in given if name.startswith("expert.")]
    assert expert
    assert all(torch.allclose(given[name], taken[name], atol=1e-6) for name in expert)


def test_an_unlabelled_episode_trains_with_finite_losses(
    make_spec: MakeSpec, tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    make_episode(tmp_path / "plain" / "episode_0.hdf5", labels=None)
    result = train(make_spec(data=[{"path": str(tmp_path / "plain")}], steps=2))
    assert all(loss == loss and loss < 100 for loss in losses(result.run))


def test_held_out_episodes_are_never_trained_on(make_spec: MakeSpec) -> None:
    result = train(make_spec(validation_fraction=0.34, steps=1))
    manifest = read_manifest(result.checkpoint)
    assert len(manifest["held_out"]) == 1
    assert not set(manifest["held_out"]) & set(manifest["episodes"])


def test_validation_is_logged_and_the_best_checkpoint_stays(make_spec: MakeSpec, demos: Path) -> None:
    spec = make_spec(validation_fraction=0.34, steps=6, save_every=1, keep_checkpoints=1, validation_samples=5,
                     validation_max_tokens=8, optim={"learning_rate": 3e-3, "schedule": "constant"})  # fmt: skip
    result = train(spec)
    lines = [line for line in read_metrics(result.run / "metrics.jsonl") if "val_loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert line["val_loss"] == pytest.approx(line["val_action_loss"] + line["val_llm_loss"])
        assert 0 <= line["val_token_accuracy"] <= 1
        assert line["val_action_error_1"] > 0
        assert "val_action_error_10" not in line, "chunks of 8 steps have no 10th"
    assert lines[-1]["val_loss"] < lines[0]["val_loss"]
    best = min(lines, key=lambda line: line["val_loss"])["step"]
    kept = {int(path.name[5:]) for path in (result.run / "checkpoints").iterdir()}
    assert kept == {best, 6}
    assert result.best is not None
    assert read_manifest(result.best)["validation"]["val_loss"] == pytest.approx(
        min(line["val_loss"] for line in lines)
    )


def test_towers_may_have_learning_rates_of_their_own(make_spec: MakeSpec, tmp_path: Path) -> None:
    one = train(make_spec(steps=1, output_dir=str(tmp_path / "start"), optim={"learning_rate": 1e-12}))
    optim = {"learning_rate": 1e-12, "llm_learning_rate": 1e-3, "warmup_ratio": 0.0}
    moved = weights(train(make_spec(steps=1, optim=optim)).checkpoint)
    start = weights(one.checkpoint)
    change = {name: float((moved[name] - start[name]).abs().max()) for name in moved}
    assert max(value for name, value in change.items() if ".visual." in name or name.startswith("expert.")) < 1e-6
    assert max(value for name, value in change.items() if ".language_model.layers" in name) > 5e-4


def test_norms_biases_and_tables_are_not_decayed(make_spec: MakeSpec) -> None:
    policy = load_policy(train(make_spec(steps=1)).checkpoint)
    optim = make_spec(optim={"weight_decay": 0.1}).optim
    decayed = {
        id(parameter)
        for group in make_optimizer(policy, optim).param_groups
        if group["weight_decay"]
        for parameter in group["params"]
    }
    names = {name: id(parameter) in decayed for name, parameter in policy.named_parameters()}
    assert any(names.values())
    assert not any(value for name, value in names.items() if "norm" in name or "bias" in name or "pos_embed" in name)


def test_adapters_on_the_expert_freeze_the_expert_itself(make_spec: MakeSpec, tmp_path: Path) -> None:
    donor = train(make_spec(output_dir=str(tmp_path / "donor"), steps=2))
    spec = make_spec(pretrained_expert=str(donor.run), lora={"rank": 2, "towers": ["expert"]}, steps=2)
    result = train(spec)
    given, taken = weights(donor.checkpoint), weights(result.checkpoint)
    state = load_file(result.run / "state" / "step-0000002" / "model.safetensors")
    assert all("lora_" in name for name in state if name.startswith("expert."))
    linear = [name for name in given if name.startswith("expert.") and name.endswith("qkv.weight")]
    assert linear
    assert any(not torch.equal(given[name], taken[name]) for name in linear), "the adapters are merged into the weights"


def test_two_processes_compute_what_one_computes_with_twice_the_batch(make_spec: MakeSpec, tmp_path: Path) -> None:
    one = make_spec(output_dir=str(tmp_path / "one"), batch_size=4, steps=3)
    two = make_spec(output_dir=str(tmp_path / "two"), batch_size=2, steps=3)
    train(one)
    (tmp_path / "two.yaml").write_text(two.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "dexvla.cli", "train", str(tmp_path / "two.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"init_from": "/nowhere/base"}, "/nowhere/base"),
        ({"data": [{"path": "/nowhere/data"}]}, "no such folder"),
        ({"cameras": ["cam_low"]}, "expected cam_low"),
        ({"validation_fraction": 0.99}, "no episode is left to train on"),
    ],
)
def test_input_that_cannot_work_is_refused_before_anything_is_written(
    make_spec: MakeSpec, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        train(make_spec(**fields))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_mixed_sources_and_repeated_episodes_are_refused(
    make_spec: MakeSpec, tmp_path: Path, demos: Path, seed_example: Path
) -> None:
    both = [{"path": str(demos)}, {"path": str(seed_example)}]
    with pytest.raises(UserError, match="action dimension 10, but"):
        train(make_spec(data=both))
    with pytest.raises(UserError, match="the same episode as"):
        train(make_spec(data=[{"path": str(demos)}, {"path": str(demos)}]))


def test_a_folder_in_use_or_with_another_run_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec(steps=1)
    train(spec)
    with pytest.raises(UserError, match="holds a run already"):
        train(spec)
    changed = spec.model_copy(update={"seed": 5})
    with pytest.raises(UserError, match="cannot resume with seed = 5, the run began with 0"):
        train(changed, resume=True)


def test_a_full_disk_keeps_the_earlier_checkpoint(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dexvla.model.checkpoint as checkpoints

    whole = checkpoints.save_policy
    count = []

    def fills_up(*args: Any, **options: Any) -> None:
        count.append(1)
        if len(count) == 2:
            with monkeypatch.context() as patch:
                patch.setattr("dexvla.files.fsync_path", full)
                whole(*args, **options)
        else:
            whole(*args, **options)

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dexvla.train.policies.save_policy", fills_up)
    with pytest.raises(UserError, match=r"No space left on device.*Checkpoints that were finished before are intact"):
        train(make_spec())
    run = tmp_path / "run"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-0000002"]
    load_policy(run / "checkpoints" / "step-0000002")


def test_a_killed_trainer_leaves_a_run_that_resumes(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(steps=400, save_every=3)
    (tmp_path / "spec.yaml").write_text(json.dumps(spec.model_dump(mode="json")))
    command = [sys.executable, "-m", "dexvla.cli", "train", str(tmp_path / "spec.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training 6") or (tmp_path / "run" / "state" / "step-0000006").exists():
            break
    process.kill()
    process.wait(timeout=30)
    run = tmp_path / "run"
    assert resolve_checkpoint(run).name >= "step-0000003"
    reached = int(resolve_checkpoint(run).name[5:])
    result = train(spec.model_copy(update={"steps": reached + 2}), resume=True)
    assert result.step == reached + 2
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl")] == list(range(1, reached + 3))


def test_the_learning_rate_follows_warm_up_and_schedule(make_spec: MakeSpec) -> None:
    optim = make_spec(optim={"learning_rate": 1.0, "warmup_ratio": 0.1, "schedule": "cosine"}).optim
    rates = [learning_rate(optim, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001


def test_quantised_adapters_train_resume_and_save_plain_weights(make_spec: MakeSpec, tmp_path: Path) -> None:
    lora = {"rank": 2, "alpha": 2, "towers": ["llm", "vision"], "quantise": True}
    spec = make_spec(lora=lora, steps=4, output_dir=str(tmp_path / "q"))
    whole = train(spec)
    plain = train(make_spec(steps=1, output_dir=str(tmp_path / "p"), optim={"learning_rate": 1e-12}))
    saved, start = weights(whole.checkpoint), weights(plain.checkpoint)
    assert saved.keys() == start.keys()
    assert all(saved[name].shape == start[name].shape for name in saved)
    name = next(name for name in saved if "language_model.layers" in name and name.endswith("down_proj.weight"))
    error = float((saved[name] - start[name]).norm() / start[name].norm())
    assert 0.02 < error < 0.3, "four bits keep the weights to some ten per cent"
    load_policy(whole.checkpoint)
    part = spec.model_copy(update={"output_dir": str(tmp_path / "r")})
    train(part, stop=stop_at(2))
    assert losses(train(part, resume=True).run) == losses(whole.run)


def test_quantising_without_the_package_is_one_line(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match=r"lora\.quantise needs bitsandbytes: pip install bitsandbytes"):
        train(make_spec(lora={"rank": 2, "quantise": True}))

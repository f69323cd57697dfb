"""What is said before a run starts, on real data and a real model."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from dexvla.errors import UserError
from dexvla.spec import TrainSpec
from dexvla.train.launch import Launch, read_launch
from dexvla.train.loop import plan, train
from dexvla.train.runs import Run

MakeSpec = Callable[..., TrainSpec]


def test_clean_data_has_nothing_to_say(make_spec: MakeSpec, tmp_path: Path) -> None:
    report = plan(make_spec())
    assert report.ok
    assert [note for note in report.notes if "squeezed" not in note and "enlarged" not in note] == []
    assert not (tmp_path / "run").exists(), "looking writes nothing"


def test_the_estimates_follow_from_the_model(make_spec: MakeSpec) -> None:
    full = plan(make_spec()).memory
    assert full["gradients"] == full["weights"], "everything trains, in float32"
    assert full["optimiser"] == 2 * full["weights"]
    frozen = plan(make_spec(freeze_backbone=True)).memory
    assert frozen["gradients"] < full["gradients"]
    assert plan(make_spec(batch_size=4)).memory["activations"] == 2 * full["activations"]
    assert plan(make_spec(gradient_checkpointing=True)).memory["activations"] < full["activations"]
    assert plan(make_spec(ema_decay=0.9)).memory["moving average"] == full["weights"]


def test_the_estimate_is_that_of_the_launch(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(precision="bf16", ema_decay=0.9)
    one = plan(spec)
    count = one.memory["weights"] // 4
    assert one.memory["16-bit copies"] == 2 * count
    assert plan(spec, Launch(processes=4)).memory["gradient buckets"] == 4 * count, "DDP's own copy"
    split = plan(spec, read_launch("zero2", 4))
    assert (split.memory["weights"], split.memory["gradient buckets"]) == (2 * count, 2 * count)
    assert (split.memory["gradients"], split.memory["optimiser"]) == (2 * count // 4, 12 * count // 4)
    assert split.memory["moving average"] == 4 * count // 4
    assert split.main_memory == {"loading": 4 * 4 * count, "checkpoint": 16 * count}
    away = plan(spec, read_launch("zero2-offload", 4))
    assert away.memory.keys() == {"weights", "gradient buckets", "activations"}
    assert (away.main_memory["optimiser"], away.main_memory["moving average"]) == (12 * count, 4 * count)
    stored = away.to_json()
    assert stored["launch"] == {"processes": 4, "machines": 1, "sharded": True, "offload": True}
    assert stored["main_memory_bytes"]["total"] == sum(away.main_memory.values())
    # DeepSpeed's own file, and a second machine
    (tmp_path / "ds.json").write_text(
        json.dumps({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}})
    )
    config = tmp_path / "own.yaml"
    config.write_text("distributed_type: DEEPSPEED\nnum_processes: 16\nnum_machines: 2\n"
                      "deepspeed_config: {deepspeed_config_file: ds.json}\n")  # fmt: skip
    assert read_launch(str(config), None) == Launch(processes=16, machines=2, sharded=True, offload=True)
    assert plan(spec, read_launch(str(config), None)).main_memory["optimiser"] == 6 * count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("[1]", "expected a configuration of accelerate, found list"),
        ("a: [", "not YAML"),
        ("num_processes: many", "num_processes is 'many', expected a number"),
        ("{num_processes: 3, num_machines: 2}", "3 processes do not spread evenly over 2 machines"),
        ("{distributed_type: DEEPSPEED, deepspeed_config: {zero_stage: 3}}", "asks for ZeRO stage 3"),
    ],
)
def test_a_launch_that_is_none_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    config = tmp_path / "config.yaml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_launch(str(config), None)
    assert "\n" not in str(caught.value)


def test_what_deepspeed_cannot_do_is_said_before_anything_is_read(make_spec: MakeSpec) -> None:
    for fields, message in (
        ({"precision": "bf16_pure"}, "no use under DeepSpeed"),
        ({"lora": {"quantise": True}}, "quantise"),
    ):
        with pytest.raises(UserError, match=message):
            plan(make_spec(data=[{"path": "/nowhere"}], **fields), Launch(processes=2, sharded=True))


def test_odd_data_is_noted(make_spec: MakeSpec, tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(
        tmp_path / "data" / "episode_0.hdf5",
        labels=("Reach for the cube", " "),
        attributes={"robot": "aloha_sim"},
    )
    with h5py.File(path, "a") as file:
        file["action"][:, 3] = 0.5
        file["action"][:, 4] = np.linspace(0, 5e-4, 24)
        file["action"][:, 6] *= 100
    report = plan(make_spec(data=[{"path": str(tmp_path / "data")}], image_height=112, image_width=112))
    text = "\n".join(report.notes)
    assert "action dimensions that never move: 3;" in text
    assert "move by less than 0.001: 4;" in text
    assert "gripper (action 6) goes from" in text
    assert "50% of the steps have a substep reasoning" in text
    assert "cam_high is enlarged from 48x64 to 112x112" in text
    assert "cam_high is squeezed" in text


def test_a_run_that_does_not_fit_on_the_disk_does_not_start(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(UserError, match=r"the run needs \d+ MiB for .* checkpoints .* 1 MiB are free"):
        train(make_spec())
    assert not (tmp_path / "run").exists()


def test_recordings_without_motion_are_refused(
    make_spec: MakeSpec, tmp_path: Path, make_data: Callable[..., object], make_episode: Callable[..., Path]
) -> None:
    path = make_episode(tmp_path / "data" / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["action"][:] = 0.25
    report = plan(make_spec(data=[{"path": str(tmp_path / "data")}]))
    assert report.errors == ["no action dimension ever moves; the recordings hold no motion"]
    assert dataclasses.asdict(report)["errors"] == report.to_json()["errors"]


def test_what_was_found_is_kept_with_the_run(make_spec: MakeSpec) -> None:
    shown: list[object] = []
    result = train(make_spec(steps=1), on_preflight=shown.append)
    stored = json.loads(Run(result.run).preflight_file.read_text())
    assert stored["ok"]
    assert stored["memory_bytes"]["total"] > stored["memory_bytes"]["weights"] > 0
    assert len(shown) == 1


def test_a_dimension_that_stands_still_far_from_nought_trains(
    make_spec: MakeSpec, tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    for number in range(2):
        path = make_episode(tmp_path / "data" / f"episode_{number}.hdf5", seed=number)
        with h5py.File(path, "a") as file:
            file["action"][:, 3] = 57_000.0
            file["action"][:, 4] = -90_000.0
    spec = make_spec(data=[{"path": str(tmp_path / "data")}], steps=1, save_every=1)
    notes = plan(spec).notes
    assert "action dimensions that never move: 3, 4; the policy learns their one value" in notes
    assert not [note for note in notes if "move by less than" in note]
    assert train(spec).metrics["loss"] < 10

"""The whole thread on the command line, as a newcomer types it: nothing to an evaluated checkpoint."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.commands import Done, dexvla, typed


def succeeds(*arguments: str | Path, cwd: Path, how: Callable[..., Done] = dexvla) -> str:
    done = how(*arguments, cwd=cwd)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr[-3000:]}"
    return done.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_record_check_train_evaluate_on_the_simulated_robot(tmp_path: Path) -> None:
    cwd = tmp_path
    succeeds("record", "--task", "transfer_cube", "--episodes", "2", "--seed", "7", "--out", "cube",
             "--height", "120", "--width", "160", "--json", "record.json", cwd=cwd, how=typed)  # fmt: skip
    recorded = read(tmp_path / "record.json")
    assert sorted(recorded["kept"] + recorded["failed"]) == [7, 8]
    succeeds("check", "cube", "--json", "check.json", cwd=cwd, how=typed)
    checked = read(tmp_path / "check.json")
    assert checked["ok"]
    assert all(file["label_coverage"] == 1 and file["label_source"] == "scripted" for file in checked["files"])
    succeeds("init-model", "base", cwd=cwd, how=typed)
    quick = ["--preset", "tiny", "--data", "cube", "--steps", "6", "--batch-size", "2", "--device", "cpu"]
    small = ["--set", "image_height=56", "--set", "image_width=84"]
    succeeds("train", "--stage", "2", *quick, *small, "--from", "base", "--out", "stage2", cwd=cwd, how=typed)
    succeeds(
        "train", "--stage", "3", *quick, "--from", "stage2", "--out", "stage3", "--json", "t.json", cwd=cwd, how=typed
    )
    checkpoint = tmp_path / read(tmp_path / "t.json")["checkpoint"]
    files = {path.name for path in checkpoint.iterdir()}
    assert {"model.safetensors", "config.json", "norm_stats.json", "manifest.json", "preprocessor_config.json"} <= files
    succeeds("eval", "stage3", "--robot", "aloha_sim", "--task", "transfer_cube", "--episodes", "2", "--seed", "1000",
             "--max-steps", "40", "--max-new-tokens", "8", "--json", "eval.json", "--videos", "videos",
             "--details", "outcomes", cwd=cwd, how=typed)  # fmt: skip
    report = read(tmp_path / "eval.json")
    assert [episode["seed"] for episode in report["episodes"]] == [1000, 1001]
    assert {"success", "steps", "held"} <= report["episodes"][0].keys()
    assert report["success_rate"] == sum(episode["success"] for episode in report["episodes"]) / 2
    assert report["interval"][0] <= report["success_rate"] <= report["interval"][1]
    assert report["settings"]["render"] == "fast", "the profile of the training frames"
    assert report["settings"]["execute_steps"] == 16
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 2
    lines = (tmp_path / "outcomes" / "episodes.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == report["episodes"]
    succeeds("eval", "stage3", "--data", "cube", "--stride", "100", "--plots", "plots", "--json", "open.json",
             "--details", "details", "--max-new-tokens", "8", cwd=cwd, how=typed)  # fmt: skip
    assert len(read(tmp_path / "open.json")["error"]) == 14
    assert len(list((tmp_path / "plots").glob("*.png"))) == 2
    details = read(tmp_path / "details" / "episode-000.json")
    assert details["action_names"][7] == "right_waist"
    assert len(details["predicted"]) == len(details["recorded"]) == len(details["steps"])


def test_the_upstream_example_goes_through_the_whole_thread(tmp_path: Path, seed_example: Path) -> None:
    """10 actions, 7 joints, cameras left, right and wrist, from a tasks.yaml entry, on the machine's replay robot."""
    (tmp_path / "tasks.yaml").write_text(
        f"fold_shirt:\n  dataset_dir: [{seed_example}]\n  episode_len: 100\n  camera_names: [left, right, wrist]\n"
    )
    cwd = tmp_path
    succeeds("check", "tasks.yaml#fold_shirt", "--quick", cwd=cwd)
    succeeds("stats", "tasks.yaml#fold_shirt", "--json", "stats.json", cwd=cwd)
    assert len(read(tmp_path / "stats.json")["action_min"]) == 10
    assert len(read(tmp_path / "stats.json")["qpos_mean"]) == 7
    succeeds("init-model", "base", cwd=cwd)
    run = {
        "preset": "tiny", "stage": 2, "data": [{"path": "tasks.yaml#fold_shirt"}], "init_from": "base",
        "output_dir": "stage2", "steps": 3, "batch_size": 2, "image_height": 56, "image_width": 84, "device": "cpu",
        "lora": {"rank": 4}, "validation_fraction": 0.5,
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(json.dumps(run))
    succeeds("train", "run.yaml", cwd=cwd)
    succeeds("train", "run.yaml", "--stage", "3", "--from", "stage2", "--out", "stage3", "--set", "lora=null",
             "--set", "image_height=null", "--set", "image_width=null", "--set", "expert=null", cwd=cwd)  # fmt: skip
    succeeds("eval", "stage3", "--data", "tasks.yaml#fold_shirt", "--held-out", "--stride", "50",
             "--max-new-tokens", "8", "--json", "open.json", cwd=cwd)  # fmt: skip
    report = read(tmp_path / "open.json")
    assert len(report["error"]) == 10
    assert len(report["episodes"]) == 1
    assert report["episodes"][0]["held_out"] is True
    refused = dexvla("eval", "stage3", "--robot", "aloha_sim", "--episodes", "1", cwd=cwd)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("dexvla: the simulated ALOHA has no camera") or (
        "camera" in refused.stderr.splitlines()[-1]
    )


def test_the_expert_first_then_stage_2_and_3(tmp_path: Path, demos: Path, seed_example: Path, base_model: Path) -> None:
    cwd = tmp_path
    quick = ["--preset", "tiny", "--steps", "2", "--batch-size", "2", "--device", "cpu"]
    small = ["--set", "image_height=56", "--set", "image_width=84"]
    succeeds("train", "--stage", "1", *quick, *small, "--data", demos, "--data", seed_example, "--out", "stage1",
             cwd=cwd)  # fmt: skip
    refused = dexvla("eval", "stage1", "--episodes", "1", cwd=cwd)
    assert refused.returncode == 1
    assert "cannot act; train stage 2 with pretrained_expert" in refused.stderr.strip().splitlines()[-1]
    succeeds("train", "--stage", "2", *quick, *small, "--data", demos, "--from", base_model, "--out", "stage2",
             "--set", "pretrained_expert=stage1", cwd=cwd)  # fmt: skip
    succeeds("train", "--stage", "3", *quick, "--data", demos, "--from", "stage2", "--out", "stage3", cwd=cwd)
    started = read(tmp_path / "stage2" / "checkpoints" / "step-0000002" / "manifest.json")["started_from"]
    assert started["pretrained_expert"]["loaded"].keys() == {"trunk", "layers of robot-14-14"}
    assert read(tmp_path / "stage3" / "checkpoints" / "step-0000002" / "manifest.json")["stage"] == 3


def test_a_trained_checkpoint_acts_on_the_replay_robot(tmp_path: Path, seed_example: Path, base_model: Path) -> None:
    from dexvla.act.base import PolicyInput
    from dexvla.act.chunks import ChunkExecutor, StampedChunk
    from dexvla.act.policy import CheckpointPolicy
    from dexvla.robots.replay import ReplayRobot
    from dexvla.spec import with_preset
    from dexvla.train.loop import train

    spec = with_preset(
        {"preset": "tiny", "stage": 2, "data": [{"path": str(seed_example)}], "init_from": str(base_model),
         "output_dir": str(tmp_path / "run"), "steps": 1, "batch_size": 1, "device": "cpu", "chunk_size": 8,
         "image_height": 56, "image_width": 84}
    )  # fmt: skip
    policy = CheckpointPolicy.load(train(spec).checkpoint, device="cpu", max_new_tokens=4)
    robot = ReplayRobot(path=seed_example / "episode_1.hdf5")
    robot.connect()
    executor = ChunkExecutor(chunk_size=8, action_dim=10, execute_steps=8)
    for step in range(16):
        observation = robot.observe()
        if executor.wants_chunk(step):
            images = {name: frame.image for name, frame in observation.frames.items()}
            chunk = policy.infer(PolicyInput(images=images, state=observation.qpos, instruction="Fold the shirt."))
            executor.add(StampedChunk(actions=chunk.actions, step=step, epoch=executor.epoch), step=step)
        planned = executor.action(step)
        assert planned is not None
        robot.act(planned.action)
    assert len(robot.actions) == 16
    assert np.isfinite(np.stack(list(robot.actions))).all()
    robot.disconnect()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["check", "nothing"], 1, "nothing: no such folder"),
        (["check", "empty"], 1, "no *.hdf5 files (or *.h5) in this folder or below"),
        (["check", "foreign"], 1, "1 of 1 files have errors"),
        (["stats", "foreign"], 1, "not a readable HDF5 file"),
        (["train", "--stage", "5"], 1, "stage"),
        (["train", "--stage", "2", "--preset", "huge"], 1, "unknown preset 'huge'; known: tiny"),
        (["train", "missing.yaml"], 1, "missing.yaml: cannot be read"),
        (["train", "broken.yaml"], 1, "broken.yaml: not YAML"),
        (["train", "typo.yaml"], 1, "stepps"),
        (["eval", "nothing"], 1, "nothing: no such folder; expected a checkpoint"),
        (["eval", "empty"], 1, "expected a checkpoint directory or the folder of a run"),
        (["serve", "nothing"], 1, "expected a checkpoint"),
        (["record", "--out", "x", "--robot", "nao"], 1, "unknown robot 'nao'; known: aloha_sim"),
        (["record", "--out", "x", "--cameras", "cam_nose"], 1, "cam_nose"),
        (["record", "--out", "x", "--episodes", "0"], 1, "episodes"),
        (["record", "--out", "file/x", "--episodes", "1"], 1, "file"),
        (["init-model", "full"], 1, "full"),
        (["init-model", "/proc/nothing/base"], 1, "/proc/nothing"),
        (["check", "empty", "--json", "/proc/nothing/x.json"], 1, "/proc/nothing: cannot be written"),
        (["eval", "empty", "--videos", "file"], 1, "file: cannot be written"),
        (["train", "--stage", "2", "--set", "image_height=["], 1, "the value is not YAML"),
        (["train", "--stage", "2", "--set", "preset=[1]"], 1, "unknown preset"),
        (["convert", "nothing", "x"], 1, "dexvla: give either --from (upstream, qwen2-vl, scaledp) or --to upstream"),
        (["convert", "--from", "upstream", "nothing", "x"], 1, "nothing: no such directory"),
        (["convert", "--from", "upstream", "empty", "x"], 1, "config.json: missing"),
        (["convert", "--from", "onnx", "empty", "x"], 2, "onnx"),
        (["convert", "--to", "upstream", "empty", "full"], 1, "full exists already"),
        (["record", "--colour", "red"], 2, "No such option: --colour"),
    ],
)
def test_what_a_user_did_wrong_is_one_line(tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "episode_0.hdf5").write_text("not HDF5")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("x")
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "typo.yaml").write_text(
        "{stage: 2, data: [{path: x}], init_from: b, output_dir: o, expert: tiny, stepps: 3}"
    )
    before = sorted(path for path in tmp_path.rglob("*"))
    done = dexvla(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("dexvla: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == []


def test_with_a_dash_standard_output_is_json_alone(tmp_path: Path, demos: Path) -> None:
    for command in (["check", demos], ["stats", demos]):
        done = typed(*command, "--json", "-", cwd=tmp_path)
        assert done.returncode == 0
        assert json.loads(done.stdout)
        assert "episode" in done.stderr, "what people read goes to standard error"


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path: Path, demos: Path, base_model: Path) -> None:
    """A real limit on the size of files, which writers meet as they meet a full disk."""
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)); sys.argv[0] = 'dexvla'; "
    run = limit + "from dexvla.cli import main; main()"

    def limited(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", run, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=300
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.strip().splitlines()[-1]

    assert "File too large" in limited("init-model", "base")
    assert list(tmp_path.iterdir()) == []
    line = limited("train", "--stage", "2", "--preset", "tiny", "--data", str(demos), "--from", str(base_model),
                   "--out", "run", "--steps", "1", "--batch-size", "1", "--device", "cpu", "--set", "image_height=56",
                   "--set", "image_width=84")  # fmt: skip
    assert "File too large" in line
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp") or path.suffix == ".safetensors"]


def test_training_on_files_with_nan_stops_before_it_begins(tmp_path: Path, demos: Path, base_model: Path) -> None:
    (tmp_path / "demos").mkdir()
    target = tmp_path / "demos" / "episode_0.hdf5"
    target.write_bytes((demos / "episode_0.hdf5").read_bytes())
    with h5py.File(target, "a") as file:
        file["observations/qpos"][2, 1] = np.inf
    done = dexvla("train", "--stage", "2", "--preset", "tiny", "--data", "demos", "--from", base_model, "--out", "run",
                  cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "qpos holds a value that is not finite; run `dexvla check` on it" in done.stderr
    assert not (tmp_path / "run").exists()


def test_ctrl_c_saves_a_checkpoint_and_the_run_resumes(tmp_path: Path, demos: Path, base_model: Path) -> None:
    arguments = ["train", "--stage", "2", "--preset", "tiny", "--data", str(demos), "--from", str(base_model), "--out",
                 "run", "--batch-size", "1", "--set", "image_height=56", "--set", "image_width=84", "--device", "cpu",
                 "--set", "log_every=1", "--set", "save_every=3"]  # fmt: skip
    command = [sys.executable, "-m", "dexvla.cli", *arguments, "--steps", "5000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("saving"):  # step 3
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "go on with --resume" in out
    reached = max(int(path.name.removeprefix("step-")) for path in (tmp_path / "run" / "checkpoints").iterdir())
    early = dexvla("train", "--resume", "--out", "run", "--steps", str(reached - 1), cwd=tmp_path)
    assert early.returncode == 1
    assert f"the run is at step {reached} already" in early.stderr
    done = dexvla("train", "--resume", "--out", "run", "--steps", str(reached + 1), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, reached + 2))


def test_ctrl_c_may_interrupt_a_line_that_is_being_written() -> None:
    code = (
        "import sys\nfrom dexvla.console import stop_on_signal\nwith stop_on_signal() as stop:\n"
        " print('ready', flush=True)\n while not stop():\n  sys.stderr.write('x' * 2**20)\nprint('in order')\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], env=buffered, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert process.stderr is not None
        process.stderr.read(1)  # a write has begun, and waits for us: the pipe holds less
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"in order\n"), err[-2000:]
    assert b"stopping: saving a checkpoint first" in err


def test_help_is_quick_to_read_and_loads_no_torch() -> None:
    code = "import sys; sys.argv = ['dexvla', 'train', '--help']\nfrom dexvla.cli import main\ntry:\n    main()\n"
    code += "except SystemExit as done:\n    assert done.code == 0\nassert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"}
    )
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout

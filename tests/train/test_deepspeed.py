"""Real DeepSpeed ZeRO-2 on CPU processes: the steps of a run without it, and the same files."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import dexvla.train.sharded
from dexvla.errors import UserError
from dexvla.model import load_policy
from dexvla.model.checkpoint import read_manifest
from dexvla.spec import TrainSpec
from dexvla.train import configs
from dexvla.train.configs import AccelerateConfig, accelerate_config
from dexvla.train.loop import train
from dexvla.train.runs import read_metrics
from tests.support.environments import DEEPSPEED, PipFailed
from tests.support.paths import ROOT

pytestmark = [pytest.mark.download, pytest.mark.slow]

MakeSpec = Callable[..., TrainSpec]
STEADY = {"learning_rate": 5e-4, "schedule": "constant", "warmup_ratio": 0.0}  # the same rate whatever `steps` is


@pytest.fixture(scope="session")
def deepspeed_python() -> Path:
    """An interpreter with DeepSpeed beside everything else; skips only where pip cannot install it."""
    try:
        return DEEPSPEED.python()
    except PipFailed as error:
        pytest.skip(f"pip cannot install DeepSpeed: {error}")


@pytest.fixture
def launch(deepspeed_python: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(
        spec: TrainSpec, config: Path, *flags: str, processes: int = 2, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "spec.yaml"
        file.write_text(spec.model_dump_json())
        command = [deepspeed_python, "-m", "accelerate.commands.launch", "--config_file", config]
        command += ["--num_processes", str(processes), "--main_process_port", "0"]
        command += ["-m", "dexvla.cli", "train", file, *flags]
        surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        surroundings["CUDA_VISIBLE_DEVICES"] = ""
        done = subprocess.run(command, capture_output=True, text=True, env=surroundings, timeout=300, check=False)
        assert done.returncode == 0 or not check, done.stderr[-4000:]
        return done

    return run


def config(name: AccelerateConfig) -> Path:
    return Path(configs.__file__).parent / f"{name.value.replace('-', '_')}.yaml"


def values(run: str | Path, key: str = "loss") -> list[float]:
    return [line[key] for line in read_metrics(Path(run) / "metrics.jsonl") if key in line]


def close(one: Path, other: Path, *, atol: float) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype, name
        assert torch.allclose(second[name], value, atol=atol, rtol=1e-3), name


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(
    make_spec: MakeSpec, tmp_path: Path, launch: Any
) -> None:
    options = {
        "grad_accumulation": 2,
        "ema_decay": 0.7,
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
        "validation_fraction": 0.34,
        "validation_samples": 4,
        "validation_max_tokens": 4,
        "optim": {**STEADY, "weight_decay": 0.1, "llm_learning_rate": 1e-3},
    }
    one = train(make_spec(output_dir=str(tmp_path / "one"), batch_size=4, **options))
    two = make_spec(output_dir=str(tmp_path / "two"), batch_size=2, **options)
    launch(two.model_copy(update={"steps": 2}), config(AccelerateConfig.ZERO2))
    launch(two, config(AccelerateConfig.ZERO2_OFFLOAD), "--resume")
    for key in ("loss", "grad_norm", "learning_rate", "val_loss"):
        assert values(tmp_path / "two", key) == pytest.approx(values(one.run, key), rel=1e-3), key
    checkpoint = tmp_path / "two" / "checkpoints" / one.checkpoint.name
    close(one.checkpoint / "model.safetensors", checkpoint / "model.safetensors", atol=2e-4)
    states = (one.run / "state" / one.checkpoint.name, tmp_path / "two" / "state" / one.checkpoint.name)
    for file in ("model", "optimizer", "average"):
        close(states[0] / f"{file}.safetensors", states[1] / f"{file}.safetensors", atol=2e-4)
    assert load_policy(checkpoint).norm_stats is not None
    assert read_manifest(checkpoint)["precision"].startswith("float32 weights")


def test_a_run_goes_on_with_and_without_deepspeed(make_spec: MakeSpec, tmp_path: Path, launch: Any) -> None:
    options: dict[str, Any] = {"optim": STEADY, "ema_decay": 0.7}
    whole = train(make_spec(output_dir=str(tmp_path / "whole"), steps=6, **options))
    parts = make_spec(output_dir=str(tmp_path / "parts"), **options)
    train(parts.model_copy(update={"steps": 2}))
    launch(parts.model_copy(update={"steps": 4}), config(AccelerateConfig.ZERO2), "--resume", processes=1)
    last = train(parts.model_copy(update={"steps": 6}), resume=True)
    assert values(last.run) == pytest.approx(values(whole.run), rel=1e-4)
    close(whole.checkpoint / "model.safetensors", last.checkpoint / "model.safetensors", atol=2e-5)


def test_bfloat16_keeps_its_float32_weights_through_checkpoint_and_resume(
    make_spec: MakeSpec, tmp_path: Path, launch: Any
) -> None:
    options: dict[str, Any] = {
        "optim": STEADY,
        "ema_decay": 0.7,
        "precision": "bf16",
        "grad_accumulation": 2,
        "validation_fraction": 0.34,
        "validation_samples": 4,
        "validation_max_tokens": 4,
    }
    exact = train(make_spec(output_dir=str(tmp_path / "exact"), **{**options, "precision": "float32"}, batch_size=4))
    whole, parts = (make_spec(output_dir=str(tmp_path / name), **options) for name in ("whole", "parts"))
    launch(whole, config(AccelerateConfig.ZERO2))
    launch(parts.model_copy(update={"steps": 2}), config(AccelerateConfig.ZERO2))
    launch(parts, config(AccelerateConfig.ZERO2), "--resume")
    assert values(tmp_path / "whole") == pytest.approx(values(exact.run), rel=0.03)
    assert values(tmp_path / "whole", "val_loss") == pytest.approx(values(exact.run, "val_loss"), rel=0.03)
    for key in ("loss", "val_loss"):
        assert values(tmp_path / "parts", key) == pytest.approx(values(tmp_path / "whole", key), rel=1e-5)
    name = exact.checkpoint.name
    for file in (
        f"checkpoints/{name}/model",
        f"state/{name}/model",
        f"state/{name}/optimizer",
        f"state/{name}/average",
    ):
        paths = [tmp_path / run / f"{file}.safetensors" for run in ("whole", "parts")]
        close(*paths, atol=1e-6)
    trained = load_file(tmp_path / "whole" / "state" / name / "model.safetensors")
    assert all(value.dtype is torch.float32 for value in trained.values())
    assert any(not torch.equal(value, value.bfloat16().float()) for value in trained.values())
    checkpoint = tmp_path / "whole" / "checkpoints" / name
    assert load_policy(checkpoint).norm_stats is not None
    assert "float32 master weights split" in read_manifest(checkpoint)["precision"]


def test_what_does_not_fit_is_one_line(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launch: Any
) -> None:
    wrong = yaml.safe_load(config(AccelerateConfig.ZERO2).read_text())
    wrong["deepspeed_config"]["zero_stage"] = 3
    (tmp_path / "zero3.yaml").write_text(yaml.safe_dump(wrong))
    done = launch(make_spec(), tmp_path / "zero3.yaml", processes=1, check=False)
    assert done.returncode
    assert "dexvla: DeepSpeed's configuration asks for ZeRO stage 3; runs here take stage 2" in done.stderr

    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr(configs, "has_deepspeed", lambda: False)
    monkeypatch.setattr(dexvla.train.sharded, "has_deepspeed", lambda: False)
    with pytest.raises(
        UserError, match=r"DeepSpeed is not installed here; install it with: pip install .*\[deepspeed\]"
    ):
        accelerate_config(AccelerateConfig.ZERO2)
    with pytest.raises(UserError, match="DeepSpeed is not installed here"):
        train(make_spec())
    monkeypatch.setattr(dexvla.train.sharded, "has_deepspeed", lambda: True)
    with pytest.raises(UserError, match="bf16_pure has no use under DeepSpeed; take bf16"):
        train(make_spec(precision="bf16_pure"))
    with pytest.raises(UserError, match=r"lora.quantise does not run under DeepSpeed"):
        train(make_spec(lora={"quantise": True}))
    with pytest.raises(UserError, match="stage 1 does not run under DeepSpeed"):
        train(make_spec(stage=1, init_from=None))
    with pytest.raises(UserError, match="start the run with accelerate launch"):
        train(make_spec())
    assert not (tmp_path / "run").exists()

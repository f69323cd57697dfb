"""`dexvla train`: its flags come from the fields of TrainSpec, and every one of them reaches the spec."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dexvla.cli import app
from dexvla.spec import Group, TrainSpec
from dexvla.spec.fields import form_fields

START = ["train", "--stage", "2", "--data", "there", "--from", "base", "--out", "run", "--print-spec"]


def printed(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*START, "--expert", "tiny", *arguments])
    assert result.exit_code == 0, result.output
    found: dict[str, object] = yaml.safe_load(result.output)
    return found


def test_every_field_that_holds_one_value_has_a_flag() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "dexvla.cli", "train", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "TERM": "dumb", "PATH": ""},
    ).stdout
    names = {"init_from": "from", "output_dir": "out"}
    for field in form_fields(TrainSpec):
        assert f"--{names.get(field.name, field.name).replace('_', '-')} " in shown, field.name
    panels = [shown.index(f"Settings: {group.value}") for group in Group]
    assert panels == sorted(panels), "groups stand in the order of the form"


def test_flags_of_every_kind_reach_the_spec() -> None:
    spec = printed(
        *("--precision", "bf16", "--no-augment", "--seed", "7", "--ema-decay", "0.99", "--fusion", "pooled"),
        *("--device", "cpu", "--name", "cube", "--steps", "3", "--batch-size", "2"),
    )
    assert (spec["precision"], spec["augment"], spec["seed"], spec["ema_decay"]) == ("bf16", False, 7, 0.99)
    assert (spec["fusion"], spec["device"], spec["name"]) == ("pooled", "cpu", "cube")
    assert (spec["init_from"], spec["output_dir"], spec["steps"], spec["batch_size"]) == ("base", "run", 3, 2)


def test_flags_of_fields_inside_others_leave_their_neighbours(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("optim: {eps: 1.0e-7, weight_decay: 0.1}\nlora: null\n", encoding="utf-8")
    spec = printed(str(file), "--optim.weight-decay", "0.2", "--lora.rank", "8", "--lora.quantise")
    optim, lora = spec["optim"], spec["lora"]
    assert isinstance(optim, dict)
    assert (optim["eps"], optim["weight_decay"]) == (1e-7, 0.2)
    assert isinstance(lora, dict), "a field inside lora switches it on, also where a file leaves it off"
    assert (lora["rank"], lora["alpha"], lora["quantise"]) == (8, 256, True)
    assert printed(str(file), "--optim.eps", "1", "--set", "optim.eps=2")["optim"]["eps"] == 2  # type: ignore[index]


@pytest.mark.parametrize(
    "wrong",
    [["--stage", "4"], ["--device", "gpu"], ["--optim.eps", "0"], ["--set", "steps.more=1"]],
)
def test_what_the_spec_refuses_is_refused(wrong: list[str]) -> None:
    assert CliRunner().invoke(app, [*START, "--steps", "2", "--expert", "tiny", *wrong]).exit_code != 0

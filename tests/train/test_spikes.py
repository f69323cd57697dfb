"""A step with a loss or gradient norm out of line never poisons a run: it is named, and left out or marked."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dexvla.errors import UserError
from dexvla.spec import TrainSpec
from dexvla.train import loop
from dexvla.train.loop import train
from dexvla.train.runs import read_metrics
from dexvla.train.spikes import MOST_IN_A_ROW, Spikes, Verdict
from tests.support.trainings import stop_at

MakeSpec = Callable[..., TrainSpec]
Poison = Callable[[dict[int, float]], None]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """By step (from 0): what all gradients of one weight are multiplied by, in every run from then on."""

    make = loop.new_task

    def prepare(factors: dict[int, float]) -> None:
        def hooked(spec: TrainSpec, data: Any) -> Any:
            task = make(spec, data)
            weight = next(value for value in task.model.expert.parameters() if value.requires_grad)
            steps: list[int] = []
            sums = task.sums

            def counted(*arguments: Any) -> Any:
                steps.append(len(steps))
                return sums(*arguments)

            monkeypatch.setattr(task, "sums", counted)
            weight.register_hook(lambda gradient: gradient * factors.get(steps[-1], 1.0))
            return task

        monkeypatch.setattr(loop, "new_task", hooked)

    return prepare


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_what_is_not_finite_reaches_no_weight_and_is_named(make_spec: MakeSpec, poison: Poison, factor: float) -> None:
    poison({2: factor})
    spec = make_spec(steps=4, save_every=1, log_every=1)
    with pytest.raises(
        UserError, match=r"gradients (inf|nan) at step 3, on .*\.hdf5 step \d+, .*skip-spikes 20"
    ) as told:
        train(spec)
    assert "The last checkpoint is intact" in str(told.value)
    run = Path(spec.output_dir)
    assert [path.name for path in (run / "state").iterdir()] == ["step-0000002"]
    stored = load_file(run / "state" / "step-0000002" / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in stored.values())


def test_the_run_goes_on_without_the_batch_that_stopped_it(make_spec: MakeSpec, poison: Poison) -> None:
    poison({2: math.inf})
    spec = make_spec(steps=4, save_every=2, log_every=1)
    with pytest.raises(UserError):
        train(spec)
    poison({0: math.inf})  # the resumed run's first step is the third
    notes: list[str] = []
    again = spec.model_copy(update={"optim": spec.optim.model_copy(update={"skip_spikes": 50.0})})
    result = train(again, resume=True, on_note=notes.append)
    assert result.step == 4
    (note,) = notes
    assert note.startswith("step 3: left out: ")
    assert ".hdf5 step " in note
    lines = {line["step"]: line for line in read_metrics(result.run / "metrics.jsonl")}
    assert lines[3]["skipped"] == 1
    assert "loss" not in lines[3]
    assert "skipped" not in lines[4]
    assert all(torch.isfinite(value).all() for value in weights(result.checkpoint).values())


def test_a_step_that_is_left_out_changes_nothing_but_its_number(make_spec: MakeSpec, poison: Poison) -> None:
    poison({2: math.inf})
    spec = make_spec(steps=3, save_every=2, log_every=1, keep_checkpoints=3, ema_decay=0.5, optim={"skip_spikes": 50})
    result = train(spec)
    before, after = (weights(result.run / "checkpoints" / f"step-000000{step}") for step in (2, 3))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_of_nothing_but_spikes_ends(make_spec: MakeSpec, poison: Poison) -> None:
    poison(dict.fromkeys(range(40), math.nan))
    with pytest.raises(UserError, match="the 10th in a row"):
        train(make_spec(steps=40, save_every=40, optim={"skip_spikes": 50}))


def test_a_spike_is_marked_after_a_resume_as_without_one(make_spec: MakeSpec, poison: Poison, tmp_path: Path) -> None:
    poison({24: 1e4})
    notes: list[str] = []
    whole = train(make_spec(output_dir=str(tmp_path / "whole"), steps=26, save_every=26), on_note=notes.append)
    poison({})
    part = make_spec(output_dir=str(tmp_path / "parts"), steps=26, save_every=26)
    train(part, stop=stop_at(22))
    poison({2: 1e4})
    resumed_notes: list[str] = []
    resumed = train(part, resume=True, on_note=resumed_notes.append)
    assert notes == resumed_notes
    assert notes[0].startswith("step 25: loss ")
    for run in (whole.run, resumed.run):
        assert [line["step"] for line in read_metrics(run / "metrics.jsonl") if "spikes" in line] == [25]


def test_what_stands_out_is_measured_by_the_last_steps() -> None:
    spikes = Spikes(skip=5.0)
    for number in range(19):
        spikes.remember(1.0, 2.0, taken=True)
        assert spikes.takes(1e6, 1e6), f"{number}: too few to judge by"
    spikes.remember(1.0, 2.0, taken=True)
    assert spikes.takes(5.0, 10.0)
    assert not spikes.takes(5.1, 2.0)
    assert not spikes.takes(1.0, 10.1)
    assert not spikes.takes(math.nan, 1.0)
    assert spikes.judge(10.0, 20.0) is Verdict.ORDINARY
    assert spikes.judge(10.1, 2.0) is Verdict.SPIKE
    assert spikes.judge(1.0, math.inf) is Verdict.NOT_FINITE
    again = Spikes(skip=5.0)
    again.restore(spikes.to_json())
    assert not again.takes(5.1, 2.0)
    for _ in range(MOST_IN_A_ROW):
        again.remember(9.0, 9.0, taken=False)
    assert again.in_a_row == MOST_IN_A_ROW
    assert not again.takes(5.1, 2.0), "what was left out is no measure"
    assert Spikes(skip=None).takes(1e9, 1e9)

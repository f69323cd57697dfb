"""A run that finds no room in memory says what would fit, and goes on with it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dexvla.errors import OutOfMemoryError, UserError
from dexvla.spec import TrainSpec
from dexvla.train import loop, memory
from dexvla.train.loop import plan, train

MakeSpec = Callable[..., TrainSpec]


def test_what_would_fit_is_named_with_its_size(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(batch_size=8)
    needed = plan(spec).memory
    total, activations = sum(needed.values()), needed["activations"]
    monkeypatch.setattr(memory, "_main_memory", lambda: total - activations // 2)
    (note,) = [note for note in plan(spec).notes if note.startswith("needs about")]
    assert "batch_size 4 with grad_accumulation 2 would need" in note
    fitting = spec.model_copy(update={"batch_size": 4, "grad_accumulation": 2})
    assert not [note for note in plan(fitting).notes if note.startswith("needs about")], "what is advised fits"
    monkeypatch.setattr(memory, "_main_memory", lambda: total - activations)
    (note,) = [note for note in plan(spec).notes if note.startswith("needs about")]
    assert "no batch_size fits: use lora, a smaller model" in note


def test_a_batch_is_advised_in_parts_that_make_it_up(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the samples of a step would be others, and a resumed run refuses it."""
    spec = make_spec(batch_size=6, grad_accumulation=2)
    needed = plan(spec).memory
    monkeypatch.setattr(memory, "_main_memory", lambda: sum(needed.values()) - needed["activations"] // 6)
    (note,) = [note for note in plan(spec).notes if note.startswith("needs about")]
    assert "batch_size 3 with grad_accumulation 4 would need" in note
    assert "batch_size 2 with grad_accumulation 6 would need" in note
    monkeypatch.undo()
    spec = make_spec(batch_size=5)
    five = plan(spec).memory
    monkeypatch.setattr(memory, "_main_memory", lambda: sum(five.values()) - five["activations"] // 2)
    (note,) = [note for note in plan(spec).notes if note.startswith("needs about")]
    assert "batch_size 1 with grad_accumulation 5 would need" in note
    assert "batch_size 2" not in note


def test_a_run_out_of_memory_says_what_saves_how_much_and_resumes_with_it(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(make_spec(output_dir=str(tmp_path / "straight"), batch_size=4, steps=4))
    spec = make_spec(output_dir=str(tmp_path / "short"), batch_size=4, steps=4)
    make = loop.new_task

    def narrow(*arguments: object) -> object:
        task = make(*arguments)
        sums, steps = task.sums, iter(range(100))

        def short(*given: object) -> object:
            if next(steps) == 2:
                torch.empty(2**60, dtype=torch.uint8)  # what no machine has
            return sums(*given)

        monkeypatch.setattr(task, "sums", short)
        return task

    with monkeypatch.context() as patched:
        patched.setattr(loop, "new_task", narrow)
        with pytest.raises(OutOfMemoryError, match="The last checkpoint is intact") as told:
            train(spec)
    assert "batch_size 2 with grad_accumulation 2 saves about" in told.value.advice
    assert "a resumed run takes either" in str(told.value)
    again = spec.model_copy(update={"batch_size": 2, "grad_accumulation": 2, "gradient_checkpointing": True})
    resumed = train(again, resume=True)
    assert resumed.step == 4
    one, other = (load_file(result.checkpoint / "model.safetensors") for result in (straight, resumed))
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one), "the same samples, summed in halves"
    with pytest.raises(UserError, match="cannot resume with batch_size = 3"):
        train(spec.model_copy(update={"batch_size": 3}), resume=True)

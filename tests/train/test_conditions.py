"""What a frozen backbone makes of each step, kept on disk: the same numbers, and nothing of it is ever out of date."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from dexvla.errors import UserError
from dexvla.model import DexVLA
from dexvla.spec import Fusion, TrainSpec
from dexvla.train.conditions import SamplesFromMeans, check_kept
from dexvla.train.loop import train
from dexvla.train.policies import PolicyTask
from dexvla.train.prepare import prepare_data
from dexvla.train.runs import read_metrics

MakeSpec = Callable[..., TrainSpec]
FROZEN = {"freeze_backbone": True, "augment": False}


def task_of(spec: TrainSpec) -> PolicyTask:
    return PolicyTask(spec, prepare_data(spec))


def step(task: PolicyTask, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    """Sum of the action losses and the gradients."""
    task.model.zero_grad()
    loss = task.sums(task.model, batch)[0]
    loss.backward()
    parameters = task.model.named_parameters()
    return float(loss.detach()), {name: value.grad.clone() for name, value in parameters if value.grad is not None}


@pytest.mark.parametrize("fusion", ["film", "pooled"])
def test_a_step_from_the_means_is_the_same_step(make_spec: MakeSpec, fusion: str) -> None:
    """Loss and every gradient bit by bit, from the means of that very batch; from those on disk, which were read in
    other batches, to the rounding of a float32 product."""
    task = task_of(make_spec(fusion=fusion, initialisation="upstream", **FROZEN))
    samples = task.samples(None)
    batch = samples.collate([samples[place, 7 * place] for place in range(4)])
    loss, gradients = step(task, batch)
    with torch.no_grad():
        means = task.model.means(batch)
    motion = {name: batch[name] for name in ("actions", "states", "is_pad", "noise", "timesteps")}
    from_means, same = step(task, {"means": means, **motion})
    assert from_means == loss
    assert same.keys() == gradients.keys()
    assert all(torch.equal(same[name], gradients[name]) for name in gradients)


def test_kept_samples_are_the_samples_in_their_order(make_spec: MakeSpec, tmp_path: Path) -> None:
    usual = task_of(make_spec(**FROZEN)).samples(None)
    task = task_of(make_spec(kept_conditions=str(tmp_path / "kept"), **FROZEN))
    seen: list[tuple[int, int]] = []
    task.prepare_conditions(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(task.train), len(task.train))
    kept = task.samples(None)
    assert isinstance(kept, SamplesFromMeans)
    assert len(kept) == len(usual)
    for place, index in enumerate((0, 1, len(kept) // 2, len(kept) - 1)):
        one, other = kept[place, index], usual[place, index]
        assert all(torch.equal(one[name], other[name]) for name in one.keys() - {"means"})
        with torch.no_grad():
            alone = task.model.means(usual.collate([other]))[0]
        torch.testing.assert_close(one["means"], alone, atol=2e-5, rtol=1e-4)
        assert not torch.equal(one["means"], kept[place, (index + 40) % len(kept)]["means"])


def test_what_is_on_disk_is_what_would_be_computed_anew(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(kept_conditions=str(tmp_path / "kept"), **FROZEN)
    task = task_of(spec)
    task.prepare_conditions(lambda done, total: None)
    files = sorted((tmp_path / "kept").rglob("*.npy"))
    before = [file.read_bytes() for file in files]
    times = [file.stat().st_mtime_ns for file in files]
    task_of(spec).prepare_conditions(lambda done, total: None)
    assert [file.stat().st_mtime_ns for file in files] == times, "computed although it was there"
    for file in files:
        file.unlink()
    task_of(spec).prepare_conditions(lambda done, total: None)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.model_copy(update={"instruction": "Something else."}),
        lambda entry: entry.model_copy(
            update={"substeps": tuple(s.model_copy(update={"text": f"{s.text} now"}) for s in entry.substeps)}
        ),
    ],
)
def test_other_words_are_other_files(make_spec: MakeSpec, tmp_path: Path, change: Callable[[Any], Any]) -> None:
    task = task_of(make_spec(kept_conditions=str(tmp_path / "kept"), **FROZEN))
    kept = task._kept(task._samples(task.train, augment=False))
    entry = task.train[0]
    assert kept.path(change(entry)) != kept.path(entry)


def test_another_backbone_has_other_files(make_spec: MakeSpec, tmp_path: Path) -> None:
    task = task_of(make_spec(kept_conditions=str(tmp_path / "kept"), **FROZEN))
    before = task._kept(task._samples(task.train, augment=False)).path(task.train[0])
    with torch.no_grad():
        next(task.model.backbone.parameters()).view(-1)[0] += 1e-3
    assert task._kept(task._samples(task.train, augment=False)).path(task.train[0]) != before


def test_a_run_learns_the_same_from_kept_conditions_and_asks_no_backbone(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = make_spec(output_dir=str(tmp_path / "usual"), **FROZEN)
    kept = make_spec(output_dir=str(tmp_path / "kept run"), kept_conditions=str(tmp_path / "kept"), **FROZEN)
    train(usual)
    task_of(kept).prepare_conditions(lambda done, total: None)
    monkeypatch.setattr(DexVLA, "_read", lambda *args, **options: pytest.fail("the backbone was asked"))
    result = train(kept)
    one, other = (
        [line["action_loss"] for line in read_metrics(run / "metrics.jsonl") if "action_loss" in line]
        for run in (tmp_path / "usual", tmp_path / "kept run")
    )
    np.testing.assert_allclose(one, other, rtol=1e-4)
    weights = load_file(result.checkpoint / "model.safetensors")
    expected = load_file(tmp_path / "usual" / "checkpoints" / result.checkpoint.name / "model.safetensors")
    for name in expected:
        torch.testing.assert_close(weights[name], expected[name], atol=3e-4, rtol=1e-2, msg=name)


def test_a_damaged_file_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    task = task_of(make_spec(kept_conditions=str(tmp_path / "kept"), **FROZEN))
    task.prepare_conditions(lambda done, total: None)
    for file in (tmp_path / "kept").rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"missing or damaged .* delete it and resume"):
        task.samples(None)[0, 0]


@pytest.mark.parametrize(
    "fields", [{"freeze_backbone": False}, {"augment": True}, {"text_data": [{"path": "questions.jsonl"}]}]
)
def test_what_changes_from_step_to_step_cannot_be_kept(make_spec: MakeSpec, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="it needs freeze_backbone, augment: false and no text_data"):
        make_spec(**{"kept_conditions": "kept", **FROZEN, **fields})


def test_wordings_that_are_drawn_cannot_be_kept(make_spec: MakeSpec) -> None:
    spec = make_spec(kept_conditions="kept", **FROZEN)
    entry = task_of(spec).train[0].model_copy(update={"paraphrases": ("Another wording.",)})
    with pytest.raises(UserError, match="set use_paraphrases to false"):
        check_kept(spec, Fusion.FILM, [entry])
    with pytest.raises(UserError, match="tinyvla"):
        check_kept(spec, Fusion.TINYVLA, [])

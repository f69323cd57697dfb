"""Several noise samples per training sample: the expert learns from each, the backbone reads once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from dexvla.model.backbone import Backbone
from dexvla.spec import TrainSpec
from dexvla.train.loop import train
from dexvla.train.policies import PolicyTask
from dexvla.train.prepare import prepare_data
from dexvla.train.runs import read_metrics
from tests.support.trainings import stop_at

MakeSpec = Callable[..., TrainSpec]


def task_of(spec: TrainSpec) -> PolicyTask:
    return PolicyTask(spec, prepare_data(spec))


def metrics(run: Path, name: str) -> list[float]:
    return [line[name] for line in read_metrics(run / "metrics.jsonl") if name in line]


def test_the_first_draw_is_the_only_one_of_a_run_with_one(make_spec: MakeSpec) -> None:
    one, four = (task_of(make_spec(noise_draws=draws)).samples(None)[3, 5] for draws in (1, 4))
    assert one["noise"].shape == (8, 14)
    assert four["noise"].shape == (4, 8, 14)
    assert torch.equal(four["noise"][0], one["noise"])
    assert int(four["timesteps"][0]) == int(one["timesteps"])
    assert len({float(noise[0, 0]) for noise in four["noise"]}) == 4
    assert len(set(four["timesteps"].tolist())) > 1
    rest = one.keys() - {"noise", "timesteps"}
    assert all(torch.equal(one[name], four[name]) for name in rest)


@pytest.mark.parametrize("expert", ["tiny", "unet-tiny"])
def test_losses_and_gradients_are_means_over_the_draws(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, expert: str
) -> None:
    task = task_of(make_spec(noise_draws=3, expert=expert, initialisation="upstream"))
    samples, read = task.samples(None), []
    batch = samples.collate([samples[place, 10 * place] for place in range(3)])
    usual = Backbone.language
    monkeypatch.setattr(Backbone, "language", lambda *args, **options: read.append(1) or usual(*args, **options))

    def step(inputs: dict[str, torch.Tensor]) -> tuple[list[float], dict[str, torch.Tensor]]:
        task.model.zero_grad()
        sums = task.sums(task.model, inputs)
        torch.stack(sums).sum().backward()
        gradients = {name: value.grad for name, value in task.model.named_parameters() if value.grad is not None}
        return [float(value.detach()) for value in sums], gradients

    together, gradients = step(batch)
    assert len(read) == 1
    apart = [
        step(batch | {"noise": batch["noise"][:, draw], "timesteps": batch["timesteps"][:, draw]}) for draw in range(3)
    ]
    assert len({round(sums[0], 3) for sums, _ in apart}) == 3
    assert together[0] == pytest.approx(sum(sums[0] for sums, _ in apart) / 3, rel=1e-5)
    assert together[1] == pytest.approx(apart[0][0][1], rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, sum(grads[name] for _, grads in apart) / 3, atol=2e-4, rtol=2e-3)
    counted = task.counts(batch)
    assert counted[0] == 3 * 8 * 14, "the mean is over elements, not over draws"


def test_it_resumes_exactly_mixed_with_texts(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "words.jsonl").write_text(json.dumps({"instruction": "Say yes.", "answer": "Yes."}) + "\n")
    text = [{"path": str(tmp_path / "words.jsonl"), "weight": 1.0}]
    options: dict[str, Any] = {"noise_draws": 3, "text_data": text, "steps": 6, "ema_decay": 0.8, "save_every": 50}
    whole = train(make_spec(output_dir=str(tmp_path / "whole"), **options))
    part = make_spec(output_dir=str(tmp_path / "parts"), **options)
    assert train(part, stop=stop_at(3)).step == 3
    second = train(part, resume=True)
    assert metrics(second.run, "loss") == metrics(whole.run, "loss")
    resumed, straight = (load_file(result.checkpoint / "model.safetensors") for result in (second, whole))
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


def test_two_processes_compute_what_one_computes(make_spec: MakeSpec, tmp_path: Path) -> None:
    train(make_spec(output_dir=str(tmp_path / "one"), batch_size=4, steps=2, noise_draws=2))
    two = make_spec(output_dir=str(tmp_path / "two"), batch_size=2, steps=2, noise_draws=2)
    (tmp_path / "two.yaml").write_text(two.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "dexvla.cli", "train", str(tmp_path / "two.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert metrics(tmp_path / "two", "loss") == pytest.approx(metrics(tmp_path / "one", "loss"), rel=2e-4)


def test_validation_does_not_depend_on_it(make_spec: MakeSpec, tmp_path: Path) -> None:
    """At weights that do not move."""
    found = []
    for draws in (1, 3):
        spec = make_spec(
            noise_draws=draws,
            output_dir=str(tmp_path / str(draws)),
            steps=1,
            validation_fraction=0.34,
            validation_samples=4,
            validation_max_tokens=4,
            optim={"learning_rate": 1e-12},
        )
        found.append(metrics(train(spec).run, "val_loss"))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_stage_1_has_no_use_for_it(make_spec: MakeSpec) -> None:
    with pytest.raises(ValidationError, match="noise_draws has no use in stage 1"):
        make_spec(stage=1, init_from=None, noise_draws=2)

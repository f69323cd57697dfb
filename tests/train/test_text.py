"""Samples without actions, mixed into a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dexvla.errors import UserError
from dexvla.spec import TrainSpec
from dexvla.train.loop import train
from dexvla.train.policies import PolicyTask
from dexvla.train.prepare import prepare_data
from dexvla.train.runs import read_metrics

MakeSpec = Callable[..., TrainSpec]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    folder = tmp_path / "questions"
    folder.mkdir()
    for name, size in (("wide.png", (200, 60)), ("square.png", (80, 80))):
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    lines: list[dict[str, Any]] = [
        {"images": ["wide.png"], "instruction": "What is red?", "answer": "The cube."},
        {"images": ["square.png", "wide.png"], "instruction": "Fold the shirt.", "reasoning": "Flatten it."},
        {"instruction": "Say yes.", "answer": "Yes."},
    ]
    (folder / "vqa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "vqa.jsonl"


def test_words_count_in_the_reasoning_loss_and_not_in_the_action_loss(make_spec: MakeSpec, questions: Path) -> None:
    spec = make_spec(text_data=[{"path": str(questions)}])
    task = PolicyTask(spec, prepare_data(spec))
    assert task.sizes == (72, 3)
    samples = task.samples(None)
    assert len(samples) == 75
    acting, words = samples[0, 5], [samples[place, 72 + place] for place in range(3)]
    alone = samples.collate([acting])
    mixed = samples.collate([acting, *words])
    assert task.counts(mixed)[0] == task.counts(alone)[0] == 8 * 14
    assert task.counts(mixed)[1] > task.counts(alone)[1]
    with torch.no_grad():
        one, all_of_them = task.sums(task.model, alone), task.sums(task.model, mixed)
    assert float(all_of_them[0]) == pytest.approx(float(one[0]), rel=1e-4)
    assert float(all_of_them[1]) > float(one[1])
    processor = task.model.processor
    assert processor is not None
    taught = [processor.tokenizer.decode(sample["labels"][sample["labels"] >= 0]) for sample in words]
    assert taught == ["The cube.<|im_end|>", "Flatten it.Next action:<|im_end|>", "Yes.<|im_end|>"]


def test_the_expert_is_not_asked_about_words(
    make_spec: MakeSpec, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(text_data=[{"path": str(questions)}], noise_draws=2, initialisation="upstream")
    task = PolicyTask(spec, prepare_data(spec))
    samples, expert = task.samples(None), task.model.expert
    acting, words = [samples[place, 5 * place] for place in range(2)], [samples[place, 72 + place] for place in (1, 2)]
    asked: list[int] = []
    usual = expert.forward
    monkeypatch.setattr(expert, "forward", lambda noisy, *rest: asked.append(len(noisy)) or usual(noisy, *rest))

    def gradient(batch: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        task.model.zero_grad()
        task.sums(task.model, samples.collate(batch))[0].backward()
        return torch.cat([value.grad.flatten() for value in expert.parameters() if value.grad is not None])

    alone, mixed = gradient(acting), gradient([words[0], acting[0], words[1], acting[1]])
    torch.testing.assert_close(mixed, alone, atol=1e-4, rtol=1e-3)
    assert not gradient(words).any(), "there, for other processes wait for it, but nought"
    assert asked == [4, 4, 2]


def test_a_mixed_run_trains_and_learns_the_answers(make_spec: MakeSpec, questions: Path) -> None:
    result = train(make_spec(text_data=[{"path": str(questions), "weight": 20.0}], steps=30, batch_size=4))
    lines = read_metrics(result.run / "metrics.jsonl")
    assert lines[-1]["llm_loss"] < 0.5 * lines[0]["llm_loss"]
    assert all(np.isfinite(line["loss"]) for line in lines)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2 is not JSON"),
        ('{"instruction": "a"}', "exactly one of answer and reasoning"),
        ('{"instruction": "a", "answer": "b", "reasoning": "c"}', "exactly one of answer and reasoning"),
        ('{"instruction": "a", "answer": "b", "images": ["gone.png"]}', "image gone.png is not in"),
        ('{"instruction": "a", "answr": "b"}', "answr"),
    ],
)
def test_a_bad_line_is_named(make_spec: MakeSpec, questions: Path, line: str, message: str) -> None:
    first = questions.read_text().splitlines()[0]
    questions.write_text(f"{first}\n{line}\n")
    with pytest.raises(UserError) as caught:
        train(make_spec(text_data=[{"path": str(questions)}]))
    assert message in str(caught.value)
    assert "line 2" in str(caught.value)


def test_a_batch_without_any_image_trains(make_spec: MakeSpec, questions: Path, tmp_path: Path) -> None:
    alone = tmp_path / "words.jsonl"
    alone.write_text('{"instruction": "Say yes.", "answer": "Yes."}\n')
    spec = make_spec(text_data=[{"path": str(alone), "weight": 1e6}], steps=3, gradient_checkpointing=True)
    lines = read_metrics(train(spec).run / "metrics.jsonl")
    assert all(line["llm_loss"] > 0 for line in lines if "llm_loss" in line)
    assert not any("action_loss" in line for line in lines), "no step holds a sample that acts"

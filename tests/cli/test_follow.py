"""DEXVLA_PROGRESS: another program follows a command."""

import json
from pathlib import Path

import pytest

from dexvla import console
from dexvla.train.loop import Progress


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_bar_is_followed_from_its_start_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    with console.bar("recording", total=2) as bar:
        bar.advance("episode_0.hdf5")
        bar.advance("seed 1 failed, dropped")
    assert lines(file) == [
        {"what": "recording", "done": 0, "total": 2, "note": ""},
        {"what": "recording", "done": 1, "total": 2, "note": "episode_0.hdf5"},
        {"what": "recording", "done": 2, "total": 2, "note": "seed 1 failed, dropped"},
    ]


def test_a_training_is_followed_but_not_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    with console.train_display(500) as show:
        show(Progress(what="loading the model", step=0, steps=500))
        for step in range(1, 501):
            show(Progress(what="training", step=step, steps=500, metrics={"loss": 1.0}))
    found = lines(file)
    assert found[0] == {"what": "loading the model", "done": 0, "total": 500, "note": ""}
    assert found[-1] == {"what": "training", "done": 500, "total": 500, "note": "loss 1.0000"}
    assert len(found) < 100


def test_only_the_first_process_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    monkeypatch.setenv("RANK", "1")
    with console.bar("evaluating", total=1) as bar:
        bar.advance()
    assert not file.exists()


def test_a_progress_file_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEXVLA_PROGRESS", str(tmp_path / "missing" / "progress.jsonl"))
    with console.bar("checking", total=1) as bar:
        bar.advance()

"""`dexvla convert` as a user types it; tests/parity has what the conversions do."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dexvla.cli import app


def convert(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_convert_reports_in_words_and_in_json(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--expert", "tiny", "--action-dim", "10", "--state-dim", "7", "--chunk-size", "6"]
    said = convert("--from", "qwen2-vl", base_model, "one", *sizes, "--json", "report.json")
    assert "fresh     fusion, action expert: a base model has none" in said
    assert set(json.loads(Path("report.json").read_text())["loaded"]) == {"vision tower", "language model"}
    said = convert("--to", "upstream", "one", "two", "--json", "-")
    assert "ScaleDP_H and ScaleDP_L alone" in said
    assert json.loads(said[said.index("\n{") :])["kind"] == "dexvla to upstream"
    convert("--from", "upstream", "two" + os.sep, "three", "--cameras", "a,b", "--height", "56", "--width", "84")
    config = json.loads(Path("three", "config.json").read_text())
    assert config["policy"]["cameras"][1] == {"name": "b", "height": 56, "width": 84}
    assert Path("one", "model.safetensors").read_bytes() == Path("three", "model.safetensors").read_bytes()

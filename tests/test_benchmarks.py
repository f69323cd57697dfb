"""The benchmark scripts run and write what they say. No test asserts a time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


def run(script: str, target: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--json", str(target), *options]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=300)
    return json.loads(target.read_text())


def test_the_gpu_script_runs_at_tiny_size(tmp_path: Path) -> None:
    found = run("gpu_step.py", tmp_path / "gpu.json", "--tiny", "--batch=2", "--steps=1", "--peak=1e12")
    assert found["model_flops_per_step"] > 1e9
    assert 0 < found["mfu"] < 1
    assert found["samples_per_second"] > 0
    assert found["loss"] > 0


def test_a_step_without_logits_has_the_same_loss_and_needs_less_memory(tmp_path: Path) -> None:
    found = run("train_step.py", tmp_path / "step.json", "--turns=1", "--steps=1", "--batch=1", "--hidden=64")
    plain, ours = found["median"]["plain"], found["median"]["ours"]
    assert abs(plain["loss"] - ours["loss"]) < 1e-5 * plain["loss"]
    assert ours["peak_bytes"] < plain["peak_bytes"]


def test_a_start_with_known_episodes_gives_the_same_statistics(tmp_path: Path) -> None:
    found = run("training_start.py", tmp_path / "start.json", "--episodes=3", f"--folder={tmp_path}")
    assert found["episodes"] == 3
    assert found["warm"]["handles"] == found["cold"]["handles"]
    assert found["warm"]["cpu_seconds"] > 0


def test_the_step_of_the_small_preset_is_measured(tmp_path: Path) -> None:
    found = run("small_step.py", tmp_path / "small.json", "--steps=1", "--batch=2", "--threads=1")
    assert [(row["precision"], row["noise_draws"]) for row in found["steps"]] == [
        ("float32", 1),
        ("float32", 4),
        ("bf16", 1),
        ("bf16", 4),
    ]
    assert all(row["samples_per_second"] > 0 for row in found["steps"])
    assert found["attention_ms"].keys() == {"language", "vision", "expert"}


def test_formats_are_measured_beside_each_other(tmp_path: Path) -> None:
    tiny = ("--episodes=2", "--steps=4", "--rounds=1", "--turns=1", "--size", "16", "24")
    found = run("formats.py", tmp_path / "formats.json", *tiny)
    assert {"ours", "cache", "lerobot video", "lerobot images"} < set(found["samples"])
    assert {"lerobot", "rlds", "mp4"} < set(found["out"])
    assert {"act", "lerobot", "rlds", "images-csv", "mp4-csv"} < set(found["in"])
    assert all(row["episodes_per_second"] > 0 for way in ("in", "out") for row in found[way].values())


def test_the_goals_of_the_live_page_are_measured_on_a_real_host(tmp_path: Path) -> None:
    found = run("live.py", tmp_path / "live.json", "--trials=3", "--seconds=2", "--kills=1")
    assert found["silent_at_rest_ms"]["n"] >= 1
    assert found["stop_at_rest_ms"]["n"] > 0  # most often no command moves after the press
    assert found["recorded_seconds"] > 1
    assert (found["error"], found["unreadable"], found["ragged"]) == (None, 0, 0)


def test_a_stop_is_measured_while_other_things_are_in_trouble(tmp_path: Path) -> None:
    kinds = ("sqlite_locked", "guess", "send", "upload", "poll", "broker_frozen")
    found = run("stop.py", tmp_path / "stop.json", "--trials=3", "--only", *kinds)
    for kind in ("quiet", *kinds):
        assert found[kind]["n"] == 3
    assert found["sqlite_locked"]["not_recorded"] == 3
    assert found["quiet"]["confirmed"] > 0


def test_what_jobs_take_from_a_robot_is_measured(tmp_path: Path) -> None:
    found = run("beside_jobs.py", tmp_path / "beside.json", "--turns=1", "--seconds=2")
    assert list(found["beside"]) == ["quiet", "usual priority", "priority of jobs"]
    for figures in found["beside"].values():
        assert figures["off_ms"]["n"] > 20
        assert figures["echo_ms"]["n"] == 50


def test_proposals_are_measured_against_the_experts_own_substeps(tmp_path: Path) -> None:
    found = run("proposals.py", tmp_path / "proposals.json", "--episodes=2")
    for figures in found["tasks"].values():
        assert figures["boundaries"]["all"]["25"]["recall"] > 0.5
        assert figures["template"]["episodes"] == 2
    assert found["tasks"]["transfer_cube"]["similar"]["accuracy"] > 0.8


def test_waiting_for_proposals_is_measured(tmp_path: Path) -> None:
    found = run("proposal_times.py", tmp_path / "times.json", "--episodes=3", "--steps=500")
    assert found["similar"]["compared"] == 3
    assert found["candidates"]["p50_ms"] > 0


def test_what_a_backup_takes_is_measured(tmp_path: Path) -> None:
    found = run("backup.py", tmp_path / "backup.json", "--episodes=3", "--megabytes=1", "--points=50")
    parts = found["parts"]
    assert parts["first"]["new_bytes"] > 3 * 2**20
    again = parts["second, nothing changed"]
    assert again["new_bytes"] < 4096, "the audit log alone, which tells of the first"
    assert again["read_bytes"] == 0
    assert parts["third, one more episode"]["read_bytes"] == 2**20
    assert parts["verify"]["damaged"] == {}
    assert parts["restore"]["files"] == 4
    assert all(part["peak_mib"] > 20 for part in parts.values())


def test_publishing_is_measured_beside_sizes_of_files(tmp_path: Path) -> None:
    found = run("publication.py", tmp_path / "pub.json", "--turns=2", "--steps=100", "--megabytes", "1", "3")
    small, large = found["sizes"]
    assert large["file_mib"] > small["file_mib"] + 1
    for one in found["sizes"]:
        assert one["publish_ms"]["worst"] >= one["publish_ms"]["median"] > 0
        assert one["sent_bytes"] > one["file_mib"] * 2**20, "the file, and its labels"


def test_what_large_amounts_cost_is_measured_at_a_tiny_size(tmp_path: Path) -> None:
    few = ("--episodes=70", "--datasets=1", "--runs=2", "--points=20", "--checkpoints=3", "--evaluations=2")
    found = run("scale.py", tmp_path / "scale.json", "--sizes", "20", "40", *few, "--turns=1", "--annotators=3")
    requests = found["requests"]
    assert requests["coverage"].keys() == {"20", "40", "growth"}
    assert requests["export of labels"]["40"]["bytes"] > requests["export of labels"]["20"]["bytes"]
    assert all(one["p50_ms"] > 0 for row in requests.values() for one in row.values() if isinstance(one, dict))


def test_downloads_are_measured_beside_what_the_kernel_alone_costs(tmp_path: Path) -> None:
    tiny = ("--megabytes=2", "--files=2", "--turns=1", f"--folder={tmp_path}")
    found = run("downloads.py", tmp_path / "downloads.json", *tiny)
    assert {"sendfile alone", "read and send, 64 KiB", "episode", "archive"} <= set(found)
    assert found["episode"]["bytes"] > 10**6
    assert found["archive"]["bytes"] > 2 * 10**6

"""The small robot of tests/support/bench_arm as pip leaves a package: on the path, with its entry point beside it."""

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install it into `folder`, for this process and for those that it starts. Returns the folder."""
    shutil.copytree(HERE / "bench_arm", folder / "bench_arm")
    facts = folder / "bench_arm-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-arm\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[dexvla.robots]\nbench_arm = bench_arm.robot:BENCH_ARM\n")
    monkeypatch.syspath_prepend(str(folder))
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(folder) if before is None else f"{folder}{os.pathsep}{before}")
    return folder

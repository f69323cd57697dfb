"""The checkpoint that comes with the project does what it is told, by the command that a newcomer runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from dexvla.spec import ClosedLoopReport

pytestmark = pytest.mark.slow

EPISODES = 8
ENOUGH = 5  # 94 of 100 were measured as named, 87 of 100 with the other cube named


@pytest.mark.timeout(600)
@pytest.mark.parametrize("named", [(), ("--swapped",)], ids=["as recorded", "the other cube named"])
def test_the_demo_policy_lifts_the_cube_that_is_named(named: tuple[str, ...], tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    command = [sys.executable, "-m", "dexvla.cli", "eval", "demo", "--robot", "aloha_sim", "--task", "pick_colour"]
    options = ["--level", "jitter", *named, "--episodes", str(EPISODES), "--seed", "970000", "--json", str(report_file)]
    subprocess.run(command + options, check=True, cwd=tmp_path, timeout=500)
    report = ClosedLoopReport.model_validate_json(report_file.read_bytes())
    assert report.success.successes >= ENOUGH
    assert report.wrong is not None
    assert report.wrong.successes == 0

"""The pauses of something that dies again and again."""

import os
import sys
from pathlib import Path

import pytest

from worker.supervise import restart
from worker.supervise.parts import Part, look_after
from worker.supervise.restart import STEADY_SECONDS, Restarts

pytestmark = [pytest.mark.clockless, pytest.mark.slow]


def test_what_keeps_dying_is_started_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(restart.time, "monotonic", lambda: now[0])
    restarts = Restarts(first=0.5, longest=6.0)
    pauses = []
    for _ in range(6):
        restarts.begin()
        now[0] += 1.0
        pauses.append(restarts.pause())
        now[0] += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 6.0, 6.0, 6.0]
    restarts.begin()
    now[0] += STEADY_SECONDS + 1
    assert restarts.pause() == 0.5  # it lasted: what was before is forgotten
    restarts.begin()
    assert restarts.pause() == 1.0


def test_a_year_of_failures_has_a_pause() -> None:
    restarts = Restarts(first=0.25, longest=15.0, failures=2000)
    restarts.begin()
    assert restarts.pause() == 15.0


@pytest.mark.parametrize("log", [None, "part.log"])
def test_a_part_that_died_is_told_and_started_again_after_a_pause(tmp_path: Path, log: str | None) -> None:
    """With a log of its own, as those of `studio up`, and without, as those of `studio worker`."""
    said: list[str] = []
    argv = [sys.executable, "-c", "import sys; print('why', flush=True); sys.exit(3)"]
    part = Part("queue light", argv, None if log is None else tmp_path / log)
    part.start(os.environ)
    assert part.process is not None
    first = part.process
    first.wait()
    look_after([part], os.environ, said.append)
    why = "see above" if log is None else "why"
    assert said == [f"queue light ended with status 3 ({why}); starting it again in 1 s"]
    part.again_at = float("inf")
    look_after([part], os.environ, said.append)
    assert part.process is None, "the pause is not over"
    part.again_at = 0.0
    look_after([part], os.environ, said.append)
    assert part.process is not None
    assert part.process.pid != first.pid
    part.process.wait()
    assert len(said) == 1

"""The pauses of something that dies again and again."""

import pytest

from worker.supervise import restart
from worker.supervise.restart import STEADY_SECONDS, Restarts

pytestmark = pytest.mark.clockless


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

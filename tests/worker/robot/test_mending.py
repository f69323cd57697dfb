"""Cameras that fail again and again are started at growing intervals, and people are told what they can do."""

from worker.robot.mending import CameraMending


def starts_of(mending: CameraMending, *, seconds: range, fault: str | None = "dark") -> list[int]:
    """At each of these seconds the robot is looked at fifty times; those at which its cameras are started again."""
    return [second for second in seconds for tick in range(50) if mending.is_due(fault, second + tick / 50)]


def test_the_first_new_start_is_at_once_and_the_pauses_grow_to_a_minute() -> None:
    assert starts_of(CameraMending(), seconds=range(300)) == [0, 5, 15, 35, 75, 135, 195, 255]


def test_what_to_do_is_said_once_a_new_start_has_not_helped() -> None:
    mending = CameraMending()
    assert mending.described(None) is None
    assert mending.described("dark") == "dark"
    assert starts_of(mending, seconds=range(5)) == [0]
    assert mending.described("dark") == "dark", "it may have helped"
    assert starts_of(mending, seconds=range(5, 10)) == [5]
    described = mending.described("dark") or ""
    assert described.startswith("dark. They were started again 2 times")
    assert "start the robot host again" in described
    assert mending.described(None) is None


def test_cameras_that_went_on_for_a_minute_are_mended() -> None:
    mending = CameraMending()
    assert starts_of(mending, seconds=range(10)) == [0, 5]
    assert starts_of(mending, seconds=range(10, 40), fault=None) == []
    assert starts_of(mending, seconds=range(40, 60)) == [40], "not for long enough"
    assert starts_of(mending, seconds=range(60, 130), fault=None) == []
    assert mending.described("dark") == "dark"
    assert starts_of(mending, seconds=range(130, 140)) == [130, 135]

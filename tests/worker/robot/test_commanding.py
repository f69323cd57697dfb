"""Sources in the control loop: what they ask for is limited, a stop beats them, what they break is theirs."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dexvla.live.messages import Mode
from dexvla.live.status import RobotState
from tests.support.moody_robot import Moody
from tests.support.robot_hosts import until
from worker.robot import control
from worker.robot.arbiter import Arbiter, BusyError
from worker.robot.cameras import CameraHub
from worker.robot.control import ControlLoop
from worker.robot.latch import StopLatch
from worker.robot.sources import Action, SourceKind, StepRecord, Tick


class Scripted:
    """Asks for `wanted` at every step."""

    kind = SourceKind.SCRIPTED

    def __init__(self, wanted: Action | None, cameras: frozenset[str] = frozenset()) -> None:
        self.wanted, self.cameras = wanted, cameras
        self.why: str | None = None
        self.raises: Exception | None = None
        self.ticks: list[Tick] = []
        self.stops, self.refusals = 0, list[str]()

    def action(self, tick: Tick) -> Action | None:
        self.ticks.append(tick)
        if self.raises is not None:
            raise self.raises
        return self.wanted

    def on_stop(self) -> None:
        self.stops += 1

    def on_refused(self, reason: str) -> None:
        self.refusals.append(reason)


class Listener:
    def __init__(self, cameras: frozenset[str] = frozenset()) -> None:
        self.cameras = cameras
        self.records: list[StepRecord] = []
        self.raises = False

    def on_step(self, record: StepRecord) -> None:
        if self.raises:
            raise OSError("disk full")
        self.records.append(record)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.robot = Moody()
        self.latch = StopLatch(folder / "stop.json")
        self.arbiter = Arbiter(self.latch)
        self.hub = CameraHub(self.robot.info.cameras)
        self.loop = ControlLoop(self.robot, latch=self.latch, arbiter=self.arbiter, hub=self.hub, task=None)
        self.loop.start()
        until(lambda: self.loop.status().state is RobotState.HOLDING)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.hub.close()
    assert rig.loop.close(2.0)


def two(value: float) -> Action:
    return np.full(2, value, np.float32)


def test_a_source_moves_the_robot_within_its_limits(rig: Rig) -> None:
    rig.arbiter.begin_policy(Scripted(two(5.0)))  # far outside -1 .. 1
    until(lambda: rig.loop.telemetry.newest.action[0] == 1.0)
    assert rig.arbiter.now.mode is Mode.POLICY
    sent = np.array([row.action[0] for row in rig.loop.telemetry.since(-1)])
    steps = np.diff(sent)
    limit = rig.robot.info.max_velocity[0] / rig.robot.info.control_hz
    gain = rig.robot.info.max_acceleration[0] / rig.robot.info.control_hz**2
    assert steps.max() <= limit + 1e-6
    assert np.abs(np.diff(steps)).max() <= gain + 1e-6, "also at the end, where it brakes"
    assert sent.max() == 1.0


def test_nothing_asked_for_decelerates_and_holds(rig: Rig) -> None:
    source = Scripted(two(-1.0))
    rig.arbiter.begin_policy(source)
    until(lambda: rig.loop.telemetry.newest.action[0] < 0.2)
    source.wanted = None
    until(lambda: (np.diff([row.action[0] for row in rig.loop.telemetry.since(-1)[-20:]]) == 0).all())
    stopped_at = rig.loop.telemetry.newest.action[0]
    assert -1 < stopped_at < 0.2
    steps = np.diff([row.action[0] for row in rig.loop.telemetry.since(-1)])
    gain = rig.robot.info.max_acceleration[0] / rig.robot.info.control_hz**2
    assert np.abs(np.diff(steps)).max() <= gain + 1e-6


def test_a_stop_beats_the_source_and_a_rearmed_robot_waits_for_somebody(rig: Rig) -> None:
    source = Scripted(two(1.0))
    rig.arbiter.begin_policy(source)
    until(lambda: len(source.ticks) > 3)
    rig.latch.stop(by="ada")
    until(lambda: source.stops > 0)
    asked = len(source.ticks)
    held = rig.loop.telemetry.newest.step
    until(lambda: rig.loop.telemetry.newest.step > held + 20)
    assert len(source.ticks) == asked, "it is not even asked"
    assert (rig.arbiter.now.mode, rig.arbiter.now.why) == (Mode.PAUSED, "stopped by ada")
    with pytest.raises(BusyError, match="re-arm"):
        rig.arbiter.resume()
    rig.latch.arm()
    held = rig.loop.telemetry.newest.step
    until(lambda: rig.loop.telemetry.newest.step > held + 10)
    assert len(source.ticks) == asked, "re-armed is not resumed"
    rig.arbiter.resume()
    until(lambda: len(source.ticks) > asked)


def test_a_stop_between_two_steps_is_not_missed(rig: Rig) -> None:
    source = Scripted(two(1.0))
    rig.arbiter.begin_policy(source)
    until(lambda: len(source.ticks) > 3)
    rig.latch.stop(by="ada")
    rig.latch.arm()
    until(lambda: rig.arbiter.now.mode is Mode.PAUSED)
    assert source.stops > 0


def test_numbers_that_are_none_are_not_sent(rig: Rig) -> None:
    source = Scripted(np.array([np.nan, 0], np.float32))
    rig.arbiter.begin_policy(source)
    until(lambda: len(source.refusals) > 3)
    assert "non-finite values at 0" in source.refusals[0]
    source.wanted = np.zeros(3, np.float32)
    until(lambda: "shape" in source.refusals[-1])
    assert all(np.isfinite(action).all() and action.shape == (2,) for action in rig.robot.sent)
    assert (rig.loop.telemetry.newest.action == 0.5).all()


def test_a_source_that_breaks_is_paused_and_the_loop_goes_on(rig: Rig) -> None:
    source = Scripted(two(1.0))
    source.raises = RuntimeError("out of ideas")
    rig.arbiter.begin_policy(source)
    until(lambda: rig.arbiter.now.mode is Mode.PAUSED)
    assert "out of ideas" in (rig.arbiter.now.why or "")
    assert rig.loop.status().state is RobotState.HOLDING
    driver = Scripted(two(0.0))
    driver.raises = ValueError("bent")
    rig.arbiter.engage_drive(driver)
    until(lambda: rig.arbiter.now.mode is Mode.PAUSED, 2)


def test_a_person_may_drive_while_a_policy_is_paused_and_not_while_it_acts(rig: Rig) -> None:
    policy, driver, other = Scripted(None), Scripted(two(0.2)), Scripted(None)
    rig.arbiter.begin_policy(policy)
    with pytest.raises(BusyError, match="pause it"):
        rig.arbiter.engage_drive(driver)
    rig.arbiter.pause("paused by ada")
    rig.arbiter.engage_drive(driver)
    with pytest.raises(BusyError, match="somebody else drives"):
        rig.arbiter.engage_drive(other)
    with pytest.raises(BusyError, match="let go"):
        rig.arbiter.resume()
    until(lambda: abs(rig.loop.telemetry.newest.action[0] - 0.2) < 1e-6)
    rig.arbiter.release_drive(other)
    assert rig.arbiter.now.mode is Mode.DRIVE, "another one's release changes nothing"
    rig.arbiter.release_drive(driver)
    assert rig.arbiter.now.mode is Mode.PAUSED
    rig.arbiter.end_policy("ended by ada")
    assert (rig.arbiter.now.mode, rig.arbiter.now.why) == (Mode.IDLE, "ended by ada")


def test_cameras_of_source_and_listeners_are_watched(rig: Rig) -> None:
    assert rig.robot.watched == ()
    source = Scripted(None, frozenset({"eye"}))
    rig.arbiter.begin_policy(source)
    until(lambda: bool(source.ticks) and "eye" in source.ticks[-1].observation.frames)
    rig.arbiter.end_policy()
    until(lambda: rig.robot.watched == ())
    listener = Listener(frozenset({"eye"}))
    rig.loop.listen(listener)
    until(lambda: bool(listener.records) and "eye" in listener.records[-1].observation.frames)


def test_a_listener_hears_of_every_step_who_commanded_it(rig: Rig) -> None:
    listener, broken = Listener(), Listener()
    rig.loop.listen(listener)
    rig.loop.listen(broken)
    rig.arbiter.begin_policy(Scripted(two(3.0)))
    until(lambda: any(record.source is SourceKind.SCRIPTED for record in listener.records))
    broken.raises = True
    rig.arbiter.end_policy()
    until(lambda: listener.records[-1].source is SourceKind.HOLD)
    steps = [record.step for record in listener.records]
    assert steps == list(range(steps[0], steps[0] + len(steps))), "none left out"
    asked = next(record for record in listener.records if record.requested is not None)
    assert asked.requested[0] == 3.0
    assert asked.limited
    assert asked.sent[0] <= 1.0
    heard = len(broken.records)
    count = len(listener.records)
    until(lambda: len(listener.records) > count + 5)
    assert len(broken.records) == heard, "it raised, and hears no more"


def test_pausing_from_many_threads_changes_once(rig: Rig) -> None:
    source = Scripted(None)
    changes = []
    rig.arbiter.begin_policy(source)
    rig.arbiter.on_change = lambda: changes.append(time.monotonic())
    threads = [threading.Thread(target=rig.arbiter.pause, args=("because",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(changes) == 1
    assert source.stops == 1


def test_time_stands_still_while_nobody_is_there(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_REST_SECONDS", 0.1)
    here = threading.Event()
    rig.loop.attended = here.is_set

    def steps() -> int:
        return rig.loop.telemetry.newest.step

    def rests() -> None:
        until(lambda: time.monotonic() - rig.loop.telemetry.newest.time > 0.3)
        status = rig.loop.status()
        assert status.state is RobotState.HOLDING
        assert status.tick_hz > 60, "it ticks all the same, and is heard"

    rests()
    assert rig.loop.real_time is None, "and is not called slow"

    def goes_on() -> None:
        before = steps()
        until(lambda: steps() > before + 5)

    here.set()
    goes_on()
    here.clear()
    rests()
    rig.hub.show_interest("eye")
    goes_on()
    until(lambda: not rig.hub.viewed())
    rests()
    rig.latch.stop(by="ada")
    until(lambda: rig.loop.status().state is RobotState.STOPPED, seconds=0.1)
    rig.latch.arm()
    until(lambda: rig.arbiter._epoch == rig.latch.now.epoch)  # heeded, by a loop at rest
    source = Scripted(two(1.0))
    asked = time.monotonic()
    rig.arbiter.begin_policy(source)
    until(lambda: source.ticks)
    assert source.ticks[0].time - asked < 0.05, "the very next tick is a step"
    until(lambda: rig.loop.telemetry.newest.action[0] == 1.0)

"""Driving by hand in the real control loop: the dead-man, the watchdog, and what it takes to begin again."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dexvla.errors import RobotError
from dexvla.live.messages import EVIDENCE_MS, HOLD_MS, RECLUTCH_MS, ArmDrive, Drive, Mode, Refusal
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.aloha_sim.teleop import AlohaTeleop
from tests.support.robot_hosts import until
from worker.robot.arbiter import Arbiter
from worker.robot.cameras import CameraHub
from worker.robot.control import ControlLoop
from worker.robot.driving import SLOW_SECONDS, Driving
from worker.robot.latch import StopLatch
from worker.robot.sources import SourceKind, Tick
from worker.robot.telemetry import Row

UP = ArmDrive(linear=(0.0, 0.0, 0.2))
DOWN = ArmDrive(linear=(0.0, 0.0, -0.2))


class Patient:
    """A policy that asks for nothing."""

    kind, cameras, why = SourceKind.POLICY, frozenset[str](), None

    def action(self, tick: Tick) -> None: ...

    def on_stop(self) -> None: ...

    def on_refused(self, reason: str) -> None: ...


class Page:
    """What a page sends, straight into the sink."""

    def __init__(self, driving: Driving) -> None:
        self.driving = driving
        self.seq = 0
        self.echoes: list[float | None] = []
        self.used: list[tuple[float, float]] = []  # when a message was received, and when a control step used it

    def send(
        self, arm: ArmDrive = UP, *, deadman: bool = True, evidence_ms: float | None = 0.0, later: float = 0.0
    ) -> Refusal | None:
        """later: seconds by which it is received after now."""
        self.seq += 1
        drive = Drive(seq=self.seq, sent=0.0, epoch=0, deadman=deadman, evidence_ms=evidence_ms, left=arm)
        received = time.monotonic() + later

        def echo(applied: float | None) -> None:
            self.echoes.append(applied)
            if applied is not None:
                self.used.append((received, received + applied / 1000))

        return self.driving.take(drive, received=received, answer=echo)

    def hold(self, seconds: float, arm: ArmDrive = UP) -> Refusal | None:
        """Keep sending every 40 ms."""
        end, refusal = time.monotonic() + seconds, None
        while time.monotonic() < end:
            refusal = self.send(arm)
            time.sleep(0.04)
        return refusal

    def hold_until(self, condition: Callable[[], bool], arm: ArmDrive = UP) -> None:
        """Keep sending until it is so. Where the machine was too busy for this thread's messages, press again."""

        def press() -> bool:
            refusal = self.send(arm)
            if refusal is not None and refusal.code == "reclutch":
                self.send(deadman=False)
            return refusal is None and condition()

        until(press)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.latch = StopLatch(folder / "stop.json")
        self.arbiter = Arbiter(self.latch)
        self.hub = CameraHub(())
        robot = LiveAlohaSim(cameras=())
        self.loop = ControlLoop(robot, latch=self.latch, arbiter=self.arbiter, hub=self.hub, task=None)
        self.driving = Driving(self.arbiter, prepare=AlohaTeleop)
        self.page = Page(self.driving)
        self.loop.start()
        until(lambda: self.page.send(ArmDrive()) is None and self.arbiter.now.mode is Mode.DRIVE)
        self.page.send(deadman=False)
        self.page.echoes.clear()

    def rows(self, count: int) -> list[Row]:
        """The newest steps."""
        return self.loop.telemetry.since(-1)[-count:]

    def moving(self) -> bool:
        """The newest two steps differ."""
        rows = self.rows(2)
        return len(rows) == 2 and bool((rows[0].action != rows[1].action).any())

    def resting(self) -> bool:
        """The newest ten steps sent the same."""
        rows = self.rows(10)
        return len(rows) == 10 and all((row.action == rows[0].action).all() for row in rows)

    def after_steps(self, count: int) -> Callable[[], bool]:
        """Whether so many more were made."""
        newest = self.loop.telemetry.newest.step
        return lambda: self.loop.telemetry.newest.step >= newest + count


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.hub.close()
    assert rig.loop.close(2.0)


def test_the_arm_moves_while_the_deadman_is_held_and_rests_when_it_is_let_go(rig: Rig) -> None:
    rig.page.hold_until(lambda: rig.moving() and len(rig.page.used) >= 10)
    assert rig.arbiter.now.mode is Mode.DRIVE
    begun = np.array([row.time for row in rig.rows(1000)])
    for received, used in rig.page.used:
        assert ((received < begun) & (begun <= used)).sum() <= 1, "used by the step after it"
    rig.page.send(deadman=False)
    assert rig.page.echoes[-1] is None
    assert rig.arbiter.now.mode is Mode.IDLE
    until(rig.resting)
    assert rig.page.send() is None, "and it goes on when it is pressed again"
    rig.page.hold_until(rig.moving)


def test_a_page_that_falls_silent_stands_still_in_time_and_goes_on_by_itself(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.robot.driving._RECLUTCH_SECONDS", 60.0)  # no gap of a busy machine is a long one
    rig.page.hold_until(lambda: rig.moving() and len(rig.page.used) >= 10)
    rig.page.send()
    silent = time.monotonic()
    until(rig.resting)
    late = [row for row in rig.rows(1000) if row.time > silent + SLOW_SECONDS]
    moving = [(before.action != after.action).any() for before, after in itertools.pairwise(late)]
    # 90 ms and three steps of 20 ms make 150 ms; in steps, because a busy machine makes them longer.
    assert not any(moving[round((HOLD_MS / 1000 - SLOW_SECONDS) * rig.loop.info.control_hz) :])
    assert rig.arbiter.now.mode is Mode.DRIVE
    assert rig.driving.why == "the page that drives is silent"
    held = rig.loop.telemetry.newest.action
    assert rig.page.hold(0.08, ArmDrive()) is None, "a short gap needs no new press"
    assert np.abs(rig.loop.telemetry.newest.action - held).max() < 0.01, "it goes on where it stands"
    assert rig.page.send() is None
    rig.page.hold_until(rig.moving)


def test_after_a_long_silence_the_deadman_has_to_be_pressed_again(rig: Rig) -> None:
    rig.page.hold_until(rig.moving)
    until(lambda: rig.arbiter.now.mode is Mode.IDLE)
    assert f"{RECLUTCH_MS} ms" in (rig.arbiter.now.why or "")
    until(rig.resting)
    refusal = rig.page.hold(0.3)
    assert refusal is not None
    assert refusal.code == "reclutch"
    until(rig.after_steps(10))
    assert rig.resting()
    assert rig.page.send(deadman=False) is None
    assert rig.page.send() is None
    rig.page.hold_until(rig.moving)


def test_the_message_that_ends_a_long_silence_does_not_move_the_robot(rig: Rig) -> None:
    """Even if the control loop did not notice the silence, as when it hung itself."""
    rig.page.hold_until(lambda: rig.arbiter.now.mode is Mode.DRIVE)
    late = Drive(seq=1000, sent=0.0, epoch=0, deadman=True, left=UP)
    soon = time.monotonic() + RECLUTCH_MS / 1000 + 0.1
    refusal = rig.driving.take(late, received=soon, answer=rig.page.echoes.append)
    assert refusal is not None
    assert refusal.code == "reclutch"


def test_a_page_that_believes_in_a_key_for_too_long_is_not_believed(rig: Rig) -> None:
    """Its messages come, and the newest sign of a hand in them grows old."""
    rig.page.hold_until(rig.moving)
    assert rig.page.send(evidence_ms=EVIDENCE_MS - 1) is None
    refusal = rig.page.send(evidence_ms=EVIDENCE_MS + 1)
    assert refusal is not None
    assert refusal.code == "reclutch"
    assert "still held" in refusal.message
    assert (rig.arbiter.now.mode, rig.driving.why) == (Mode.IDLE, None)
    assert "still held" in (rig.arbiter.now.why or "")
    until(rig.resting)
    refusal = rig.page.send()
    assert refusal is not None, "a sign that comes late does not bring it back"
    assert refusal.code == "reclutch"
    assert rig.page.send(deadman=False) is None
    rig.page.hold_until(rig.moving)


def test_a_client_that_gives_no_sign_of_a_hand_drives_for_a_stretch_only(rig: Rig) -> None:
    step = RECLUTCH_MS / 1000 - 0.1
    assert rig.page.send(evidence_ms=None) is None
    assert rig.page.send(evidence_ms=None, later=step) is None
    assert rig.page.send(evidence_ms=None, later=2 * step) is None
    refusal = rig.page.send(evidence_ms=None, later=EVIDENCE_MS / 1000 + 0.1)
    assert refusal is not None
    assert refusal.code == "reclutch"


def test_nothing_asked_for_needs_no_sign(rig: Rig) -> None:
    for evidence_ms in (None, 10.0 * EVIDENCE_MS):
        assert rig.page.send(ArmDrive(), evidence_ms=evidence_ms) is None
    assert rig.page.send(UP, evidence_ms=None) is None, "a stretch begins where the movement does"


@pytest.mark.parametrize("wrong", [-1, "NaN", "Infinity", "1e999"])
def test_an_age_is_a_number_of_milliseconds(wrong: object) -> None:
    message = f'{{"seq": 1, "sent": 0, "epoch": 0, "deadman": true, "evidence_ms": {wrong}}}'
    with pytest.raises(ValidationError, match="evidence_ms"):
        Drive.model_validate_json(message)


def test_a_message_of_old_and_one_of_now() -> None:
    old = Drive.model_validate_json('{"type": "drive", "seq": 3, "sent": 12.5, "epoch": 2, "deadman": true}')
    assert (old.evidence_ms, old.left) == (None, ArmDrive())
    now = Drive.model_validate_json(
        '{"type": "drive", "seq": 4, "sent": 32.5, "epoch": 2, "deadman": true, "evidence_ms": 35.25,'
        ' "left": {"linear": [0, 0, -0.15], "angular": [0, 0, 0], "gripper": 0},'
        ' "right": {"linear": [0, 0, 0], "angular": [0, 0, 0], "gripper": 0}}'
    )
    assert (now.evidence_ms, now.left.linear) == (35.25, (0, 0, -0.15))


def test_after_a_stop_a_held_key_moves_nothing(rig: Rig) -> None:
    rig.page.hold_until(rig.moving)
    rig.latch.stop(by="grace")
    until(lambda: rig.arbiter.now.mode is Mode.IDLE)
    assert rig.arbiter.now.why == "stopped by grace"
    rig.latch.arm()
    refusal = rig.page.hold(0.2)
    assert refusal is not None
    assert refusal.code == "reclutch"
    rig.page.send(deadman=False)
    assert rig.page.send() is None


def test_a_socket_that_closes_holds_and_its_page_has_to_press_again(rig: Rig) -> None:
    rig.page.hold_until(lambda: rig.arbiter.now.mode is Mode.DRIVE)
    rig.driving.let_go()
    assert (rig.arbiter.now.mode, rig.arbiter.now.why) == (Mode.IDLE, "the page that drove has gone")
    refusal = rig.page.send()
    assert refusal is not None
    assert refusal.code == "reclutch"
    rig.page.send(deadman=False)
    rig.driving.let_go()
    assert rig.page.send() is None, "one that had let go may press at once"


def test_an_acting_policy_is_not_pushed_aside_and_a_key_held_meanwhile_does_not_start_later(rig: Rig) -> None:
    rig.arbiter.begin_policy(Patient())
    refusal = rig.page.send()
    assert refusal is not None
    assert refusal.code == "busy"
    assert "pause" in refusal.message
    rig.arbiter.pause("paused by ada")
    refusal = rig.page.send()
    assert refusal is not None
    assert refusal.code == "reclutch"
    rig.page.send(deadman=False)
    assert rig.page.send() is None
    rig.page.send(deadman=False)
    assert rig.arbiter.now.mode is Mode.PAUSED


def test_every_message_is_echoed_once(rig: Rig) -> None:
    before = rig.page.seq
    for _ in range(20):
        assert rig.page.send() is None  # far more than there are control steps
    rig.page.hold_until(lambda: bool(rig.page.used))
    rig.page.send(deadman=False)
    assert len(rig.page.echoes) == rig.page.seq - before


def test_turning_around_keeps_within_the_robots_limits(rig: Rig) -> None:
    for arm in (UP, DOWN, UP, DOWN):
        rig.page.hold_until(rig.after_steps(15), arm)
    rig.page.send(deadman=False)
    until(rig.resting)
    sent = np.array([row.action for row in rig.loop.telemetry.since(-1)])
    info = rig.loop.info
    gain = info.max_acceleration / info.control_hz**2
    assert (np.abs(np.diff(sent, n=2, axis=0)) <= gain + 1e-5).all()
    assert np.ptp(sent, axis=0)[:3].max() > 0.05, "it did move"


def test_without_kinematics_it_says_what_is_missing(tmp_path: Path) -> None:
    def missing() -> AlohaTeleop:
        raise RobotError("driving the arms needs mink; install the `robot` extra")

    driving = Driving(Arbiter(StopLatch(tmp_path / "stop.json")), prepare=missing)
    page = Page(driving)
    until(lambda: "mink" in page.send().message)
    assert page.send().code == "busy"

"""A policy under the eyes of a page that falls silent. On a clock of its own."""

from pathlib import Path

import numpy as np
import pytest

from dexvla.act.base import PolicyMetadata
from dexvla.act.rollout import Rollout
from dexvla.live.messages import HOLD_MS, Mode, PolicyOut, Pulse
from dexvla.robots.base import Observation
from dexvla.spec import CameraSpec
from worker.robot.arbiter import Arbiter
from worker.robot.heartbeat import Heartbeat, Holder
from worker.robot.latch import StopLatch
from worker.robot.policy_source import PolicySource
from worker.robot.sources import Tick
from worker.robot.telemetry import Telemetry

CAMERA = CameraSpec(name="cam", height=8, width=8)
METADATA = PolicyMetadata(
    cameras=(CAMERA,),
    recorded_cameras=(CAMERA,),
    action_dim=2,
    state_dim=2,
    chunk_size=8,
    fps=50,
    robot="arm",
    render_profile="fast",
    checkpoint="tiny",
)
STEP = 0.02
BEGAN = 100.0


class Watched:
    """A policy that acts while a page is heard."""

    def __init__(self, folder: Path, *, simulated: bool) -> None:
        latch = StopLatch(folder / "stop.json")
        self.heartbeat, self.arbiter = Heartbeat(latch), Arbiter(latch)
        self.page = Holder(by="ada", session="page")
        assert self.heartbeat.enter(self.page) is None
        self.source = PolicySource(
            telemetry=Telemetry(),
            heartbeat=self.heartbeat,
            arbiter=self.arbiter,
            control_hz=1 / STEP,
            shown=lambda: PolicyOut(name="tiny", instruction="fold"),
        )
        self.source.begin(Rollout(METADATA, instruction="fold", control_hz=1 / STEP, waits=simulated), ("cam",))
        self.arbiter.begin_policy(self.source)
        self.epoch, self.step, self.pulses = latch.now.epoch, 0, 0

    @property
    def now(self) -> float:
        return BEGAN + self.step * STEP

    def pulse(self) -> None:
        self.pulses += 1
        pulse = Pulse(seq=self.pulses, sent=1000 * self.now, epoch=self.epoch)
        assert self.heartbeat.accept(self.page, pulse, received=self.now) is None

    def tick(self) -> None:
        self.step += 1
        seen = Observation(time=self.now, qpos=np.zeros(2, np.float32), qvel=np.zeros(2, np.float32))
        self.source.action(Tick(step=self.step, time=self.now, observation=seen, last_sent=np.zeros(2, np.float32)))

    def heard(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.pulse()
            self.tick()

    def silent_until_paused(self) -> float:
        """Seconds that it takes."""
        began = self.now
        while self.arbiter.now.mode is Mode.POLICY:
            self.tick()
            assert self.now - began < 60
        return self.now - began


@pytest.mark.parametrize(("simulated", "seconds"), [(False, 0.5), (True, 5.0)])
def test_a_page_that_is_held_up_may_come_back_sooner_on_a_real_robot(
    tmp_path: Path, simulated: bool, seconds: float
) -> None:
    watched = Watched(tmp_path, simulated=simulated)
    watched.heard(1.0)
    for _ in range(round((seconds - 2 * STEP) / STEP)):
        watched.tick()
        held = watched.heartbeat.silence(watched.now) > HOLD_MS / 1000
        assert ("not heard" in (watched.source.why or "")) is held
    watched.heard(0.1)
    assert watched.arbiter.now.mode is Mode.POLICY
    assert "not heard" not in (watched.source.why or "")
    assert watched.silent_until_paused() == pytest.approx(seconds, abs=2 * STEP)
    watched.pulse()
    watched.tick()
    assert watched.arbiter.now.mode is Mode.PAUSED, "an operator resumes it"


@pytest.mark.parametrize("simulated", [False, True])
def test_a_page_that_was_closed_pauses_it_at_once(tmp_path: Path, simulated: bool) -> None:
    watched = Watched(tmp_path, simulated=simulated)
    watched.heard(1.0)
    assert watched.heartbeat.leave(watched.page)
    assert watched.silent_until_paused() <= 2 * STEP

"""The control loop: one thread that owns the robot and commands it every 1 / control_hz seconds, come what may."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import numpy as np

from dexvla.act.limits import ActionRefused, LimitedAction, SafetyLimits
from dexvla.errors import RobotError
from dexvla.live.status import HostCamera, HostStatus, RobotState
from dexvla.robots.base import LiveRobot, Observation, RobotInfo
from dexvla.spec import CameraSpec
from worker.robot.arbiter import Arbiter
from worker.robot.cameras import CameraHub
from worker.robot.latch import StopLatch
from worker.robot.mending import CameraMending
from worker.robot.sources import WAIT, Action, CommandSource, SourceKind, StepListener, StepRecord, Tick, Wait
from worker.robot.telemetry import Row, Telemetry, snapshot

log = logging.getLogger("studio.robot")

SILENT_SECONDS = 0.5  # a loop that has not ticked for so long is a fault
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 5.0, 60.0  # a try costs some processor time; doubled until it succeeds
_WINDOW_SECONDS = 2.0
_PACE_SECONDS = 4.0  # several chunks of a slow policy
_REST_SECONDS = 5.0  # what was let go has fallen by then

T = TypeVar("T")


def all_cameras(robot: LiveRobot) -> tuple[CameraSpec, ...]:
    """A robot's cameras, and its views."""
    return (*robot.info.cameras, *robot.views)


class ControlLoop:
    """Sends one command at every step: what the arbiter's source asks for, within the limits, or holds the position.

    Nothing that others do (asking for frames, a database that is away) delays it. Holding means to decelerate and
    then to send the last target again, which for a position-controlled robot is to stay; stopped means the same and
    that nobody is asked. A robot that fails is stopped (latched) and tried again every few seconds.

    The time of a simulated robot stands still while nobody commands, watches, records or follows it: the loop ticks,
    heeds the stop and is heard as ever, and the tick in which somebody comes is a step again.
    """

    def __init__(
        self, robot: LiveRobot, *, latch: StopLatch, arbiter: Arbiter, hub: CameraHub, task: str | None
    ) -> None:
        self._robot, self._latch, self._hub, self._task = robot, latch, hub, task
        self._arbiter = arbiter
        self.telemetry = Telemetry()
        self.on_change: Callable[[], None] = lambda: None  # called in the loop's thread: must not wait
        self.attended: Callable[[], bool] = lambda: True  # somebody follows the robot, if through no camera
        self.on_first_connected: Callable[[], None] = lambda: None  # in the loop's thread, before the first command
        self._first = True
        self._listeners: tuple[StepListener, ...] = ()
        self._step = 0
        self._fault: str | None = None
        self._camera_fault: str | None = None
        self._mending = CameraMending()
        self._running = False
        self._busy_at = self._beat = time.monotonic()
        self._cadence = Cadence(robot.info.control_hz)
        self._pace = Pace()
        self._sent: tuple[Action, Action] | None = None  # the last two commands; None: from where the robot is
        self._jobs: deque[Callable[[], None]] = deque()
        self._ended = threading.Event()
        self._woken = threading.Event()  # the end, or a job
        self._thread = threading.Thread(target=self._run, name="control")

    @property
    def info(self) -> RobotInfo:
        return self._robot.info

    @property
    def real_time(self) -> float | None:
        """Seconds of a simulated robot's time in one of ours, over the last seconds; None of a real one, or unknown."""
        return self._pace.ratio if self._running and self._robot.info.simulated else None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Begin to end. Waits for nothing."""
        self._ended.set()
        self._woken.set()

    def close(self, seconds: float) -> bool:
        """End the loop and free the robot; False if that is not done within `seconds`."""
        self.end()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def status(self) -> HostStatus:
        """From any thread, at any time."""
        latch, info = self._latch.now, self._robot.info
        state, reason = RobotState.HOLDING, latch.reason
        silent = time.monotonic() - self._beat
        if self._fault is not None:
            state, reason = RobotState.FAULT, self._fault
        elif not self._running:
            state = RobotState.STARTING
        elif silent > SILENT_SECONDS:
            state, reason = RobotState.FAULT, f"the control loop has not answered for {silent:.1f} s"
        elif latch.stopped:
            state = RobotState.STOPPED
        return HostStatus(
            state=state,
            epoch=latch.epoch,
            since=latch.since,
            stopped_by=latch.stopped_by,
            reason=reason,
            at_risk=self._latch.at_risk,
            cameras=self._shown(info.cameras),
            views=self._shown(self._robot.views),
            camera_fault=self._camera_fault,
            control_hz=info.control_hz,
            tick_hz=self._cadence.hz if self._running else 0.0,
            late_ms=self._cadence.late_ms,
            task=self._task,
            simulated=info.simulated,
        )

    def _shown(self, cameras: tuple[CameraSpec, ...]) -> list[HostCamera]:
        return [
            HostCamera(name=camera.name, height=camera.height, width=camera.width, fps=self._hub.fps(camera.name))
            for camera in cameras
        ]

    def between(self, job: Callable[[], T], *, seconds: float = 5.0) -> T:
        """Run `job` in the loop's thread between two steps; returns or raises what it does. It must not wait.

        Raises RobotError if the loop does not get to it.
        """
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as error:  # handed to who waits, as concurrent.futures does
                    future.set_exception(error)

        self._jobs.append(run)
        self._woken.set()
        try:
            return future.result(seconds)
        except TimeoutError:
            if not future.cancel():
                return future.result()  # it has begun, and does not wait
            raise RobotError("the control loop does not answer; see the robot's state") from None

    def begin_anew(self) -> None:
        """From a job that moved the robot, as a simulator's reset does: hold it where it is now."""
        self._sent = None

    def swap(self, robot: LiveRobot, *, task: str | None) -> LiveRobot:
        """From a job: command this connected robot from now on. Returns the one before, to be disconnected."""
        before, self._robot, self._task = self._robot, robot, task
        self._hub.change(all_cameras(robot))
        return before

    def _run(self) -> None:
        pause = _RETRY_SECONDS
        while not self._ended.is_set():
            self._woken.clear()
            while self._jobs:
                self._jobs.popleft()()
            try:
                self._robot.connect()
                self._fault = None
                if self._first:
                    self.on_first_connected()
                    self._first = False
                self._command()
            except Exception as error:
                # Whatever it was, the robot is not commanded any more: say so, and do not move when it comes back.
                reason = str(error) or type(error).__name__
                if self._running or reason != self._fault:
                    log.error("the robot failed: %s", reason, exc_info=not isinstance(error, RobotError))
                pause = _RETRY_SECONDS if self._running else min(2 * pause, _LONGEST_RETRY_SECONDS)
                if self._running:
                    self._latch.stop(by="robot host", reason=f"the robot failed: {reason}")
                    self._latch.remember()
                self._fault, self._running, self._sent = reason, False, None
                self.on_change()
                self._let_go()
                self._woken.wait(pause)
        self._let_go()

    def _let_go(self) -> None:
        """A plug-in may raise where it must not; it is commanded by nobody then, and connected again."""
        try:
            self._robot.disconnect()
        except Exception:
            log.exception("the robot could not be disconnected")

    def listen(self, listener: StepListener) -> None:
        """Tell it of every control step from now on."""
        self._listeners = (*self._listeners, listener)

    def _command(self) -> None:
        """Until the end, or until a job waits."""
        robot, period = self._robot, 1.0 / self._robot.info.control_hz
        limits = SafetyLimits.for_robot(robot.info)
        if self._sent is None:
            here: Action = robot.observe(images=False).qpos
            self._sent = here, here
        before, last = self._sent
        watched: frozenset[str] | None = None
        self._busy_at = due = time.monotonic()
        while not self._ended.is_set() and not self._jobs:
            now = time.monotonic()
            if now < due:
                time.sleep(due - now)
                now = time.monotonic()
            self._cadence.count(now, late=now - due)
            # Steps that were missed are not made up for in a burst.
            due = due + period if now - due < period else now + period
            source = self._arbiter.commanding()
            needed = self._needed(source)
            if needed != watched:
                robot.watch(needed)
                watched = needed
            if self._rests(source, needed, now, moving=not np.array_equal(before, last)):
                self._beat = now
                self._pace.clear()
                self._mend_cameras(now)
                continue
            seen = robot.observe(images=bool(needed))
            self._pace.count(now, seen.time)
            asked = self._ask(source, limits, seen, now, last=last, before=before)
            if isinstance(asked, Wait):
                self._stand_still(seen, now)
                continue
            requested, limited = asked
            before, last = self._sent = last, robot.act(limited.action)
            self._beat = time.monotonic()
            if not self._running:
                self._running = True
                self.on_change()
            self.telemetry.add(Row(self._step, now, seen.time, seen.qpos, last))
            kind = SourceKind.HOLD if source is None or requested is None else source.kind
            self._tell(
                StepRecord(
                    step=self._step,
                    time=now,
                    observation=seen,
                    requested=requested,
                    sent=last,
                    limited=limited.acted,
                    source=kind,
                )
            )
            self._hub.bring(seen.frames, robot_time=seen.time)
            self._mend_cameras(now)
            self._step += 1

    def _rests(self, source: CommandSource | None, needed: frozenset[str], now: float, *, moving: bool) -> bool:
        """Nothing would be seen or kept of this step, as of those of the last seconds."""
        if not self._robot.info.simulated or not self._running:
            return False
        if moving or needed or source is not None or self.attended():
            self._busy_at = now
        return now - self._busy_at > _REST_SECONDS

    def _needed(self, source: CommandSource | None) -> frozenset[str]:
        """Cameras that somebody looks through, acts by or records."""
        needed = self._hub.viewed().union(*(listener.cameras for listener in self._listeners))
        return needed if source is None else needed | source.cameras

    def _ask(
        self,
        source: CommandSource | None,
        limits: SafetyLimits,
        seen: Observation,
        now: float,
        *,
        last: Action,
        before: Action,
    ) -> tuple[Action | None, LimitedAction] | Wait:
        """What the source asked for, and what may be sent of it; None and braking where it asked for nothing. WAIT is
        handed on only where time can stand still."""
        if source is not None:
            try:
                requested = source.action(Tick(step=self._step, time=now, observation=seen, last_sent=last))
                if isinstance(requested, Wait):
                    if self._robot.info.simulated:
                        return WAIT
                elif requested is not None:
                    return requested, limits.apply(requested, last_sent=last, before=before)
            except ActionRefused as error:
                log.warning("an action of %s was not sent: %s", source.kind, error)
                source.on_refused(str(error))
            except Exception as error:  # a source must not take the loop with it, whatever is wrong with it
                log.exception("what commands the robot failed")
                self._arbiter.fail(source, f"what commanded the robot failed ({error or type(error).__name__})")
        return None, limits.brake(last_sent=last, before=before)

    def _stand_still(self, seen: Observation, now: float) -> None:
        """A tick without a step: the simulation's time does not go on, and what its cameras show stays true."""
        self._beat = now
        self._hub.bring(seen.frames, robot_time=seen.time, still=True)
        self._mend_cameras(now)

    def _tell(self, record: StepRecord) -> None:
        for listener in self._listeners:
            try:
                listener.on_step(record)
            except Exception:
                log.exception("%s failed and hears no more of the robot", type(listener).__name__)
                self._listeners = tuple(one for one in self._listeners if one is not listener)

    def _mend_cameras(self, now: float) -> None:
        fault = self._robot.camera_fault
        described = self._mending.described(fault)
        if self._mending.is_due(fault, now):
            log.warning("cameras restarted: %s", fault)
            try:
                self._robot.restart_cameras()
            except RobotError as error:  # its cameras are away, the robot is not
                log.warning("the cameras did not start again: %s", error)
        self._camera_fault = described


class Cadence:
    """How regular the loop is, over the last seconds."""

    def __init__(self, control_hz: float) -> None:
        self._ticks: deque[tuple[float, float]] = deque(maxlen=max(2, round(control_hz * _WINDOW_SECONDS)))

    def count(self, now: float, *, late: float) -> None:
        """A tick at `now` that began `late` seconds after its time."""
        self._ticks.append((now, late))

    @property
    def hz(self) -> float:
        ticks = snapshot(self._ticks)
        span = ticks[-1][0] - ticks[0][0] if len(ticks) > 1 else 0.0
        return round((len(ticks) - 1) / span, 2) if span > 0 else 0.0

    @property
    def late_ms(self) -> float:
        """99th percentile, ms."""
        late = sorted(late for _, late in snapshot(self._ticks))
        return round(late[int(0.99 * (len(late) - 1))] * 1000, 3) if late else 0.0


class Pace:
    """How fast a simulated robot's time goes beside ours, over the last seconds."""

    def __init__(self) -> None:
        self._ticks: deque[tuple[float, float]] = deque()

    def count(self, now: float, robot_time: float) -> None:
        if self._ticks and robot_time < self._ticks[-1][1]:
            self._ticks.clear()  # the scene was reset
        self._ticks.append((now, robot_time))
        while now - self._ticks[0][0] > _PACE_SECONDS:
            self._ticks.popleft()

    def clear(self) -> None:
        """Its time stands still, and that is no slowness."""
        self._ticks.clear()

    @property
    def ratio(self) -> float | None:
        """None before there is enough to tell."""
        ticks = snapshot(self._ticks)
        span = ticks[-1][0] - ticks[0][0] if len(ticks) > 1 else 0.0
        return round((ticks[-1][1] - ticks[0][1]) / span, 3) if span > _PACE_SECONDS / 4 else None

"""Who commands the robot, and who listens: what plugs into the control loop.

One control step, in the loop's thread:

1. the latched stop: while it is latched nobody is asked; a stop or a re-arming (a new epoch) first calls `on_stop` of
   every source that is engaged, and ends driving and pauses a policy (worker.robot.arbiter);
2. `CommandSource.action(tick)` of the one source that commands now. None: the robot decelerates and holds; `WAIT`: a
   simulated robot's time stands still, this step is not taken and comes again (a real robot decelerates and holds);
3. `SafetyLimits`: position, then velocity and acceleration against the last commands sent. A non-finite value or a
   wrong shape is refused: the robot holds, `on_refused` tells the source;
4. the robot is sent the command, the telemetry keeps it;
5. `StepListener.on_step(record)` of every listener (the recorder).

Whatever is called here must not wait: no lock that somebody holds for long, no file, no socket, no rendering. What it
raises ends its part (the robot holds, the listener is dropped), never the loop.

To drive: a `DriveSink` gets the `Drive` messages of the control socket in the event loop's thread; it engages itself as
a source with `Arbiter.engage_drive` and lets go with `Arbiter.release_drive`. It is set as `ControlSocket.sink`
(worker.robot.control_socket), a recorder as `LiveRoutes.recorder` (worker.robot.live) and with
`ControlLoop.listen`; main.py puts the parts together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dexvla.live.messages import Drive, RecordingOut, Refusal, SavedOut
from dexvla.robots.base import Observation

Action = NDArray[np.float32]


class Wait:
    """What a source answers that needs more time than a control step has; `WAIT` is the only one."""


WAIT = Wait()


class SourceKind(StrEnum):
    """Stored with every recorded step. hold: nobody commanded, the robot kept its last target."""

    POLICY = "policy"
    HUMAN = "human"
    SCRIPTED = "scripted"
    HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class Tick:
    """One control step, before its command. step: 0, 1, ... since the host began. time: time.monotonic(), s.

    observation: measured now; its frames are the newest of the cameras that somebody asked for, each with its
    own time on the robot's clock (`observation.time` is now on that clock). last_sent: (A,) the command before.
    """

    step: int
    time: float
    observation: Observation
    last_sent: Action


class CommandSource(Protocol):
    """Gives one action per control step while it commands. Called in the control loop's thread."""

    @property
    def kind(self) -> SourceKind: ...

    @property
    def cameras(self) -> frozenset[str]:
        """Cameras whose frames it needs in `tick.observation.frames`."""
        ...

    @property
    def why(self) -> str | None:
        """Why its last answer was None, in words for people; None while it moves the robot or has nothing to say."""
        ...

    def action(self, tick: Tick) -> Action | Wait | None:
        """(A,) in the robot's units, None to decelerate and hold, or WAIT: the next tick has the same step."""
        ...

    def on_stop(self) -> None:
        """Stopped, re-armed, paused or let go: forget what is queued, so that nothing of it is ever sent. From any
        thread, also twice in a row."""
        ...

    def on_refused(self, reason: str) -> None:
        """Its last action was not sent at all (a non-finite value, a wrong shape)."""
        ...


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one control step was. requested: (A,) what the source asked for, None where it asked for nothing.

    sent: (A,) what the robot was sent. limited: whether a limit acted. source: who commanded this step.
    """

    step: int
    time: float
    observation: Observation
    requested: Action | None
    sent: Action
    limited: bool
    source: SourceKind


class StepListener(Protocol):
    """Hears of every control step, in the control loop's thread: it copies references and returns."""

    @property
    def cameras(self) -> frozenset[str]:
        """Cameras whose frames it needs in the observations; empty while it doesn't record."""
        ...

    def on_step(self, record: StepRecord) -> None: ...


class Recorder(StepListener, Protocol):
    """What the live state shows of a recorder."""

    @property
    def recording(self) -> RecordingOut | None: ...

    @property
    def saved(self) -> SavedOut | None: ...


class DriveSink(Protocol):
    """Where `Drive` messages go, in the event loop's thread, after sequence, age and epoch were checked."""

    def take(self, drive: Drive, *, received: float, answer: Callable[[float | None], None]) -> Refusal | None:
        """received: time.monotonic(). answer: call it once, from any thread, with ms from `received` to the first
        control step that used the message, or None where nothing moved; the page's echo. A Refusal is sent instead."""
        ...

    def let_go(self) -> None:
        """The socket is closed or somebody else's: the dead-man is released."""
        ...

"""A person drives: the source of commands for `Drive` messages, with the dead-man and the watchdog over it.

The arms move only while the dead-man is held and fresh messages come, at least one every 50 ms. `SLOW_SECONDS` after
the last one the robot brakes, so that it is at rest before `HOLD_MS` are over; it goes on with the next message. After
`RECLUTCH_MS` of silence, a stop, a socket that closed or a command that was not allowed, the dead-man has to be let go
and pressed again: nothing starts to move under a key that somebody forgot.

Fresh messages alone prove a page, not a hand. Each says how old the newest sign of the hand is; when that is over
`EVIDENCE_MS` the robot brakes and the dead-man has to be pressed again, whatever the page believes.
"""

import logging
import threading
import time
from collections.abc import Callable

from dexvla.errors import UserError
from dexvla.live.messages import EVIDENCE_MS, RECLUTCH_MS, ArmDrive, Drive, Refusal
from dexvla.robots.base import ArmTwist, Teleop
from worker.robot.arbiter import Arbiter, BusyError
from worker.robot.sources import Action, SourceKind, Tick

log = logging.getLogger("studio.robot")

SLOW_SECONDS = 0.09  # one message lost and the next 40 ms late; leaves two control steps and the braking until HOLD_MS
_RECLUTCH_SECONDS = RECLUTCH_MS / 1000
_EVIDENCE_SECONDS = EVIDENCE_MS / 1000


class _Command:
    """The newest message, and its echo, which is sent once."""

    def __init__(self, drive: Drive, received: float, answer: Callable[[float | None], None]) -> None:
        self.received = received
        self.left, self.right = _twist(drive.left), _twist(drive.right)
        self._answer: Callable[[float | None], None] | None = answer
        self._lock = threading.Lock()

    def used(self) -> None:
        if self._answer is not None:
            self.echo(round((time.monotonic() - self.received) * 1000, 2))

    def echo(self, applied: float | None) -> None:
        with self._lock:
            answer, self._answer = self._answer, None
        if answer is not None:
            answer(applied)


class Driving:
    """The sink of the control socket and a source of the control loop. `prepare` makes the kinematics, which takes a
    second: in a thread of its own. Until then, and if it fails, `Drive` messages are refused with the reason."""

    kind = SourceKind.HUMAN
    cameras: frozenset[str] = frozenset()

    def __init__(self, arbiter: Arbiter, *, prepare: Callable[[], Teleop]) -> None:
        self._arbiter = arbiter
        self._newest: _Command | None = None
        self._reclutch: str | None = None  # why the dead-man has to be let go first
        self._proven = float("-inf")  # when the hand was known to be there
        self._begin = True
        self._why: str | None = None
        self._teleop: Teleop | None = None
        self._unready = "driving is being prepared; try again in a second"
        threading.Thread(target=self._prepare, args=(prepare,), name="kinematics", daemon=True).start()

    @property
    def why(self) -> str | None:
        return self._why

    # --- from the control socket ----------------------------------------------------------------------------------

    def take(self, drive: Drive, *, received: float, answer: Callable[[float | None], None]) -> Refusal | None:
        if not drive.deadman:
            self._arbiter.release_drive(self)
            self._drop(None)
            answer(None)
            return None
        newest = self._newest
        if newest is not None and received - newest.received > _RECLUTCH_SECONDS:
            self._lose(newest)
        if self._teleop is None:
            return Refusal(seq=drive.seq, code="busy", message=self._unready)
        if self._reclutch is not None:
            message = f"{self._reclutch}; let go of the dead-man and press it again"
            return Refusal(seq=drive.seq, code="reclutch", message=message)
        if not self._is_proven(drive, received):
            why = f"no sign for {EVIDENCE_MS} ms that the keys are still held"
            self._arbiter.release_drive(self, f"{why}; the robot holds")
            self._drop(why)
            message = f"{why}; let go of the dead-man and press it again"
            return Refusal(seq=drive.seq, code="reclutch", message=message)
        try:
            self._arbiter.engage_drive(self)
        except BusyError as error:
            # What is in the way may end while the key is still held: not a moment at which to start.
            self._drop("the robot was not free")
            return Refusal(seq=drive.seq, code="busy", message=str(error))
        before, self._newest = self._newest, _Command(drive, received, answer)
        if before is not None:
            before.echo(None)  # no control step came between the two
        return None

    def let_go(self) -> None:
        held = self._newest is not None
        self._arbiter.release_drive(self, "the page that drove has gone" if held else None)
        self._drop("the page that drove was gone" if held else None)

    # --- from the control loop ------------------------------------------------------------------------------------

    def action(self, tick: Tick) -> Action | None:
        teleop, command = self._teleop, self._newest
        if teleop is None or command is None:
            return None
        if self._begin:
            self._begin = False
            teleop.release()
        silent = time.monotonic() - command.received
        if silent > SLOW_SECONDS:
            self._why = "the page that drives is silent"
            self._begin = True
            if silent > _RECLUTCH_SECONDS:
                self._lose(command)
            return None
        action = teleop.step(command.left, command.right, last_sent=tick.last_sent, measured=tick.observation.qpos)
        self._why = teleop.why
        command.used()
        return action

    def on_stop(self) -> None:
        self._drop("the robot was stopped or let go")

    def on_refused(self, reason: str) -> None:
        log.error("a joint target of the kinematics was refused: %s", reason)

    # ---------------------------------------------------------------------------------------------------------------

    def _is_proven(self, drive: Drive, received: float) -> bool:
        """Whether a hand was there a moment ago. What asks for no movement needs no proof, and begins a new stretch for
        clients that give none."""
        if not _moves(drive):
            self._proven = received
        elif drive.evidence_ms is not None:
            self._proven = received - drive.evidence_ms / 1000
        elif self._newest is None:
            self._proven = received
        return received - self._proven <= _EVIDENCE_SECONDS

    def _lose(self, silent: _Command) -> None:
        """After long silence, noticed by the control loop or by the message that ends it."""
        if self._newest is silent:
            why = f"no command came for {RECLUTCH_MS} ms"
            self._arbiter.release_drive(self, f"{why}; the robot holds")
            self._drop(why)

    def _drop(self, reclutch: str | None) -> None:
        """Nobody drives. reclutch: why the dead-man has to be let go before somebody does, None: it is let go."""
        newest, self._newest = self._newest, None
        self._reclutch, self._begin, self._why = reclutch, True, None
        if newest is not None:
            newest.echo(None)

    def _prepare(self, prepare: Callable[[], Teleop]) -> None:
        try:
            self._teleop = prepare()
        except UserError as error:
            self._unready = f"this robot cannot be driven by hand: {error}"
            log.warning("%s", self._unready)
        except Exception as error:
            self._unready = f"this robot cannot be driven by hand: {error or type(error).__name__}"
            log.exception("the kinematics cannot be made")


def _moves(drive: Drive) -> bool:
    return any((*arm.linear, *arm.angular, arm.gripper) != (0.0,) * 7 for arm in (drive.left, drive.right))


def _twist(arm: ArmDrive) -> ArmTwist:
    return ArmTwist(linear=arm.linear, angular=arm.angular, gripper=arm.gripper)

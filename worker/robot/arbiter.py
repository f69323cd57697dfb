"""Who commands the robot: at most one source at a time, and none while the stop is latched. Pure switching, no I/O."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dexvla.errors import UserError
from dexvla.live.messages import Mode
from worker.robot.latch import StopLatch
from worker.robot.sources import CommandSource


class BusyError(UserError):
    """Not now: the message says who or what has the robot, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """source: who is asked for actions now, None: nobody. policy: the policy's source, acting or paused.

    why: why a policy is paused, or why driving or a policy ended, in words for people.
    """

    mode: Mode = Mode.IDLE
    source: CommandSource | None = None
    policy: CommandSource | None = None
    why: str | None = None

    @property
    def sources(self) -> tuple[CommandSource, ...]:
        """Those who command or wait, each once."""
        policy = () if self.policy is None else (self.policy,)
        return policy if self.source is None or self.source is self.policy else (self.source, *policy)


class Arbiter:
    """Every method may be called from every thread; none waits for more than another one's few instructions.

    A person who drives goes before a paused policy, which stays paused meanwhile; an acting policy has to be paused
    first. `on_change` is called after each change, in the thread that made it, and must not wait.
    """

    def __init__(self, latch: StopLatch) -> None:
        self._latch = latch
        self._lock = threading.Lock()
        self._epoch = latch.now.epoch
        self._now = Command()
        self._forbidden: str | None = None
        self.on_change: Callable[[], None] = lambda: None

    @property
    def now(self) -> Command:
        return self._now

    def forbid(self, why: str) -> None:
        """Nothing may move until `allow`: a policy is paused, driving ends."""
        if self._forbidden != why:
            self._forbidden = why
            self._flush(f"{why}; the robot holds")

    def allow(self, why: str) -> None:
        """That reason is gone. What it paused stays paused."""
        if self._forbidden == why:
            self._forbidden = None

    def begin_policy(self, source: CommandSource, *, instead: bool = False) -> None:
        """Let it act. Raises BusyError while another policy is there (unless `instead`: it leaves in the same moment),
        somebody drives or the stop is latched."""

        def change(now: Command) -> Command:
            if now.policy is not None and not instead:
                raise BusyError("a policy has the robot already; end it first")
            if now.mode is Mode.DRIVE:
                raise BusyError("somebody drives the robot; wait until they let go")
            self._refuse_forbidden()
            return Command(mode=Mode.POLICY, source=source, policy=source)

        self._change(change)

    def pause(self, why: str, *, source: CommandSource | None = None) -> None:
        """Pause the acting policy; nothing if none acts, or if it is not `source`."""

        def change(now: Command) -> Command:
            if now.mode is not Mode.POLICY or (source is not None and now.policy is not source):
                return now
            return Command(mode=Mode.PAUSED, policy=now.policy, why=why)

        self._change(change)

    def resume(self) -> None:
        """Let the paused policy act again. Raises BusyError where there is none, or it may not."""

        def change(now: Command) -> Command:
            if now.policy is None:
                raise BusyError("no policy is paused; start a rollout")
            if now.mode is Mode.DRIVE:
                raise BusyError("somebody drives the robot; let go first")
            self._refuse_forbidden()
            return Command(mode=Mode.POLICY, source=now.policy, policy=now.policy)

        self._change(change)

    def end_policy(self, why: str | None = None, *, source: CommandSource | None = None) -> None:
        """The policy leaves; nothing if there is none, or if it is not `source`."""

        def change(now: Command) -> Command:
            if now.policy is None or (source is not None and now.policy is not source):
                return now
            if now.mode is Mode.DRIVE:
                return Command(mode=Mode.DRIVE, source=now.source, why=why)
            return Command(why=why)

        self._change(change)

    def engage_drive(self, source: CommandSource) -> None:
        """A person commands. Raises BusyError while a policy acts, somebody else drives or the stop is latched."""

        def change(now: Command) -> Command:
            if now.mode is Mode.DRIVE and now.source is source:
                return now
            if now.mode is Mode.POLICY:
                raise BusyError("a policy acts; pause it first")
            if now.mode is Mode.DRIVE:
                raise BusyError("somebody else drives the robot")
            self._refuse_forbidden()
            return Command(mode=Mode.DRIVE, source=source, policy=now.policy)

        self._change(change)

    def release_drive(self, source: CommandSource, why: str | None = None) -> None:
        """Nobody drives any more; a policy that waited is paused still."""

        def change(now: Command) -> Command:
            if now.mode is not Mode.DRIVE or now.source is not source:
                return now
            mode = Mode.IDLE if now.policy is None else Mode.PAUSED
            return Command(mode=mode, policy=now.policy, why=why or ("driven by hand" if now.policy else None))

        self._change(change)

    def commanding(self) -> CommandSource | None:
        """For the control loop, once a step: whom to ask. A stop, and a re-arming after it, have been heeded here."""
        latch = self._latch.now
        if latch.epoch != self._epoch:
            with self._lock:
                self._epoch = latch.epoch
            self._flush(f"stopped by {latch.stopped_by}" if latch.stopped else "the stop was pressed")
        return None if latch.stopped or self._forbidden is not None else self._now.source

    def fail(self, source: CommandSource, why: str) -> None:
        """It broke: a policy is paused, driving ends."""
        self.pause(why, source=source)
        self.release_drive(source, why)

    def _flush(self, why: str) -> None:
        now = self._now
        for source in now.sources:
            source.on_stop()
        self.pause(why)
        if now.mode is Mode.DRIVE and now.source is not None:
            self.release_drive(now.source, why)

    def _refuse_forbidden(self) -> None:
        if self._forbidden is not None:
            raise BusyError(f"not now: {self._forbidden}")
        latch = self._latch.now
        if latch.stopped:
            raise BusyError(f"the robot was stopped by {latch.stopped_by}; an operator has to re-arm it first")

    def _change(self, change: Callable[[Command], Command]) -> None:
        with self._lock:
            before = self._now
            after = self._now = change(before)
        if after is before:
            return
        for source in before.sources:
            if source is not after.source:
                source.on_stop()
        self.on_change()

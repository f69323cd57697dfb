"""The stop of a robot: latched, kept across restarts of the host. Holds no robot and does no waiting.

The record lies in a file whose space is reserved when the host starts, so that a full disk loses no stop. What is
written into it the kernel keeps when the process is killed; whether it has reached the disk does not matter for a stop,
because a host that finds that its machine went down without a word starts stopped anyway. So does one that finds no
record, or one that cannot be read.
"""

import json
import logging
import os
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dexvla.files import fsync_path

log = logging.getLogger("studio.robot")

_SLOT = 4096  # bytes; two of them, written in turn, so that a torn one leaves the one before
_TEXT = 400  # characters kept of a name and of a reason
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_HOST = "robot host"


@dataclass(frozen=True, kw_only=True)
class Latch:
    """epoch: counts stops and re-arms. stopped_by, reason: of the stop that is latched, None while armed."""

    epoch: int
    since: datetime
    stopped_by: str | None = None
    reason: str | None = None

    @property
    def stopped(self) -> bool:
        return self.stopped_by is not None


class StopLatch:
    """Anybody may `stop`, from any thread; `arm` releases. The state in memory changes at once; `remember` writes it
    down and `sync` has it on the disk, both for a thread that may wait.

    ran_before: whether a host of this robot has run here, so that there ought to be a record.
    """

    def __init__(self, file: Path, *, ran_before: bool = False) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._descriptor: int | None = None
        self._number = 0  # of the newest record
        self._boot = _boot_id()
        self._failed: str | None = None
        self._written: Latch | None = None
        self._now = self._remembered(ran_before)
        self._begin()

    @property
    def now(self) -> Latch:
        return self._now

    @property
    def at_risk(self) -> str | None:
        """What a restart of the host would make of it, where the record could not be written; None if all is well."""
        return self._failed

    def stop(self, *, by: str, reason: str = "") -> Latch:
        """Latch. A stop on top of a stop leaves the first one's name."""
        with self._lock:
            if not self._now.stopped:
                epoch = self._now.epoch + 1
                self._now = Latch(epoch=epoch, since=datetime.now(UTC), stopped_by=by, reason=reason or None)
            return self._now

    def arm(self) -> Latch:
        with self._lock:
            if self._now.stopped:
                self._now = Latch(epoch=self._now.epoch + 1, since=datetime.now(UTC))
            return self._now

    def remember(self) -> None:
        """Bring the record up to date; where the disk refuses, `at_risk` says what that means."""
        with self._writing:
            now = self._now
            if now is self._written:
                return
            try:
                self._write(now)
            except OSError as error:
                self._failed = self._give_up(now, error)
                log.error("%s", self._failed)
            else:
                self._failed = None
            self._written = now

    def sync(self) -> None:
        """Have it on the disk; only for who reads there who stopped the robot, and why."""
        descriptor = self._descriptor
        if descriptor is not None:
            with suppress(OSError):
                os.fdatasync(descriptor)

    def close(self) -> None:
        """The host ends in order: the next one finds the robot as it is now."""
        with self._writing:
            if self._descriptor is None:
                return
            with suppress(OSError):
                self._write(self._now, ended=True)
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    # --- the file -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Say that the host runs, on the disk, before anything moves."""
        with self._writing:
            try:
                self._write(self._now)
                assert self._descriptor is not None
                os.fsync(self._descriptor)
                fsync_path(self._file.parent)
                self._written = self._now
            except OSError as error:
                why = error.strerror or str(error)
                self._failed = f"There is no room for the record of a stop ({why}): a restart starts stopped."
                reason = f"{self._file} cannot be written ({why}), so a stop is assumed; free some space"
                if not self._now.stopped:
                    self._now = Latch(epoch=1, since=datetime.now(UTC), stopped_by=_HOST, reason=reason)
                self._written = self._now
                log.error("%s", reason)

    def _write(self, now: Latch, *, ended: bool = False) -> None:
        if self._descriptor is None:
            self._descriptor = self._reserve()
        self._number += 1
        record = {
            "number": self._number,
            "by": now.stopped_by and now.stopped_by[:_TEXT],
            "reason": now.reason and now.reason[:_TEXT],
            "since": now.since.isoformat(),
            "boot": self._boot,
            "ended": ended,
        }
        content = json.dumps(record).encode()
        slot = f"{zlib.crc32(content):08x} ".encode() + content
        os.pwrite(self._descriptor, slot.ljust(_SLOT - 1) + b"\n", _SLOT * (self._number % 2))

    def _reserve(self) -> int:
        """A descriptor of the file, all of which has a place on the disk. A file that is there keeps what it says."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size < 2 * _SLOT:
                os.pwrite(descriptor, b"\n" * (2 * _SLOT - size), size)
        except OSError:
            os.close(descriptor)
            if size == 0:
                self._file.unlink(missing_ok=True)
            raise
        return descriptor

    def _give_up(self, now: Latch, error: OSError) -> str:
        """What to say of a record that could not be written. Without a file a restart starts stopped."""
        why = error.strerror or str(error)
        try:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            self._file.unlink(missing_ok=True)
        except OSError:
            if now.stopped:
                return f"The stop cannot be written down ({why}): a restart of the robot host would forget it."
        return (
            f"Who stopped or re-armed the robot cannot be written down ({why}): a restart of its host starts stopped."
        )

    def _remembered(self, ran_before: bool) -> Latch:
        now = datetime.now(UTC)

        def assumed(reason: str) -> Latch:
            return Latch(epoch=1, since=now, stopped_by=_HOST, reason=f"{reason}, so a stop is assumed")

        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            if ran_before:
                return assumed(f"how this robot was left is not known ({self._file} is not there)")
            return Latch(epoch=0, since=now)
        except OSError as error:
            return assumed(f"{self._file} cannot be read ({error.strerror})")
        records = [_record(content[start : start + _SLOT]) for start in (0, _SLOT)]
        found = max((record for record in records if record is not None), key=lambda one: one["number"], default=None)
        if found is None:
            return assumed(f"{self._file} cannot be read (no record in it is whole)")
        self._number = found["number"]
        since = datetime.fromisoformat(found["since"])
        if found["by"] is not None:
            return Latch(epoch=1, since=since, stopped_by=found["by"], reason=found["reason"])
        if not found["ended"] and found["boot"] != self._boot:
            return assumed("the machine went down without a word")
        return Latch(epoch=0, since=since)


def _record(slot: bytes) -> dict[str, Any] | None:
    """None for one that is not whole, or empty."""
    checksum, _, content = slot.strip().partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(content):
            return None
        record: dict[str, Any] = json.loads(content)
    except ValueError:
        return None
    return record


def _boot_id() -> str:
    """Of the running system; a new one after each start of the machine."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""

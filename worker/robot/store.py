"""What a robot host needs of a studio, and nothing else: to be seen, to know whether the studio is whole, and to hand
recordings in. The host on the studio's own machine has one that asks the database (worker.supervise.robot_host), a host
elsewhere one that asks over HTTP (worker.robot.http_store)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dexvla.live.hosting import DatasetFacts
from dexvla.live.status import HostStatus


class AwayError(Exception):
    """The studio does not answer or has no room now; what was asked may be asked again. Its text says what is wrong."""


class RefusedError(Exception):
    """The studio will never take this recording; says why, for people."""


@dataclass(frozen=True, kw_only=True)
class FinishedRecording:
    """An episode file to be handed in. id: the same at every try. by: the name of who recorded it."""

    id: str
    file: Path
    dataset_id: str
    by: str


class Store(Protocol):
    """Of one robot. Each call may wait for seconds and comes from a thread that may; none from the control loop."""

    def announce(self, *, kind: str, address: str, status: HostStatus) -> str:
        """The robot is there; to be repeated every two seconds. Returns the token with which the studio will ask this
        host. Raises AwayError."""
        ...

    def withdraw(self, *, address: str) -> None:
        """The host ends: take the robot off the list. Raises AwayError."""
        ...

    def sign(self, status: HostStatus) -> None:
        """A second sign of life beside `announce`, for when that has to wait; best effort, every two seconds."""
        ...

    def unsign(self) -> None:
        """The host ends: no more signs. Best effort."""
        ...

    def trouble(self) -> str | None:
        """What of the studio does not answer within half a second, for people; None if it is whole."""
        ...

    def dataset(self, dataset_id: str) -> DatasetFacts | None:
        """None if there is no such dataset. Raises AwayError."""
        ...

    def hand_in(self, recording: FinishedRecording) -> str:
        """Have the recording listed; its episode's id, also if it was listed by an earlier try. Raises RefusedError for
        good, AwayError and OSError for now."""
        ...

    def close(self) -> None:
        """Nothing is asked any more."""
        ...

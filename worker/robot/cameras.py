"""Frames on their way out: rendered only while somebody asks, encoded once, the newest wins."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.robots.base import Frame
from dexvla.spec import CameraSpec

INTEREST_SECONDS = 2.0  # a camera in which nobody shows interest for so long rests
_QUALITY = 90  # as episodes are stored: a frame is encoded once, for those who watch and for the recorder
_ENCODED = 4  # frames of a camera whose encoding is kept for the other one
_RATE_SECONDS = 3.0
_STILL_SECONDS = 0.2  # between two tellings that a scene still looks as it did


@dataclass(frozen=True, kw_only=True)
class EncodedFrame:
    """A frame as a JPEG. number: 1, 2, ... of its camera. taken: when the scene looked so, s of time.monotonic()."""

    number: int
    taken: float
    data: bytes


class CameraHub:
    """Between the control loop, which brings frames and must not wait, and those who want frames.

    One thread encodes. A frame that arrives while it is busy replaces the one that waits.
    """

    def __init__(self, cameras: Sequence[CameraSpec]) -> None:
        self.names = tuple(camera.name for camera in cameras)
        self._interest = dict.fromkeys(self.names, float("-inf"))
        self._seen: dict[str, float] = {}  # the robot's time of the newest frame that was brought
        self._brought: dict[str, float] = {}  # time.monotonic() at which it was
        self._waiting: dict[str, tuple[float, NDArray[np.uint8]]] = {}
        self._newest: dict[str, EncodedFrame] = {}
        self._done: dict[str, deque[float]] = {name: deque(maxlen=256) for name in self.names}
        self._encoded: dict[str, deque[tuple[NDArray[np.uint8], bytes]]] = {}
        self._encoding = threading.Lock()
        self._changed = threading.Condition()
        self._listeners: list[Callable[[str], None]] = []
        self._ended = False
        self._thread = threading.Thread(target=self._encode, name="jpeg", daemon=True)
        self._thread.start()

    def change(self, cameras: Sequence[CameraSpec]) -> None:
        """From the control loop: the robot has these cameras now. Numbers of frames go on."""
        names = tuple(camera.name for camera in cameras)
        with self._changed:
            self._waiting.clear()
            self._seen.clear()
            for name in names:
                self._interest.setdefault(name, float("-inf"))
                self._done.setdefault(name, deque(maxlen=256))
            self.names = names

    def show_interest(self, name: str) -> None:
        """Keep this camera going for the next `INTEREST_SECONDS`."""
        self._interest[name] = time.monotonic()

    def viewed(self) -> frozenset[str]:
        """Cameras in which somebody showed interest within `INTEREST_SECONDS`."""
        since = time.monotonic() - INTEREST_SECONDS
        return frozenset(name for name in self.names if self._interest[name] > since)

    def bring(self, frames: Mapping[str, Frame], *, robot_time: float, still: bool = False) -> None:
        """From the control loop: the newest frames there are, and the robot's time now, which dates them.

        still: that time stands still, so a frame that is not new is not old either and is told again.
        """
        viewed = self.viewed()
        now = time.monotonic()
        again = now - _STILL_SECONDS if still else float("-inf")
        fresh = {
            name: frame
            for name, frame in frames.items()
            if name in viewed and (self._seen.get(name) != frame.time or self._brought.get(name, now) < again)
        }
        if not fresh:
            return
        with self._changed:
            for name, frame in fresh.items():
                self._seen[name], self._brought[name] = frame.time, now
                self._waiting[name] = (now - (robot_time - frame.time), frame.image)
            self._changed.notify()

    def encoded(self, name: str, image: NDArray[np.uint8]) -> bytes:
        """JPEG of an image that the robot gave, encoded by whoever asks first. Takes about a millisecond."""
        with self._encoding:
            known = self._encoded.setdefault(name, deque(maxlen=_ENCODED))
            for other, data in known:
                if other is image:
                    return data
            data = encode_jpeg(image, quality=_QUALITY)
            known.append((image, data))
            return data

    def newest(self, name: str) -> EncodedFrame | None:
        return self._newest.get(name)

    def fps(self, name: str) -> float:
        """Frames a second of the last seconds."""
        since = time.monotonic() - _RATE_SECONDS
        return sum(done > since for done in tuple(self._done[name])) / _RATE_SECONDS

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call it with a camera's name, in the encoder's thread, whenever that has a new frame."""
        self._listeners.append(listener)

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(1.0)

    def _encode(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if self._ended:
                    return
                name = min(self._waiting, key=lambda name: self._waiting[name][0])
                taken, image = self._waiting.pop(name)
            data = self.encoded(name, image)
            before = self._newest.get(name)
            self._newest[name] = EncodedFrame(number=1 if before is None else before.number + 1, taken=taken, data=data)
            self._done[name].append(time.monotonic())
            for listener in self._listeners:
                listener(name)

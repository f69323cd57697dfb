"""A real robot host with synthetic cameras: 4 x 480x640 at 30 Hz, every frame with the time it was made at.

    python benchmarks/synthetic_video/host.py NAME     settings from the environment, as `studio robot`

The time is Unix time in microseconds, 64 bits, most significant first, in blocks of 12 x 12 px, white for 1: two rows
of 32 in the upper left corner. The rest is smooth noise that moves, about as large as JPEG as a frame of a room.
"""

import sys
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.core.settings import Settings
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.base import Frame, Observation, RobotInfo
from dexvla.spec import CameraSpec
from worker.robot.plugged import PluggedRobot
from worker.supervise.robot_host import run

HEIGHT, WIDTH, RATE = 480, 640, 30.0
CAMERAS = tuple(CameraSpec(name=f"cam_{number}", height=HEIGHT, width=WIDTH) for number in range(4))
BLOCK, BITS, ROW = 12, 64, 32


def background(seed: int) -> NDArray[np.uint8]:
    """(H, 2 W, 3): of which a window of width W is shown."""
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 215, (HEIGHT // 40, WIDTH // 20, 3)).astype(np.uint8)
    fine = random.integers(-5, 6, (HEIGHT, 2 * WIDTH, 1))
    return np.clip(coarse.repeat(40, 0).repeat(40, 1) + fine, 0, 255).astype(np.uint8)


def write_time(image: NDArray[np.uint8], microseconds: int) -> None:
    bits = np.array([microseconds >> (BITS - 1 - place) & 1 for place in range(BITS)], np.uint8).reshape(-1, ROW)
    image[: bits.shape[0] * BLOCK, : ROW * BLOCK] = (bits.repeat(BLOCK, 0).repeat(BLOCK, 1) * 255)[..., None]


class SyntheticCameras(LiveAlohaSim):
    """The simulated ALOHA's physics; its cameras are made up in a thread of this process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cameras=())
        self._own_info = replace(super().info, cameras=CAMERAS)
        self._watched: frozenset[str] = frozenset()
        self._made: dict[str, tuple[float, NDArray[np.uint8]]] = {}  # when, by time.monotonic()
        self._shown: dict[str, tuple[float, Frame]] = {}
        self._backgrounds = {camera.name: background(seed) for seed, camera in enumerate(CAMERAS)}
        self._ended = threading.Event()
        self._camera: threading.Thread | None = None

    @property
    def info(self) -> RobotInfo:
        return self._own_info

    def connect(self) -> None:
        super().connect()
        if self._camera is None:
            self._camera = threading.Thread(target=self._make, name="synthetic cameras", daemon=True)
            self._camera.start()

    def watch(self, cameras: Collection[str]) -> None:
        self._watched = frozenset(cameras)

    def observe(self, *, images: bool = True) -> Observation:
        seen = super().observe(images=False)
        if not images:
            return seen
        now = time.monotonic()
        for name, (made, image) in tuple(self._made.items()):
            if name not in self._shown or self._shown[name][0] != made:
                self._shown[name] = made, Frame(image=image, time=seen.time - (now - made))
        return replace(seen, frames={name: frame for name, (_, frame) in self._shown.items()})

    def disconnect(self) -> None:
        self._ended.set()
        super().disconnect()

    def _make(self) -> None:
        due = time.monotonic()
        count = 0
        while not self._ended.is_set():
            for name in sorted(self._watched):
                left = 4 * count % WIDTH
                image = self._backgrounds[name][:, left : left + WIDTH].copy()
                made = time.monotonic()
                write_time(image, time.time_ns() // 1000)
                self._made[name] = made, image
            count += 1
            due = max(due + 1 / RATE, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    PluggedRobot.make = lambda self, **changes: SyntheticCameras()
    run(Settings(), name=sys.argv[1])

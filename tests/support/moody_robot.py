"""A robot whose faults and measurements a test decides."""

import threading
import time
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.base import Frame, Observation, RobotInfo
from dexvla.spec import CameraSpec


class Moody:
    """A robot that fails when it is told to."""

    def __init__(self) -> None:
        camera = CameraSpec(name="eye", height=8, width=8)
        ones = np.ones(2, np.float32)
        self.info = RobotInfo(
            name="moody", joint_names=("a", "b"), action_names=("a", "b"), action_low=-ones, action_high=ones,
            control_hz=100.0, simulated=True, cameras=(camera,),
            max_velocity=2 * ones, max_acceleration=20 * ones,
        )  # fmt: skip
        self.fails: Exception | None = None
        self.hangs = threading.Event()
        self.sent: list[NDArray[np.float32]] = []
        self.connections, self.restarts = 0, 0
        self.cameras_away, self.unplugged = False, False
        self.camera_fault: str | None = None
        self.views: tuple[CameraSpec, ...] = ()
        self.watched: Collection[str] = ()

    def connect(self) -> None:
        self.connections += 1
        if self.fails:
            raise self.fails

    def disconnect(self) -> None:
        if self.unplugged:
            raise OSError("the port is gone")

    def observe(self, *, images: bool = True) -> Observation:
        now = time.monotonic()
        frames = {"eye": Frame(image=np.zeros((8, 8, 3), np.uint8), time=now)} if images else {}
        return Observation(time=now, qpos=np.full(2, 0.5, np.float32), qvel=np.zeros(2, np.float32), frames=frames)

    def act(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        while self.hangs.is_set():
            time.sleep(0.01)
        if self.fails:
            raise self.fails
        self.sent.append(action)
        return action

    def watch(self, cameras: Collection[str]) -> None:
        self.watched = tuple(cameras)

    def restart_cameras(self) -> None:
        self.restarts += 1
        if self.cameras_away:
            raise RobotError("no camera on the bus")

"""What the control loop and the renderer of the live robot share: the scene's state one way, frames the other way.

Neither side ever waits for the other. The state is guarded by a version that is odd while it is written; each camera
has three slots in turn and the number of its newest complete frame. The memory has no name and goes with its last
user, however that one ends.
"""

import mmap
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.scene import OVERVIEW
from dexvla.spec import CameraSpec, RenderProfile
from dexvla.spec.base import Spec

SLOTS = 3
_ALIGN = 64
_READ_TRIES = 100


class RendererConfig(Spec):
    """What the renderer is started with."""

    task: AlohaTask
    render: RenderProfile
    cameras: tuple[CameraSpec, ...]
    overview: bool = Field(False, description="Also render `scene.OVERVIEW`, for people, while somebody looks")
    frame_rate: float = Field(gt=0, le=1000, description="Most frames a second of each camera")
    state_size: int = Field(ge=1, description="Length of MuJoCo's qpos")

    @property
    def rendered(self) -> tuple[CameraSpec, ...]:
        """Every camera that is rendered."""
        return (*self.cameras, OVERVIEW) if self.overview else self.cameras


@dataclass(frozen=True)
class SceneState:
    """A moment of the scene. time: seconds, simulated. episode: counts resets. qpos: (nq,) MuJoCo's."""

    version: int
    time: float
    episode: int
    qpos: NDArray[np.float64]


@dataclass(frozen=True)
class SharedFrame:
    """A frame out of the shared memory. number: 1, 2, ... of its camera. image: (H, W, 3) uint8, read-only."""

    number: int
    time: float
    episode: int
    image: NDArray[np.uint8]


def make_memory(size: int) -> int:
    """A file descriptor of `size` bytes of zeroed memory without a name, to be inherited and mapped."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dexvla-live")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


class SharedScene:
    """The shared memory, mapped. One process writes the state, one writes frames."""

    def __init__(self, config: RendererConfig, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, self.size(config))
        self._offset = 0
        # version and episode of the state; state time and the moment until which the renderer counts as alive
        self._numbers: NDArray[np.int64] = self._take(np.int64, 2)
        self._times: NDArray[np.float64] = self._take(np.float64, 2)
        self._qpos: NDArray[np.float64] = self._take(np.float64, config.state_size)
        self._wanted: dict[str, NDArray[np.int64]] = {}
        self._newest: dict[str, NDArray[np.int64]] = {}
        self._episodes: dict[str, NDArray[np.int64]] = {}
        self._taken: dict[str, NDArray[np.float64]] = {}
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        for camera in config.rendered:
            shape = (SLOTS, camera.height, camera.width, 3)
            self._wanted[camera.name] = self._take(np.int64, 1)
            self._newest[camera.name] = self._take(np.int64, 1)
            self._episodes[camera.name] = self._take(np.int64, SLOTS)
            self._taken[camera.name] = self._take(np.float64, SLOTS)
            self._pixels[camera.name] = self._take(np.uint8, int(np.prod(shape))).reshape(shape)
        self._lock = threading.Lock()

    @staticmethod
    def size(config: RendererConfig) -> int:
        """Bytes, generously."""
        pixels = sum(SLOTS * camera.height * camera.width * 3 + 8 * _ALIGN for camera in config.rendered)
        return pixels + config.state_size * 8 + 8 * _ALIGN

    def _take(self, dtype: type, count: int) -> NDArray[Any]:
        array: NDArray[Any] = np.frombuffer(self._map, dtype, count, self._offset)
        self._offset += -(-array.nbytes // _ALIGN) * _ALIGN
        return array

    def _fence(self) -> None:
        """Keep what is written (read) before from moving behind what is written (read) after, on any processor."""
        with self._lock:
            pass

    # --- the state: written by the control loop -------------------------------------------------------------------

    def write_state(self, qpos: NDArray[np.float64], time: float, episode: int) -> None:
        self._numbers[0] += 1
        self._fence()
        self._qpos[:] = qpos
        self._times[0] = time
        self._numbers[1] = episode
        self._fence()
        self._numbers[0] += 1

    def read_state(self) -> SceneState | None:
        """The newest state; None if it is being written all the time, as by a process that was halted within."""
        for _ in range(_READ_TRIES):
            version = int(self._numbers[0])
            self._fence()
            state = SceneState(version, float(self._times[0]), int(self._numbers[1]), self._qpos.copy())
            self._fence()
            if version % 2 == 0 and version == self._numbers[0]:
                return state
        return None

    # --- which cameras somebody looks at: written by the control loop ---------------------------------------------

    def want(self, camera: str, wanted: bool) -> None:
        self._wanted[camera][0] = wanted

    def wanted(self, camera: str) -> bool:
        return bool(self._wanted[camera][0])

    # --- frames: written by the renderer ------------------------------------------------------------------------

    def write_frame(self, camera: str, image: NDArray[np.uint8], time: float, episode: int) -> None:
        number = int(self._newest[camera][0]) + 1
        slot = number % SLOTS
        self._pixels[camera][slot] = image
        self._taken[camera][slot] = time
        self._episodes[camera][slot] = episode
        self._fence()
        self._newest[camera][0] = number

    def frame_number(self, camera: str) -> int:
        """Number of the newest frame, 0 before the first."""
        return int(self._newest[camera][0])

    def read_frame(self, camera: str) -> SharedFrame | None:
        """A copy of the newest frame; None before the first."""
        for _ in range(_READ_TRIES):
            number = self.frame_number(camera)
            if number == 0:
                return None
            self._fence()
            slot = number % SLOTS
            image = self._pixels[camera][slot].copy()
            image.flags.writeable = False
            frame = SharedFrame(number, float(self._taken[camera][slot]), int(self._episodes[camera][slot]), image)
            self._fence()
            # The slot is written again for frame number + SLOTS, so not before the one before that is complete.
            if self.frame_number(camera) < number + SLOTS - 1:
                return frame
        return None

    # --- signs of life of the renderer ----------------------------------------------------------------------------

    def promise_life(self, seconds: float) -> None:
        """Announce that the next sign of life comes within `seconds`."""
        self._times[1] = time.monotonic() + seconds

    def overdue(self) -> float:
        """Seconds since the sign of life that should have come; negative while all is well."""
        return time.monotonic() - float(self._times[1])

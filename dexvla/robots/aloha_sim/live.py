"""The simulated ALOHA in real time: physics steps in the caller's control loop, cameras render in another process.

Software rendering of three cameras takes longer than a control step, so a loop that waits for frames cannot keep
50 Hz. Here `act` costs the physics alone and `observe` takes the newest frames there are, each with its own time.
"""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import scene
from dexvla.robots.aloha_sim.driver import DEFAULT_CAMERAS, AlohaSim, robot_info
from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.live_memory import RendererConfig, SharedScene, make_memory
from dexvla.robots.aloha_sim.live_renderer import READY
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions
from dexvla.robots.aloha_sim.pick_colour import PickScene
from dexvla.robots.base import Frame, Observation, RobotInfo, TaskOutcome
from dexvla.spec import CameraSpec, RenderProfile

_START_SECONDS = 120.0  # to load MuJoCo and compile the scene on a busy machine; whether it died is seen at once
_FIRST_FRAME_SECONDS = 60.0
_STARVED_SECONDS = 60.0  # overdue for so long, a renderer that waits for a processor counts as hanging, too
_STOP_SECONDS = 3.0


class LiveAlohaSim:
    """`AlohaSim` with a renderer of its own. The caller paces it: one `act` every 1 / control_hz seconds.

    overview: also give `scene.OVERVIEW`, a view for people that is no camera of the robot: it is in `views` and,
    while it is watched, in observations. frame_rate: most frames a second of each camera; a slow machine gives fewer.
    Frames are shared between observations and therefore read-only. If the renderer dies or hangs, `camera_fault` says
    so, observations carry the last frames with their old times, and physics goes on; `restart_cameras` starts a new
    one.
    """

    def __init__(
        self,
        *,
        task: AlohaTask = AlohaTask.TRANSFER_CUBE,
        cameras: tuple[CameraSpec, ...] = DEFAULT_CAMERAS,
        render: RenderProfile = RenderProfile.FAST,
        frame_rate: float = 15.0,
        pick: PickColourOptions | None = None,
        overview: bool = False,
    ) -> None:
        scene.check_cameras(cameras)
        self._views = (scene.OVERVIEW,) if overview and cameras else ()
        self._sim = AlohaSim(task=task, cameras=(), render=render, pick=pick)
        self._info = robot_info(cameras)
        self._frame_rate = frame_rate
        self._episode = 0
        self._config: RendererConfig | None = None
        self._shared: SharedScene | None = None
        self._descriptor: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output = b""
        self._frames: dict[str, tuple[int, int, Frame]] = {}  # camera -> frame's number, its episode, frame

    @property
    def info(self) -> RobotInfo:
        return self._info

    @property
    def views(self) -> tuple[CameraSpec, ...]:
        """Frames for people alone: they may be watched as cameras are, and are in no recording."""
        return self._views

    @property
    def task(self) -> AlohaTask:
        return self._sim.task

    @property
    def render_profile(self) -> RenderProfile:
        return self._sim.render_profile

    @property
    def pick(self) -> PickScene | None:
        """As `AlohaSim.pick`."""
        return self._sim.pick

    @property
    def model(self) -> Any:
        """As `AlohaSim.model`."""
        return self._sim.model

    @property
    def data(self) -> Any:
        """As `AlohaSim.data`."""
        return self._sim.data

    @property
    def instruction(self) -> str:
        return self._sim.instruction

    @property
    def scene_attributes(self) -> Mapping[str, str | float | bool]:
        """As `AlohaSim.scene_attributes`."""
        return self._sim.scene_attributes

    @property
    def max_steps(self) -> int:
        return self._sim.max_steps

    @property
    def max_reward(self) -> float:
        return self._sim.max_reward

    # --- the robot ------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Build the scene, start the renderer and wait for a first frame of every camera. Twice does nothing.

        Raises RobotError with what is missing, or if there are no frames within some seconds.
        """
        if self._shared is not None:
            return
        load_mujoco(rendering=bool(self._info.cameras))
        self._sim.connect()
        self._config = RendererConfig(
            task=self._sim.task,
            render=self._sim.render_profile,
            cameras=self._info.cameras,
            overview=bool(self._views),
            frame_rate=self._frame_rate,
            state_size=self._sim.model.nq,
        )
        self._descriptor = make_memory(SharedScene.size(self._config))
        self._shared = SharedScene(self._config, self._descriptor)
        try:
            self._publish()
            self.watch(self.camera_names)
            if self._info.cameras:
                self._start_renderer()
                self._wait_for_frames(_START_SECONDS)
        except BaseException:
            self.disconnect()
            raise

    def reset(self, seed: int, *, wait: bool = True) -> Observation:
        """As `AlohaSim.reset`; waits until every camera shows the new scene. Raises RobotError if one does not.

        Cameras are all watched afterwards. Without `wait` it returns at once, and cameras are watched as before.
        """
        if wait:
            self.watch(self.camera_names)
        self._sim.reset(seed, images=False)
        self._episode += 1
        self._publish()
        if self._info.cameras and wait:
            self._wait_for_frames(_FIRST_FRAME_SECONDS)
        return self.observe()

    def adopt(self, other: "LiveAlohaSim") -> None:
        """As `AlohaSim.adopt`; costs no time. Frames of the scene as it is now follow."""
        self._sim.adopt(other._sim)
        self._episode += 1
        self._publish()

    def observe(self, *, images: bool = True) -> Observation:
        """The present state and the newest frames; never waits. A camera without one of this episode is absent."""
        seen = self._sim.observe(images=False)
        if not images:
            return seen
        self._collect()
        frames = {name: frame for name, (_, episode, frame) in self._frames.items() if episode == self._episode}
        return Observation(time=seen.time, qpos=seen.qpos, qvel=seen.qvel, frames=frames)

    def act(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `AlohaSim.act`: one control step of physics, whatever the cameras do."""
        sent = self._sim.act(action)
        self._publish()
        return sent

    def outcome(self) -> TaskOutcome:
        return self._sim.outcome()

    def disconnect(self) -> None:
        """End the renderer and free everything."""
        self._stop_renderer()
        self._sim.disconnect()
        self._shared = None
        self._frames = {}
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # --- the cameras ----------------------------------------------------------------------------------------------

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self._info.cameras)

    @property
    def _rendered(self) -> tuple[CameraSpec, ...]:
        return (*self._info.cameras, *self._views)

    def watch(self, cameras: Collection[str]) -> None:
        """Render these cameras and no others until further notice; at first all are. Costs nothing, never waits.

        A camera that is not watched keeps its last frame, with its old time; one that is watched again has a new
        one within some hundredths of a second.
        """
        shared = self._memory()
        for camera in self._rendered:
            shared.want(camera.name, camera.name in cameras)
        if self._process is not None and self._process.stdin is not None:
            # it sleeps until told; one that is gone or hangs shows elsewhere
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                os.write(self._process.stdin.fileno(), b"\n")

    @property
    def renderer_pid(self) -> int | None:
        """Process that renders, None without cameras."""
        return None if self._process is None else self._process.pid

    @property
    def camera_fault(self) -> str | None:
        """What is wrong with the cameras, None while all is well. Looks, never waits."""
        process = self._process
        if process is None or self._shared is None:
            return None
        status = process.poll()
        if status is not None:
            line = self._first_line(0.0)
            return f"the cameras' process has ended ({line or f'exit status {status}'})"
        overdue = self._shared.overdue()
        if overdue <= 0 or (overdue < _STARVED_SECONDS and _at_work(process.pid)):
            return None
        return f"the cameras' process does not answer, {overdue:.1f} s overdue"

    def restart_cameras(self) -> None:
        """Start a new renderer and return at once; the first frames come after a second or two."""
        if not self._info.cameras:
            raise RobotError("this robot was made without cameras")
        self._memory()
        self._stop_renderer()
        self._start_renderer()

    def _memory(self) -> SharedScene:
        if self._shared is None:
            raise RobotError("the simulated robot is not connected; call connect() first")
        return self._shared

    def _publish(self) -> None:
        data = self._sim.data
        self._memory().write_state(data.qpos, float(data.time), self._episode)

    def _collect(self) -> None:
        """Copy every frame that is newer than the one we have."""
        shared = self._memory()
        for camera in self._rendered:
            known = self._frames.get(camera.name)
            if known is not None and known[0] == shared.frame_number(camera.name):
                continue
            newest = shared.read_frame(camera.name)
            if newest is not None:
                frame = Frame(image=newest.image, time=newest.time)
                self._frames[camera.name] = (newest.number, newest.episode, frame)

    def _start_renderer(self) -> None:
        assert self._config is not None
        assert self._descriptor is not None
        self._memory().promise_life(_START_SECONDS)
        self._output = b""
        environment = dict(os.environ)
        # Mesa's software renderer would otherwise take every core, the control loop's included.
        environment.setdefault("LP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dexvla.robots.aloha_sim.live_renderer",
                self._config.model_dump_json(),
                str(self._descriptor),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._descriptor,),
            env=environment,
        )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)  # `watch` never waits

    def _first_line(self, seconds: float) -> str:
        """The first line of what the renderer wrote, "" if none comes within `seconds`."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._output:
            if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            part = os.read(self._process.stdout.fileno(), 4096)
            if not part:
                break
            self._output += part
        line = self._output.split(b"\n")[0].decode("utf-8", "replace").strip()
        return "" if line == READY else line

    def _wait_for_frames(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self._collect()
            names = {name for name, (_, episode, _) in self._frames.items() if episode == self._episode}
            missing = [camera.name for camera in self._info.cameras if camera.name not in names]
            if not missing:
                return
            fault = self.camera_fault
            if fault is None and time.monotonic() > deadline:
                fault = f"no frame of {', '.join(missing)} within {seconds:.0f} s"
            if fault is not None:
                raise RobotError(fault)
            time.sleep(0.002)

    def _stop_renderer(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()  # asks it to end
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _at_work(pid: int) -> bool:
    """A thread of the process computes, or waits for a processor or a disk: it is slow, and does not hang."""
    with contextlib.suppress(OSError):  # it ended, which shows elsewhere
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                if (thread / "stat").read_text().rpartition(")")[2].split()[0] in ("R", "D"):
                    return True
    return False

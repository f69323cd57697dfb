"""The process that renders the cameras of the live robot. Started by `LiveAlohaSim`, ends with it.

    python -m dexvla.robots.aloha_sim.live_renderer CONFIG DESCRIPTOR

CONFIG is a `RendererConfig` as JSON, DESCRIPTOR the inherited shared memory. Writes one line on standard output when it
begins to render, or says there why it cannot. Ends when its standard input is closed, as it is when its parent dies.
"""

import os
import select
import signal
import sys
import time

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import scene
from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.live_memory import RendererConfig, SharedScene
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.render import SceneRenderer
from dexvla.spec import RenderProfile

READY = "ready"
PATIENCE = 3.0  # seconds within which a sign of life is promised; a frame takes some hundredths
_LOOK_SECONDS = 1.0  # between looks at whether anybody is there; what is wanted is told
_OVERVIEW_SECONDS = 1 / 8  # between two frames for people, each as costly as five others
_BUILD_SECONDS = 30.0  # to compile the scene a second time
_NICE = 5  # frames give way to the control loop


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes our standard input
    parent = os.getppid()
    config = RendererConfig.model_validate_json(arguments[0])
    shared = SharedScene(config, int(arguments[1]))
    try:
        mujoco = load_mujoco()
        model = scene.load_model(config.task, cameras=config.cameras, profile=config.render)
        renderer = SceneRenderer(model, config.cameras, config.render)
    except RobotError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    data = mujoco.MjData(model)
    os.nice(_NICE)  # not before: somebody waits for the first frame
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()

    names = [camera.name for camera in config.rendered]
    periods = dict.fromkeys(names, 1.0 / config.frame_rate)
    periods[scene.OVERVIEW.name] = max(_OVERVIEW_SECONDS, 1.0 / config.frame_rate)
    overview: _Overview | None = None  # made when somebody looks
    now = time.monotonic()
    due = {name: now + periods[name] * index / len(names) for index, name in enumerate(names)}
    rendered = dict.fromkeys(names, -1)  # version of the state that a camera's newest frame shows
    while True:
        shared.promise_life(PATIENCE)
        wanted = [name for name in names if shared.wanted(name)]
        name = min(wanted, key=due.__getitem__, default=None)
        wait = _LOOK_SECONDS if name is None else due[name] - time.monotonic()
        readable, _, _ = select.select([sys.stdin], [], [], max(0.0, min(wait, _LOOK_SECONDS)))
        if (readable and not os.read(sys.stdin.fileno(), 4096)) or os.getppid() != parent:
            break
        if readable:  # other cameras are wanted
            continue
        if name is None or time.monotonic() < due[name]:
            continue
        # A frame that came late moves the next one, instead of a burst to catch up.
        due[name] = max(due[name] + periods[name], time.monotonic())
        state = shared.read_state()
        if state is None or state.version == rendered[name]:
            continue
        if name == scene.OVERVIEW.name:
            if overview is None:
                shared.promise_life(_BUILD_SECONDS)
                overview = _Overview(config.task)
            image = overview.render(state.qpos)
        else:
            np.copyto(data.qpos, state.qpos)
            mujoco.mj_kinematics(model, data)
            mujoco.mj_camlight(model, data)
            image = renderer.render(data, name)
        shared.write_frame(name, image, state.time, state.episode)
        rendered[name] = state.version
    renderer.close()
    if overview is not None:
        overview.close()
    return 0


class _Overview:
    """The scene as people like to look at it: a model and a renderer of its own."""

    def __init__(self, task: AlohaTask) -> None:
        self._mujoco = load_mujoco()
        self._model = scene.load_overview(task)
        self._data = self._mujoco.MjData(self._model)
        self._renderer = SceneRenderer(self._model, (scene.OVERVIEW,), RenderProfile.FULL)

    def render(self, qpos: NDArray[np.float64]) -> NDArray[np.uint8]:
        np.copyto(self._data.qpos, qpos)
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)
        return self._renderer.render(self._data, scene.OVERVIEW.name)

    def close(self) -> None:
        self._renderer.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

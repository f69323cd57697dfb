"""Images of an ALOHA scene, off screen."""

import atexit
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim.gl import INSTALL, load_mujoco
from dexvla.robots.aloha_sim.scene import CAMERAS
from dexvla.spec import CameraSpec, RenderProfile


class SceneRenderer:
    """Renders the cameras of one mujoco.MjModel. Holds OpenGL contexts: use it from one thread and close it.

    One context an image size, because a MuJoCo renderer has a fixed size.
    """

    def __init__(self, model: Any, cameras: tuple[CameraSpec, ...], profile: RenderProfile) -> None:
        mujoco = load_mujoco()
        self._cameras = {camera.name: camera for camera in cameras}
        self._renderers: dict[tuple[int, int], Any] = {}
        try:
            for camera in cameras:
                size = (camera.height, camera.width)
                if size not in self._renderers:
                    self._renderers[size] = mujoco.Renderer(model, *size)
        except Exception as error:  # PyOpenGL and MuJoCo have no common base for "no context could be made"
            self.close()
            raise RobotError(
                f"the simulated cameras cannot be rendered ({type(error).__name__}: {error}); {INSTALL}"
            ) from error
        _close_at_exit(self)
        if profile is RenderProfile.FAST:
            for renderer in self._renderers.values():
                renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
                renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0

    def render(self, data: Any, camera: str) -> NDArray[np.uint8]:
        """Image of one camera, (H, W, 3) uint8 RGB, a fresh array. `data`'s positions must be up to date."""
        spec = self._cameras[camera]
        renderer = self._renderers[spec.height, spec.width]
        renderer.update_scene(data, CAMERAS.get(camera, camera))
        return np.array(renderer.render(), np.uint8)

    def close(self) -> None:
        """Free the contexts. Closing twice does nothing; a closed renderer renders no more."""
        while self._renderers:
            self._renderers.popitem()[1].close()


_open: weakref.WeakSet[SceneRenderer] = weakref.WeakSet()


def _close_at_exit(renderer: SceneRenderer) -> None:
    """Close also at the end of a program that forgot to: EGL is shut down at exit, and what is freed later complains.

    Functions registered last run first, so this must be registered after MuJoCo has registered its own, which it does
    when the first context is made.
    """
    if not _open:
        atexit.unregister(_close_open)
        atexit.register(_close_open)
    _open.add(renderer)


def _close_open() -> None:
    for renderer in list(_open):
        renderer.close()

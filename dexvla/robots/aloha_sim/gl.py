"""Which OpenGL MuJoCo renders with, chosen before MuJoCo is imported.

MuJoCo reads MUJOCO_GL once, at import, and defaults to GLFW, which needs a display. Robots run headless, so an unset
variable becomes `egl` where an EGL device can be opened (with or without a GPU) and `osmesa` otherwise.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dexvla.errors import RobotError

_EGL_PLATFORM_DEVICE = 0x313F  # EGL_EXT_platform_device
_MAX_DEVICES = 16
_PACKAGES = "libopengl0 libegl1 libgl1-mesa-dri"
INSTALL = (
    f"install {_PACKAGES}: sudo apt-get install {_PACKAGES} (elsewhere the packages of libglvnd and Mesa that bring "
    "libOpenGL.so.0, libEGL.so.1 and a driver)"
)
_FUNCTIONS = ("libOpenGL.so.0", "libGL.so.1", "libGLESv2.so.2", "libGLESv1_CM.so.1")
_OFF = ("disable", "disabled", "off", "false", "0")


def _load(*names: str) -> ctypes.CDLL | None:
    """The first library of these names that the loader finds."""
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def egl_lacks() -> str | None:
    """What keeps MuJoCo from rendering through EGL, None if nothing does: PyOpenGL needs OpenGL's own functions too."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError as error:
        return f"the library libEGL.so.1 cannot be loaded ({error})"
    # As PyOpenGL looks for it; without one of them it fails while it is imported.
    if _load(*_FUNCTIONS) is None:
        return "the library libOpenGL.so.0 cannot be loaded"
    if not _device_opens(egl):
        return "no EGL device can be opened, so its driver is missing"
    return None


def _device_opens(egl: ctypes.CDLL) -> bool:
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    query_address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_address = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query_address or not display_address:
        return False
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(query_address)
    get_display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(display_address)
    devices = (ctypes.c_void_p * _MAX_DEVICES)()
    count = ctypes.c_int(0)
    if not query(_MAX_DEVICES, devices, ctypes.byref(count)):
        return False
    egl.eglInitialize.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    for device in devices[: count.value]:
        display = get_display(_EGL_PLATFORM_DEVICE, device, None)
        if display and egl.eglInitialize(display, None, None):
            return True
    return False


def osmesa_works() -> bool:
    return _load("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so") is not None


def choose_gl(*, needed: bool = True) -> str:
    """Set MUJOCO_GL if it is unset and return what MuJoCo shall be imported with.

    needed: a camera will be rendered. Without one, a machine that has no OpenGL at all gets `disable` instead of an
    error. Raises RobotError naming the packages to install.
    """
    chosen = os.environ.get("MUJOCO_GL", "")
    if not chosen:
        if not sys.platform.startswith("linux"):
            return ""  # elsewhere MuJoCo's own choice renders without a window
        lacks = egl_lacks()
        if lacks is None:
            chosen = "egl"
        elif osmesa_works():
            chosen = "osmesa"
        elif needed:
            raise RobotError(f"the simulated cameras cannot be rendered: {lacks}; {INSTALL}")
        else:
            return "disable"  # not kept: processes started from here, and cameras wanted later, shall look again
        os.environ["MUJOCO_GL"] = chosen
    if needed and chosen.lower() in _OFF:
        raise RobotError(f"MUJOCO_GL={chosen} switches rendering off; unset it or use a robot without cameras")
    return chosen


def load_mujoco(*, rendering: bool = True) -> Any:
    """Import MuJoCo with a headless OpenGL. Raises RobotError if it, or what it needs to render, is missing."""
    chosen = choose_gl(needed=rendering) if rendering or "mujoco" not in sys.modules else ""
    try:
        with _asking_for(chosen):
            import mujoco  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise RobotError(f"the simulated robot needs MuJoCo ({error}); install the `robot` extra") from error
    except (ImportError, AttributeError, ctypes.ArgumentError) as error:
        # What PyOpenGL raises where MUJOCO_GL asks for an OpenGL that is not there.
        lacks = egl_lacks() if chosen.lower() == "egl" else None
        what = lacks or f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise RobotError(f"MUJOCO_GL={chosen}: the simulated cameras cannot be rendered: {what}; {INSTALL}") from error
    return mujoco


@contextmanager
def _asking_for(chosen: str) -> Iterator[None]:
    """MUJOCO_GL is `chosen` while MuJoCo is imported, and afterwards what it was."""
    before = os.environ.get("MUJOCO_GL")
    if chosen:
        os.environ["MUJOCO_GL"] = chosen
    try:
        yield
    finally:
        if before is not None:
            os.environ["MUJOCO_GL"] = before
        elif chosen:
            del os.environ["MUJOCO_GL"]

"""Which OpenGL MuJoCo renders with, chosen before MuJoCo is imported.

MuJoCo reads MUJOCO_GL once, at import, and defaults to GLFW, which needs a display. Robots run headless, so an unset
variable becomes `egl` where an EGL device can be opened (with or without a GPU) and `osmesa` otherwise.
"""

import ctypes
import os
import sys
from typing import Any

from dexvla.errors import RobotError

_EGL_PLATFORM_DEVICE = 0x313F  # EGL_EXT_platform_device
_MAX_DEVICES = 16
_MISSING = (
    "no OpenGL for headless rendering: neither EGL nor OSMesa can be opened; on Debian install "
    "libegl1 and libgl1-mesa-dri (EGL), or libosmesa6 (OSMesa)"
)


def egl_works() -> bool:
    """True if libEGL can be loaded and one of its devices can be initialised, which is what MuJoCo will ask for."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
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
    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def choose_gl(*, needed: bool = True) -> str:
    """Set MUJOCO_GL if it is unset and return its value.

    needed: a camera will be rendered. Without one, a machine that has no OpenGL at all gets `disable` instead of an
    error. Raises RobotError naming the packages to install.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if not chosen:
        if not sys.platform.startswith("linux"):
            return ""  # elsewhere MuJoCo's own choice renders without a window
        if egl_works():
            chosen = "egl"
        elif osmesa_works():
            chosen = "osmesa"
        elif needed:
            raise RobotError(_MISSING)
        else:
            chosen = "disable"
        os.environ["MUJOCO_GL"] = chosen
    if needed and chosen.lower() in ("disable", "disabled", "off", "false", "0"):
        raise RobotError(f"MUJOCO_GL={chosen} switches rendering off; unset it or use a robot without cameras")
    return chosen


def load_mujoco(*, rendering: bool = True) -> Any:
    """Import MuJoCo with a headless OpenGL. Raises RobotError if it, or what it needs to render, is missing."""
    if "mujoco" not in sys.modules or rendering:
        choose_gl(needed=rendering)
    try:
        import mujoco  # type: ignore[import-untyped]
    except ImportError as error:
        raise RobotError(f"the simulated robot needs MuJoCo ({error}); install the `robot` extra") from error
    return mujoco

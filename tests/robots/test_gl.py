"""A machine that lacks a part of OpenGL: what to install is said by every command and by the robot."""

import glob
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import gl, live
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.spec import CameraSpec

PACKAGES = "libopengl0 libegl1 libgl1-mesa-dri"
INSTALL = f"install {PACKAGES}: sudo apt-get install {PACKAGES}"
# Debian's package, the files that a machine without it lacks.
PARTS = {
    "libegl1": ("libEGL.so.1", "libEGL.so"),
    # PyOpenGL takes the others in its place where they are there.
    "libopengl0": tuple(
        f"lib{name}.so{version}"
        for name in ("OpenGL", "GL", "GLESv2", "GLESv1_CM")
        for version in ("", ".0", ".1", ".2")
    ),
    "libglvnd0": ("libGLdispatch.so.0",),
}
TELLS = {
    "libegl1": "libEGL.so.1 cannot be loaded (",
    "libopengl0": "libOpenGL.so.0 cannot be loaded",
    "libglvnd0": "libEGL.so.1 cannot be loaded (",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.clockless,
    pytest.mark.skipif(gl.osmesa_works(), reason="OSMesa renders wherever EGL is missing"),
]


def lacking(part: str, folder: Path) -> dict[str, str]:
    """An environment whose loader finds empty files in place of the part's libraries."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    if part == "libgl1-mesa-dri":
        # Mesa alone is asked: a GPU's own driver would do without this package
        environment["__EGL_VENDOR_LIBRARY_FILENAMES"] = "/usr/share/glvnd/egl_vendor.d/50_mesa.json"
        environment["LIBGL_DRIVERS_PATH"] = str(folder)
        names = tuple(Path(path).name for path in glob.glob("/usr/lib/*/libgallium*.so"))
    elif part == "libegl-mesa0":
        environment["__EGL_VENDOR_LIBRARY_DIRS"] = str(folder)
        names = ()
    else:
        names = PARTS[part]
    for name in names:
        (folder / name).touch()
    return {**environment, "LD_LIBRARY_PATH": str(folder)}


def dexvla(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dexvla.cli", *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("part", [*PARTS, "libegl-mesa0", "libgl1-mesa-dri"])
def test_record_says_what_to_install(part: str, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    done = dexvla("record", "--episodes", "1", "--out", "out", env=lacking(part, tmp_path / "lib"), cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if line.startswith("dexvla: ")]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(said) == 1, done.stderr
    assert TELLS.get(part, "driver is missing") in said[0]
    assert INSTALL in said[0]


@pytest.mark.parametrize("part", ["libegl1", "libopengl0"])
def test_so_it_does_where_the_environment_asks_for_egl(part: str, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    environment = lacking(part, tmp_path / "lib") | {"MUJOCO_GL": "egl"}
    done = dexvla("record", "--episodes", "1", "--out", "out", env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert TELLS[part] in done.stderr
    assert INSTALL in done.stderr


def test_an_evaluation_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    environment = lacking("libopengl0", tmp_path / "lib")
    done = dexvla("eval", "demo", "--task", "pick_colour", "--episodes", "1", env=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert INSTALL in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("part", ["libegl1", "libopengl0"])
def test_the_live_robot_says_what_to_install(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, whole = lacking(part, tmp_path), subprocess.Popen

    def lacks_it(*args: object, env: dict[str, str], **options: object) -> object:
        return whole(*args, env=environment, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(live.subprocess, "Popen", lacks_it)
    robot = LiveAlohaSim(cameras=(CameraSpec(name="cam_high", height=48, width=64),))
    with pytest.raises(RobotError, match=INSTALL):
        robot.connect()
    assert robot.renderer_pid is None


def test_without_opengl_and_without_cameras_the_robot_moves(tmp_path: Path) -> None:
    """And what it starts is not told that rendering was switched off: somebody may install OpenGL meanwhile."""
    program = (
        "import os\n"
        "from dexvla.robots.aloha_sim import AlohaSim\n"
        "robot = AlohaSim(cameras=())\n"
        "robot.connect()\n"
        "robot.reset(0)\n"
        "robot.act(robot.observe().qpos)\n"
        "print('MUJOCO_GL' in os.environ)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=lacking("libegl1", tmp_path), capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "False\n", done.stderr


def test_rendering_that_was_switched_off_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    assert gl.choose_gl(needed=False) == "disable"
    with pytest.raises(RobotError, match="MUJOCO_GL=disable switches rendering off"):
        gl.choose_gl()


def test_osmesa_is_used_where_egl_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(gl, "egl_lacks", lambda: "all of it")
    monkeypatch.setattr(gl, "osmesa_works", lambda: True)
    assert gl.choose_gl() == "osmesa"

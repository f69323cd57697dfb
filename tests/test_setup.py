"""scripts/setup.sh for somebody who may not install: what is missing is said at once, and nothing is half made."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

NEEDED = (
    "scripts/setup.sh",
    "pyproject.toml",
    "constraints.txt",
    "dexvla/__init__.py",
    "dexvla/errors.py",
    "dexvla/robots/aloha_sim/gl.py",
)
TOOLS = ("bash", "cat", "cut", "dirname", "ls", "mkdir", "rm", "sha256sum", "uname")
OPENGL = "libopengl0 libegl1 libgl1-mesa-dri"


class Machine:
    """A project that was just cloned, and a PATH that holds what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.project, self._bin = folder / "project", folder / "bin"
        for name in NEEDED:
            target = self.project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        self._bin.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None
            (self._bin / name).symlink_to(found)
        self.program("id", "echo 1000")
        self._environment = {"PATH": str(self._bin), "HOME": str(folder)}

    def program(self, name: str, script: str) -> None:
        path = self._bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)

    def without_opengl(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "libEGL.so.1").touch()
        (folder / "libOSMesa.so.8").touch()
        (folder / "libOSMesa.so.6").touch()
        (folder / "libOSMesa.so").touch()
        self._environment["LD_LIBRARY_PATH"] = str(folder)

    def refused(self, *arguments: str) -> str:
        """What set-up says while it refuses, having made nothing."""
        before = sorted(self.project.rglob("*"))
        command = ["bash", "scripts/setup.sh", *arguments]
        done = subprocess.run(
            command, cwd=self.project, env=self._environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stdout == ""
        assert sorted(self.project.rglob("*")) == before
        assert done.stderr.endswith("Nothing has been set up yet.\n")
        return done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def command(said: str) -> str:
    """The packages of the line that a person copies."""
    line = next(line for line in said.splitlines() if "apt-get install" in line)
    return line.partition("sudo apt-get update && sudo apt-get install ")[2]


def test_nothing_at_all(machine: Machine) -> None:
    said = machine.refused()
    assert "Python 3.11 or later (python3 is not there)" in said
    assert "OpenGL without a display" in said
    assert command(said) == f"python3 python3-venv {OPENGL}"


def test_a_python_that_is_too_old(machine: Machine) -> None:
    machine.program("python3", 'case "$2" in *platform*) echo 3.9.2 ;; *) exit 1 ;; esac')
    said = machine.refused()
    assert "Python 3.11 or later (python3 is 3.9.2); another one is named with PYTHON=/path/to/python3.11" in said
    assert command(said) == f"python3 python3-venv {OPENGL}"


def test_a_python_without_venv_and_no_opengl(machine: Machine, tmp_path: Path) -> None:
    machine.program("python3", f'case "$*" in *ensurepip*) exit 1 ;; esac; exec {sys.executable} "$@"')
    machine.without_opengl(tmp_path / "lib")
    said = machine.refused()
    assert "Python's modules venv and ensurepip" in said
    assert "OpenGL without a display, for the simulated cameras: the library libEGL.so.1 cannot be loaded" in said
    venv, _, others = command(said).partition(" ")
    assert venv in ("python3-venv", f"python3.{sys.version_info.minor}-venv")
    assert others == OPENGL


def test_a_processor_that_nodejs_has_no_package_for(machine: Machine, tmp_path: Path) -> None:
    machine.program("python3", f'exec {sys.executable} "$@"')
    machine.program("uname", '[ "$1" = -s ] && echo Linux || echo riscv64')
    machine.without_opengl(tmp_path / "lib")
    said = machine.refused()
    assert "Node.js 20.19 or later, to build the page" in said
    assert command(said).endswith("nodejs npm")


def test_what_the_tests_need_is_asked_for_by_them_alone(machine: Machine, tmp_path: Path) -> None:
    machine.program("python3", f'exec {sys.executable} "$@"')
    machine.without_opengl(tmp_path / "lib")
    assert command(machine.refused()) == OPENGL
    said = machine.refused("--tests")
    packages = command(said).split()
    assert {"chromium", "redis-server", "curl"} <= set(packages)
    for word in ("a browser", "redis-server", "curl"):
        assert f"{word}, for the tests" in said


def test_an_opengl_that_is_installed_and_does_not_work_stops_nobody(machine: Machine, tmp_path: Path) -> None:
    """In a container without devices, say: the studio runs, its simulated robot says that it has no cameras."""
    machine.program("python3", f'exec {sys.executable} "$@"')
    machine.program("dpkg-query", "echo installed")
    machine.program("node", "exit 1")  # and so the set-up ends before it makes anything: the machine is an odd one
    machine.program("uname", '[ "$1" = -s ] && echo Linux || echo riscv64')
    machine.without_opengl(tmp_path / "lib")
    said = machine.refused()
    assert "setup: OpenGL is installed and does not work (the library libEGL.so.1 cannot be loaded" in said
    assert command(said) == "nodejs npm"

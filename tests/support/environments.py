"""Python environments beside .venv for packages that it cannot or need not hold, made on first use and kept."""

import fcntl
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def environment(
    name: str, packages: tuple[str, ...], *, on_top: bool = False, options: Mapping[str, str] | None = None
) -> Path:
    """The interpreter of `.venv-NAME` with `packages`; skips the test only where pip cannot install them.

    on_top: the environment also sees what this Python has, and `packages` bring no dependencies of their own.
    options: environment variables while pip builds.
    """
    folder = ROOT / f".venv-{name}"
    python, stamp = folder / "bin" / "python", folder / ".packages"
    base = sysconfig.get_path("purelib")
    wanted = "\n".join((*packages, base, sys.version) if on_top else packages)
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / f"venv-{name}.lock").open("w") as lock:  # several test processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            make = [sys.executable, "-m", "venv", "--clear", *(["--without-pip"] if on_top else []), folder]
            subprocess.run(make, check=True, timeout=120)
            install = [sys.executable if on_top else python, "-m", "pip", "install", "--quiet"]
            install += ["--disable-pip-version-check", *packages]
            if on_top:
                site = folder / Path(base).relative_to(sys.prefix)
                (site / "base.pth").write_text(f"{base}\n")
                install += ["--no-deps", "--no-build-isolation", "--target", site]
            surroundings = {**os.environ, **(options or {})}
            done = subprocess.run(install, capture_output=True, text=True, timeout=400, check=False, env=surroundings)
            if done.returncode:
                pytest.skip(f"pip cannot install {packages[0]}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
            stamp.write_text(wanted)
    return python

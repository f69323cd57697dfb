"""Real episode files, base models and run specs that many tests share."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from dexvla.episodes.format import EpisodeData
from dexvla.episodes.known import CACHE_VARIABLE
from dexvla.episodes.writer import write_episode
from dexvla.spec import TrainSpec, with_preset
from dexvla.threads import share_cores
from tests.support.episode_data import episode_data
from tests.support.made import tiny_base_model
from tests.support.parts import PARTS, belongs, left_out, marks_of
from tests.support.paths import ROOT

share_cores()

# Started in the background by a shell that ignores Ctrl-C for it, every process of a test would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# An example may take its time: a busy machine is slow, not wrong.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


# What lasts minutes begins first where several processes share the tests: none is waited for alone at the end.
LONGEST = ("learning", "kill", "e2e", "backup", "train", "parity", "jobs")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", choices=sorted(PARTS), help="only this part of the tests (docs/decisions/tests.md)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of other parts are not imported, nor is the conftest.py of their folder: half of them would load torch."""
    part = config.getoption("part")
    if part is None or collection_path == config.rootpath:
        return None
    files = sorted(collection_path.rglob("test_*.py")) if collection_path.is_dir() else [collection_path]
    ours = [file for file in files if file.name.startswith("test_") and file.suffix == ".py"]
    return True if ours and not any(belongs(marks_of(file), part) for file in ours) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A fast run says what it did not run. Processes that share the tests out do not collect here: looked at anew."""
    if config.getoption("part") == "fast":
        files = {file: marks_of(file) for file in (ROOT / "tests").rglob("test_*.py")}
        out = {file: marks for file, marks in files.items() if not belongs(marks, "fast")}
        terminalreporter.write_line(left_out(out), yellow=True)


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in marks_of(item.path) - {one.name for one in item.iter_markers()}:
        item.add_marker(mark)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (part := config.getoption("part")) is not None:  # a test may have a mark that its file has not
        kept = [item for item in items if belongs(frozenset(one.name for one in item.iter_markers()), part)]
        if out := [item for item in items if item not in kept]:
            config.hook.pytest_deselected(items=out)
            items[:] = kept
    if hasattr(config, "workerinput"):
        ranks = {name: rank for rank, name in enumerate(LONGEST)}
        items.sort(key=lambda item: ranks.get(item.path.parent.name, len(ranks)))


@pytest.fixture(autouse=True, scope="session")
def own_cache() -> Iterator[None]:
    """What is known of episodes lies in a folder of the tests, also for the commands that they start."""
    folder = tempfile.mkdtemp(prefix="dexvla-cache-")
    os.environ[CACHE_VARIABLE] = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def umask_is_given_back() -> Iterator[None]:
    """A command that runs in the tests' process makes it private for good."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def make_data() -> Callable[..., EpisodeData]:
    return episode_data


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Path]:
    """make_episode(path, **options of episode_data) writes a real file and returns its path."""

    def make(path: Path, **options: Any) -> Path:
        write_episode(path, episode_data(**options))
        return path

    return make


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory, make_episode: Callable[..., Path]) -> Path:
    """A folder of three labelled 14-dimensional episodes of 24 steps."""
    folder = tmp_path_factory.mktemp("demos")
    for number in range(3):
        make_episode(folder / f"episode_{number}.hdf5", seed=number, attributes={"seed": number})
    return folder


@pytest.fixture(scope="session")
def seed_example(tmp_path_factory: pytest.TempPathFactory, make_episode: Callable[..., Path]) -> Path:
    """Two episodes with the dimensions of the upstream documentation's example: nothing may assume 14 of anything.

    action (100, 10), qpos and qvel (100, 7), joint_positions (100, 7), cameras left, right and wrist at 480x640;
    the first with plain pixels as in the example, the second with JPEG rows.
    """
    folder = tmp_path_factory.mktemp("seed_example")
    for number, jpeg in enumerate((False, True)):
        make_episode(
            folder / f"episode_{number}.hdf5",
            seed=number,
            steps=100,
            action_dim=10,
            state_dim=7,
            cameras=("left", "right", "wrist"),
            size=(480, 640),
            jpeg=jpeg,
            joint_positions=True,
            attributes={"sim": False},
            labels=("Flatten the shirt.", "Fold the right sleeve.", "Fold the left sleeve."),
            instruction="Fold the shirt.",
        )
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real S3 server (tests.support.s3_server.Server); each test takes a prefix of its own."""
    from tests.support.s3_server import s3_server

    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model from `init-model`."""
    return tiny_base_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, base_model: Path, demos: Path) -> Path:
    """A checkpoint of two steps on two of the three demos."""
    folder = tmp_path_factory.mktemp("trained")
    command = [
        *(sys.executable, "-m", "dexvla.cli", "train", "--stage", "2", "--preset", "tiny", "--steps", "2"),
        *("--batch-size", "2", "--device", "cpu", "--data", str(demos), "--from", str(base_model)),
        *("--set", "image_height=56", "--set", "image_width=84", "--set", "chunk_size=8"),
        *("--set", "validation_fraction=0.34", "--out", str(folder / "run")),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder / "run" / "checkpoints" / "step-0000002"


@pytest.fixture
def make_spec(base_model: Path, demos: Path, tmp_path: Path) -> Callable[..., TrainSpec]:
    """A stage-2 spec of a few quick steps on `demos`; keyword arguments are fields of the spec."""

    def make(**fields: Any) -> TrainSpec:
        defaults: dict[str, Any] = {
            "preset": "tiny",
            "stage": 2,
            "data": [{"path": str(demos)}],
            "init_from": str(base_model),
            "output_dir": str(tmp_path / "run"),
            "steps": 4,
            "batch_size": 2,
            "save_every": 2,
            "log_every": 1,
            "device": "cpu",
        }
        if fields.get("stage", 2) == 2:
            defaults |= {"chunk_size": 8, "image_height": 56, "image_width": 84}
        return with_preset(defaults | fields)

    return make

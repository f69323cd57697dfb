"""Who may import whom (the design's arrows), proved on running interpreters and on the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

HEAVY = ("torch", "transformers", "peft", "accelerate", "mujoco", "av", "mink", "matplotlib", "websockets", "scipy")


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys\n{statement}\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import dexvla.spec",
        "import dexvla.live.messages, dexvla.live.status",
        "import dexvla.episodes.check, dexvla.episodes.manifest, dexvla.data.statistics, dexvla.episodes.writer",
        "import dexvla.cli",
        "import dexvla.train.runs",
        "import dexvla.act.client",
        "import dexvla.robots.registry, dexvla.robots.base",
        "import backend.app, backend.migrations.migrate",
        "import worker.cli, worker.supervise.up, worker.supervise.worker, worker.jobs.runner",
    ],
)
def test_torch_free_rooms_load_nothing_heavy(statement: str) -> None:
    allowed = {"websockets"} if "client" in statement or "backend" in statement else set()
    assert not loaded_by(statement) & (set(HEAVY) - allowed)


def test_a_training_machine_needs_only_the_training_packages() -> None:
    """torch, transformers, peft, accelerate, h5py, numpy, pillow, safetensors, pydantic (and what those bring)."""
    loaded = loaded_by("import dexvla.train.loop, dexvla.act.policy, dexvla.evaluate.open_loop")
    assert not loaded & {"mujoco", "av", "mink", "msgpack", "websockets", "torchvision", "gymnasium", "dm_control"}
    blocked = (
        "mujoco",
        "av",
        "mink",
        "simplejpeg",
        "msgpack",
        "websockets",
        "scipy",
        "tensorboard",
        "matplotlib",
        "numba",
    )
    block = f"for name in {blocked}: sys.modules[name] = None\n"
    loaded_by(f"{block}import dexvla.train.loop, dexvla.train.prepare, dexvla.act.policy, dexvla.episodes.check")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


# room -> rooms of the library that it may not import
FORBIDDEN = {
    "spec": ("live", "episodes", "recording", "segmentation", "data", "robots", "model", "train", "act", "evaluate"),
    "live": ("episodes", "recording", "segmentation", "data", "robots", "model", "train", "act", "evaluate"),
    "episodes": ("live", "recording", "segmentation", "data", "robots", "model", "train", "act", "evaluate"),
    "recording": ("segmentation", "data", "robots", "model", "train", "act", "evaluate"),
    "segmentation": ("recording", "formats", "data", "robots", "model", "train", "act", "evaluate"),
    "formats": ("recording", "robots", "model", "train", "act", "evaluate"),
    "editing": ("recording", "formats", "data", "robots", "model", "train", "act", "evaluate"),
    "data": ("recording", "robots", "model", "train", "act", "evaluate"),
    "robots": ("model", "train", "act", "evaluate"),
    "model": ("robots", "train", "act", "evaluate"),
    "train": ("robots", "act", "evaluate"),
    "act": ("train", "evaluate"),
    "evaluate": (),
    "commands": (),
}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_import_along_the_arrows(room: str) -> None:
    files = sorted((ROOT / "dexvla" / room).rglob("*.py"))
    assert files
    outside = ("backend", "worker", "fastapi", "sqlalchemy", "celery", "torchvision", "pickle")
    for path in files:
        for name in imports_of(path):
            assert name.split(".")[0] not in outside, f"{path} imports {name}"
            for other in FORBIDDEN[room]:
                assert not f"{name}.".startswith(f"dexvla.{other}."), f"{path} imports {name}"


def test_every_room_has_a_rule() -> None:
    rooms = {path.name for path in (ROOT / "dexvla").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms == set(FORBIDDEN)


def test_the_backend_knows_the_library_through_specs_and_episodes() -> None:
    files = ("dexvla.checksums", "dexvla.errors", "dexvla.files", "dexvla.mappings")
    allowed = (
        "dexvla.spec",
        "dexvla.live",
        "dexvla.episodes",
        "dexvla.segmentation",
        "dexvla.formats",
        "dexvla.data",
        "dexvla.editing",
        "dexvla.robots.base",  # which robots there are and what their tasks take, never a robot itself
        "dexvla.robots.registry",
        *files,
        "dexvla.__version__",
    )
    for path in sorted((ROOT / "backend").rglob("*.py")):
        for name in imports_of(path):
            top = name.split(".")[0]
            assert top not in {"torch", "torchvision", "transformers", "pickle", "worker"}, f"{path} imports {name}"
            if top == "dexvla" and name != "dexvla":
                assert name.startswith(allowed), f"{path} imports {name}"


def test_the_library_and_the_page_know_nothing_of_the_studio() -> None:
    for path in sorted((ROOT / "dexvla").glob("*.py")):
        assert not {name.split(".")[0] for name in imports_of(path)} & {"backend", "worker", "fastapi", "celery"}, path

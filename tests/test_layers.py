"""Rooms form layers: each imports only what lies below it, and no two of a layer import each other in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# From the top down. A room is a folder or a file; the longest name that fits counts. Endpoints translate between pages
# and services of any room, so they lie above all of them.
BACKEND = [
    ["backend/app.py", "backend/gateway"],
    ["*/endpoints.py", "backend/live/sockets.py", "backend/web"],
    ["backend/storage", "backend/system"],
    ["backend/live", "backend/training", "backend/evaluations"],
    ["backend/checkpoints", "backend/exports"],
    ["backend/versions"],
    ["backend/labels/dataset"],
    ["backend/labels/proposals"],
    ["backend/labels/drafts"],
    ["backend/robot_hosts"],
    ["backend/surveys"],
    ["backend/datasets", "backend/robots"],
    ["backend/intake"],
    ["backend/episodes", "backend/base_models"],
    ["backend/jobs", "backend/accounts", "backend/preferences"],
    ["backend/access", "backend/audit"],
    ["backend/studio"],
    ["backend/labels/core", "backend/identity", "backend/migrations"],
    ["backend/tables"],
    ["backend/core"],
    ["backend/__init__.py", "backend/labels/__init__.py"],
]
WORKER = [
    ["worker/cli.py"],
    ["worker/supervise"],
    ["worker/robot"],
    ["worker/jobs", "worker/admin/backup"],
    ["worker/jobs/handlers", "worker/admin"],
    ["worker/core"],
    ["worker/__init__.py", "worker/admin/__init__.py"],
]
LIBRARY = [
    ["dexvla/cli.py"],
    ["dexvla/commands", "dexvla/console.py"],
    ["dexvla/evaluate"],
    ["dexvla/train", "dexvla/act"],
    ["dexvla/train/configs"],
    ["dexvla/model", "dexvla/robots"],
    ["dexvla/robots/aloha_sim"],
    ["dexvla/robots/base.py"],
    ["dexvla/formats"],
    ["dexvla/data", "dexvla/recording", "dexvla/segmentation"],
    ["dexvla/episodes", "dexvla/live"],
    [
        "dexvla/spec",
        "dexvla/checksums.py",
        "dexvla/files.py",
        "dexvla/mappings.py",
        "dexvla/demo.py",
        "dexvla/threads.py",
        "dexvla/loading.py",
        "dexvla/progress.py",
    ],
    ["dexvla/errors.py"],
    ["dexvla/__init__.py"],
]


def room_of(path: str, layers: list[list[str]]) -> str:
    if path.endswith("/endpoints.py") and any("*/endpoints.py" in layer for layer in layers):
        return "*/endpoints.py"
    fitting = [room for layer in layers for room in layer if path == room or path.startswith(f"{room}/")]
    assert fitting, f"{path} has no layer: give its room a place in {Path(__file__).name}"
    return max(fitting, key=len)


def imports_of(path: Path) -> set[str]:
    """Files of this tree that it names in an import, also in one that runs later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            for length in range(len(parts), 0, -1):
                base = "/".join(parts[:length])
                file = next((one for one in (f"{base}.py", f"{base}/__init__.py") if (ROOT / one).is_file()), None)
                if file is not None:
                    found.add(file)
                    break
    return found


@pytest.mark.parametrize(("top", "layers"), [("backend", BACKEND), ("worker", WORKER), ("dexvla", LIBRARY)])
def test_rooms_import_what_lies_below_them(top: str, layers: list[list[str]]) -> None:
    height = {room: -number for number, layer in enumerate(layers) for room in layer}
    arrows: dict[str, set[str]] = {}
    wrong = []
    for path in sorted((ROOT / top).rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if "/migrations/versions/" in file:
            continue
        here = room_of(file, layers)
        for other in imports_of(path):
            if not other.startswith(f"{top}/") or (there := room_of(other, layers)) == here:
                continue
            if height[there] > height[here]:
                wrong.append(f"{file} imports {other}: {here} lies below {there}")
            elif height[there] == height[here]:
                arrows.setdefault(here, set()).add(there)
    assert not wrong, "\n".join(wrong)
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("top", ["backend", "worker", "dexvla"])
def test_no_files_import_each_other_in_a_circle(top: str) -> None:
    arrows = {
        path.relative_to(ROOT).as_posix(): {other for other in imports_of(path) if other.startswith(f"{top}/")}
        for path in sorted((ROOT / top).rglob("*.py"))
    }
    arrows = {file: others - {file} for file, others in arrows.items() if not file.endswith("__init__.py")}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"files import each other in a circle: {' -> '.join(error.args[1])}")

"""Which files the rows of a database refer to, and which folders belong into a backup with all that is in them.

By plain SQL on columns that every revision has, so that a database which an older studio left can be backed up, too.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from dexvla.spec import step_name

# Every top folder and file of the data folder: what a backup takes of it, or why it takes nothing.
TAKEN = {
    "studio.db": "as tables",
    "secrets": "all",
    "episodes": "by row",
    "versions": "by row",
    "runs": "by row",
    "jobs": "by row",
    "evaluations": "by row",
    "models": "by row",
    "robots": "recordings that are not episodes yet",
    "lost": "all: somebody may still want it",
}
LEFT_OUT = {
    "studio.lock": "says which process runs",
    "valkey": "calls that wake workers up: the rows of jobs are the truth",
    "logs": "about a machine",
    "sockets": "of processes that run",
    "reserve": "space for a full disk",
    "studio.mark": "how much this database knew: a restored one knows less, and rightly",
    "uploads": "half of something; whoever uploads has the other half",
    "staging": "not taken in yet; whoever uploads has it all, and goes on where the studio says",
    "cache": "made again when it is asked for",
    "exports": "made again from the episodes, which are taken",
}
# a robot that finds no word on whether it was stopped begins stopped: an old word would be worse than none
_LEFT_OUT_FILES = re.compile(r"(^|/)(lock|process\.json)$|^robots/[^/]+$|(^|/)\.[^/]*\.tmp(/|$)|^jobs/[^/]+/episodes/")


@dataclass(kw_only=True)
class Needed:
    """files: path below the data folder -> (sha256 or None, what it is in words). trees: folders, taken whole.

    outside: registered models that lie elsewhere.
    """

    files: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    trees: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def left_out(path: str) -> bool:
    """Whether a file in a folder that is taken stays behind: locks, and what is being written."""
    return bool(_LEFT_OUT_FILES.search(path))


def needed(connection: Connection, root: Path) -> Needed:
    found = Needed(trees=["secrets", "lost"])
    robots = root / "robots"
    if robots.is_dir():
        found.trees += [f"robots/{entry.name}" for entry in sorted(robots.iterdir()) if entry.is_dir()]
    _episodes(connection, found)
    for version, number, dataset in _rows(
        connection,
        "SELECT v.id, v.number, d.name FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_id",
    ):
        found.trees.append(f"versions/{version}")
        found.files[f"versions/{version}/manifest.json"] = (None, f"manifest of version {number} of {dataset}")
    found.trees += [f"runs/{run}" for (run,) in _rows(connection, "SELECT id FROM runs WHERE deleted_at IS NULL")]
    _checkpoints(connection, found)
    found.trees += [f"jobs/{job}" for (job,) in _rows(connection, "SELECT id FROM jobs")]
    evaluations = _rows(connection, "SELECT id FROM evaluations WHERE deleted_at IS NULL")
    found.trees += [f"evaluations/{evaluation}" for (evaluation,) in evaluations]
    for name, path in _rows(connection, "SELECT name, path FROM registered_models"):
        if Path(path).is_relative_to(root / "models"):
            place = Path(path).relative_to(root).as_posix()
            found.trees.append(place)
            found.files[f"{place}/config.json"] = (None, f"model {name}")
        else:
            found.outside.append(path)
    return found


def leave_to_store(found: Needed, root: Path) -> int:
    """Take out what is in a store elsewhere and not on this machine too; returns how many files. Their rows know their
    hashes, and a store of that kind keeps copies of its own."""
    elsewhere = [path for path in found.files if not (root / path).is_file()]
    for path in elsewhere:
        del found.files[path]
    return len(elsewhere)


def _episodes(connection: Connection, found: Needed) -> None:
    """Those that were set aside too, as long as they can be brought back; in a database of before that was possible
    deleted ones are gone."""
    known = {column["name"] for column in inspect(connection).get_columns("episodes")}
    query = (
        "SELECT e.id, e.dataset_id, e.number, d.name FROM episodes e JOIN datasets d ON d.id = e.dataset_id "
        f"WHERE e.{'freed_at' if 'freed_at' in known else 'deleted_at'} IS NULL"
    )
    for episode, dataset, number, name in _rows(connection, query):
        found.files[f"episodes/{dataset}/{episode}.hdf5"] = (None, f"episode {number} of {name}")


def _checkpoints(connection: Connection, found: Needed) -> None:
    """Their rows know the hash of each file."""
    query = (
        "SELECT c.run_id, c.step, c.files, r.name FROM checkpoints c JOIN runs r ON r.id = c.run_id "
        "WHERE c.deleted_at IS NULL AND r.deleted_at IS NULL"
    )
    for run, step, files, name in _rows(connection, query):
        for file in json.loads(files) if isinstance(files, str) else files:
            path = f"runs/{run}/checkpoints/{step_name(step)}/{file['name']}"
            found.files[path] = (file["sha256"], f"checkpoint of {name} at step {step}")


def _rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]

"""A studio's data as the first release left them: rows of revision 0001 by SQL, and the files that they refer to."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from backend.core.db import Database
from backend.core.folders import DataFolder
from backend.core.settings import Settings
from backend.identity.secrets import hash_password
from backend.migrations.migrate import migrate
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.manifest import EpisodeSet, build_manifest, manifest_hash, save_manifest
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from tests.support.episode_data import CAMERAS, episode_data

FIRST = "0001"
PASSWORD = "correct horse battery"
STEPS = 24
_MADE = "2026-05-01 12:00:00.250000"


def _id(kind: int, number: int = 0) -> str:
    return f"{kind:08x}{number:024x}"


ADA, BOB = _id(1, 1), _id(1, 2)
DATASET, VERSION = _id(2), _id(3)
EPISODES = [_id(4, number) for number in range(3)]
DELETED = _id(4, 99)
RUN, JOB, EVALUATION_JOB, QUEUED_JOB = _id(5), _id(6, 1), _id(6, 2), _id(6, 3)
CHECKPOINT, PRUNED, EVALUATION, MODEL = _id(7, 2), _id(7, 1), _id(8), _id(9)
SEGMENTS = [
    {"start": 0, "end": 12, "text": "Reach for the cube", "provenance": "human"},
    {"start": 12, "end": STEPS, "text": "抓住 the cube", "provenance": "human"},
]


@dataclass(frozen=True, kw_only=True)
class FirstRelease:
    """identities: of the episodes' files. manifest: hash of the version."""

    identities: list[str]
    manifest: str


def make(settings: Settings) -> FirstRelease:
    """Fill the data folder and the database of `settings`, which must be new."""
    folder = settings.folder
    folder.prepare()
    found = _files(folder)
    database = Database(settings.sql_url)
    migrate(database, FIRST)
    with database.engine.begin() as connection:
        _rows(connection, settings, found)
    database.close()
    return found


def _write(path: Path, data: bytes | str) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(data)
    return data


def checkpoint_files(folder: DataFolder) -> list[dict[str, Any]]:
    place = folder.run(RUN) / "checkpoints" / "step-0000002"
    return [
        {"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(place.iterdir())
    ]


def _files(folder: DataFolder) -> FirstRelease:
    identities = []
    for number, episode in enumerate(EPISODES):
        path = folder.episode(DATASET, episode)
        path.parent.mkdir(exist_ok=True)
        facts: dict[str, Any] = {"seed": number, "steps": STEPS, "attributes": {"seed": number}}
        if number == 0:  # its labels are published: that studio wrote them into the file
            facts |= {"labels": [one["text"] for one in SEGMENTS], "attributes": {"seed": number, "success": True}}
        write_episode(path, episode_data(**facts))
        with open_episode(path) as opened:
            identities.append(episode_identity(opened))
    here = folder.manifest(VERSION)
    here.parent.mkdir()
    paths = tuple(folder.episode(DATASET, episode) for episode in EPISODES[:2])
    manifest, _ = build_manifest(EpisodeSet(name="cubes", paths=paths))
    save_manifest(here, manifest)
    run = folder.run(RUN)
    spec = {"output_dir": str(run), "data": [{"path": str(here)}], "stage": 2}
    _write(run / "run.json", json.dumps(spec))
    _write(run / "metrics.jsonl", '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    for part in ("checkpoints", "state"):
        _write(run / part / "step-0000002" / "model.safetensors", bytes(range(256)) * 400)
        _write(run / part / "step-0000002" / "manifest.json", '{"files": {}}')
    _write(run / "lock", "")
    _write(folder.job(JOB) / "log.txt", "step 1\nstep 2\n")
    _write(folder.evaluation(EVALUATION) / "videos" / "episode_0.mp4", b"\0video" * 999)
    _write(folder.models / MODEL / "config.json", '{"model_type": "qwen2_vl"}')
    _write(folder.models / MODEL / "model.safetensors", b"weights" * 1000)
    _write(folder.robots / "aloha-sim.recordings" / "one.partial", b"journal of a recording")
    _write(folder.robots / "aloha-sim.stop.json", "{}")
    secret = folder.secrets / "robot-host"
    _write(secret, "a secret of this studio")
    secret.chmod(0o600)
    _write(folder.lost / "episodes-d-e.hdf5", b"an episode that no row knows")
    _write(folder.cache / "thumbnail.jpg", b"made again")
    return FirstRelease(identities=identities, manifest=manifest_hash(manifest))


def _rows(connection: Connection, settings: Settings, found: FirstRelease) -> None:
    folder = settings.folder
    hashed = hash_password(PASSWORD)
    for user, name, role in ((ADA, "ada", "admin"), (BOB, "bob", "annotator")):
        insert(connection, "users", id=user, name=name, password_hash=hashed, role=role, disabled=False)
    insert(
        connection,
        "login_sessions",
        token_sha256=hashlib.sha256(b"cookie").hexdigest(),
        user_id=ADA,
        expires_at="2036-05-01 12:00:00",
    )
    insert(connection, "api_tokens", id=_id(10), user_id=BOB, name="script", token_sha256=_id(10) * 2)
    insert(
        connection,
        "links",
        id=_id(11),
        token_sha256=_id(11) * 2,
        role="viewer",
        created_by=ADA,
        expires_at="2026-05-08 12:00:00",
        used_at=_MADE,
    )
    insert(connection, "settings", key="public_url", value={"url": "https://studio.example"})
    insert(
        connection,
        "datasets",
        id=DATASET,
        name="cubes",
        description='Red "cubes" \\ and \N{SNOWMAN}\n',
        created_by=ADA,
        action_dim=14,
        state_dim=14,
        fps=50.0,
        cameras=list(CAMERAS),
        vocabulary=["Reach for the cube", "抓住 the cube"],
        next_number=4,
    )
    cameras = [{"name": name, "height": 48, "width": 64} for name in CAMERAS]
    for number, episode in enumerate([*EPISODES, DELETED]):
        insert(
            connection,
            "episodes",
            id=episode,
            dataset_id=DATASET,
            number=number,
            identity=found.identities[number] if number < len(EPISODES) else "f" * 64,
            steps=STEPS,
            action_dim=14,
            state_dim=14,
            fps=50.0,
            cameras=cameras,
            sim=True,
            seed=2**40 + number,
            size_bytes=1000,
            source="uploaded",
            original_name=f"episode_{number}.hdf5",
            created_by=ADA,
            deleted_at=_MADE if episode == DELETED else None,
            instruction="Transfer the red cube.",
            success=None if number == 2 else number == 0,
            label_state="published" if number == 0 else "draft",
        )
    for number in (0, 1):
        insert(
            connection,
            "drafts",
            episode_id=EPISODES[number],
            edit=5 * number,
            segments=SEGMENTS,
            instruction="Transfer the red cube.",
            success=True,
            updated_at=_MADE,
            updated_by=BOB if number else None,
        )
    insert(
        connection,
        "label_revisions",
        id=_id(12),
        episode_id=EPISODES[0],
        number=1,
        edit=3,
        segments=SEGMENTS,
        instruction="Transfer the red cube.",
        success=True,
        published_by=ADA,
        published_by_name="ada",
    )
    insert(
        connection,
        "dataset_versions",
        id=VERSION,
        dataset_id=DATASET,
        number=1,
        manifest_sha256=found.manifest,
        episodes=2,
        steps=2 * STEPS,
        labelled_steps=2 * STEPS,
        cameras=list(CAMERAS),
        action_dim=14,
        state_dim=14,
        note="",
        episode_ids=EPISODES[:2],
    )
    jobs: list[tuple[str, str, str, str, float | None]] = [
        (JOB, "train", "running", "pick cube", 1.7e9),
        (EVALUATION_JOB, "evaluate", "done", "evaluation", None),
        (QUEUED_JOB, "record", "queued", "demos", None),
    ]
    for job, kind, state, title, lease in jobs:
        insert(
            connection,
            "jobs",
            id=job,
            kind=kind,
            title=title,
            payload={"run_id": RUN} if kind == "train" else {},
            state=state,
            attempt=1,
            barren=0,
            lease_until=lease,
            owner="worker-1" if lease else None,
            done=2,
            best=2,
            pace=0.1 + 0.2,
            note="",
            result={"steps": None} if state == "done" else None,
        )
    insert(
        connection,
        "registered_models",
        id=MODEL,
        name="Tiny",
        kind="backbone",
        path=str(folder.models / MODEL),
        size_bytes=2**33,
        info={"hidden": 64},
    )
    insert(
        connection,
        "registered_models",
        id=_id(9, 1),
        name="Qwen",
        kind="backbone",
        path="/models/Qwen2-VL-2B-Instruct",
        size_bytes=1,
        info={},
    )
    insert(
        connection,
        "runs",
        id=RUN,
        name="pick cube",
        stage=2,
        preset="tiny",
        spec={"output_dir": str(folder.run(RUN)), "data": [{"path": str(folder.manifest(VERSION))}]},
        sources=[{"version_id": VERSION, "weight": 1.0}],
        base_model_id=MODEL,
        origin={"base_model": {"path": str(folder.models / MODEL)}},
        request={},
        job_id=JOB,
        created_by=ADA,
    )
    for checkpoint, step, deleted in ((CHECKPOINT, 2, None), (PRUNED, 1, _MADE)):
        insert(
            connection,
            "checkpoints",
            id=checkpoint,
            run_id=RUN,
            step=step,
            stage=2,
            attempt=1,
            sha256="a" * 64,
            size_bytes=1000,
            files=checkpoint_files(folder) if deleted is None else [],
            archive_sha256="b" * 64,
            val_loss=0.125,
            info={"mtime": 1},
            deleted_at=deleted,
        )
    for step, loss in ((1, 0.5), (2, 1e-17)):
        insert(connection, "metric_points", run_id=RUN, step=step, attempt=1, values={"loss": loss})
    insert(
        connection,
        "evaluations",
        id=EVALUATION,
        kind="closed_loop",
        checkpoint_id=CHECKPOINT,
        settings={"episodes": 1},
        job_id=EVALUATION_JOB,
    )
    insert(connection, "robots", name="aloha-sim", kind="aloha_sim", address="127.0.0.1:1", seen_at=_MADE, status={})
    insert(connection, "audit", id=_id(13), user_id=ADA, user_name="ada", action="episode.publish", detail={"n": None})


_WITHOUT_TIME = {"drafts", "metric_points", "settings", "robots"}


def insert(connection: Connection, table: str, **values: Any) -> None:
    """A row, its JSON and times as the studio writes them."""
    if table not in _WITHOUT_TIME:
        values["created_at"] = _MADE
    json_columns = {name for name, value in values.items() if isinstance(value, dict | list)}
    bound = {name: json.dumps(value) if name in json_columns else value for name, value in values.items()}
    quote = connection.dialect.identifier_preparer.quote
    cast = "AS json" if connection.dialect.name == "postgresql" else "AS text"
    marks = [f"CAST(:{name} {cast})" if name in json_columns else _mark(connection, name) for name in bound]
    statement = f"INSERT INTO {table} ({', '.join(quote(name) for name in bound)}) VALUES ({', '.join(marks)})"
    connection.execute(text(statement), bound)


def _mark(connection: Connection, name: str) -> str:
    """Times are given in UTC; a server would take them for its own zone's."""
    is_time = name.endswith("_at") and connection.dialect.name == "postgresql"
    return f"(CAST(:{name} AS timestamp) AT TIME ZONE 'UTC')" if is_time else f":{name}"

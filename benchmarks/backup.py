"""How long a backup takes, the next one of the same data, and a restore; and how much memory they need.

    python benchmarks/backup.py [--json FILE] [--episodes N] [--megabytes N] [--points N] [--folder DIR]

A studio of its own on SQLite in a temporary folder (below DIR, to measure another disk; the backups lie there, too),
with N episode files of random bytes and N points of curves. Each part runs in a process of its own, whose largest
memory is given; the first row is such a process before it does anything.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from backend.core.db import new_id
from backend.core.settings import Settings
from backend.migrations.migrate import migrate
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.job import Job, JobKind, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from dexvla.files import write_json

_SETTLED_SECONDS = 2.2  # files that changed more lately are read again by the next backup
_MIB = 2**20


def add_episode(studio: Studio, dataset_id: str, number: int, megabytes: int) -> None:
    episode_id = new_id()
    path = studio.settings.folder.episode(dataset_id, episode_id)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(os.urandom(_MIB) for _ in range(megabytes)))
    with studio.db.transaction() as db:
        db.add(
            EpisodeRow(
                id=episode_id,
                dataset_id=dataset_id,
                number=number,
                identity=new_id() * 2,
                steps=1000,
                action_dim=14,
                state_dim=14,
                cameras=[],
                sim=True,
                size_bytes=megabytes * _MIB,
                source=EpisodeSource.UPLOADED,
                instruction="Lift the cube.",
            )
        )


def fill(studio: Studio, *, episodes: int, megabytes: int, points: int) -> str:
    migrate(studio.db)
    with studio.db.transaction() as db:
        dataset = Dataset(name="benchmark")
        job = Job(kind=JobKind.TRAIN, title="pick", payload={}, state=JobState.DONE)
        db.add_all([dataset, job])
        db.flush()
        run = Run(name="pick", stage=2, spec={}, sources=[], job_id=job.id)
        db.add(run)
        db.flush()
        values = {"loss": 0.123456, "learning_rate": 1e-5, "grad_norm": 1.25, "steps_per_second": 3.5}
        db.add_all([MetricPoint(run_id=run.id, step=step, attempt=1, values=values) for step in range(points)])
    for number in range(episodes):
        add_episode(studio, dataset.id, number, megabytes)
    return dataset.id


def apart(part: str, data: Path, backups: Path) -> dict[str, Any]:
    """One part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--folder", str(data), "--backups", str(backups)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def run_part(part: str, data: Path, backups: Path) -> dict[str, Any]:
    from worker.admin.backup.make import backup, verify
    from worker.admin.backup.restore import restore

    found: dict[str, Any] = {}
    if part == "backup":
        found = backup(Settings(data=data), backups).model_dump()
    elif part == "verify":
        found = verify(backups).model_dump()
    elif part == "restore":
        found = restore(Settings(data=data.with_name("restored")), backups).model_dump()
    found["peak_mib"] = peak_mib()
    return found


def peak_mib() -> float:
    """Of this process since it began; getrusage's figure is at least that of the process which started it."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    data, backups = folder / "data", folder / "backups"
    settings = Settings(data=data)
    settings.folder.prepare()
    studio = Studio.open(settings)
    dataset_id = fill(studio, episodes=options.episodes, megabytes=options.megabytes, points=options.points)
    time.sleep(_SETTLED_SECONDS)
    rows = {"at rest": apart("rest", data, backups), "first": apart("backup", data, backups)}
    rows["second, nothing changed"] = apart("backup", data, backups)
    add_episode(studio, dataset_id, options.episodes, options.megabytes)
    time.sleep(_SETTLED_SECONDS)
    rows["third, one more episode"] = apart("backup", data, backups)
    rows["verify"] = apart("verify", data, backups)
    rows["restore"] = apart("restore", data, backups)
    studio.close()
    for row in rows.values():
        if row.get("seconds"):
            row["mib_per_second"] = round(row["bytes"] / _MIB / row["seconds"], 1)
    return {"episodes": options.episodes, "megabytes": options.megabytes, "points": options.points, "parts": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--megabytes", type=int, default=8, help="of each episode's file")
    parser.add_argument("--points", type=int, default=50_000, help="rows of curves in the database")
    parser.add_argument("--folder", type=Path, help="where to work; default the system's temporary folder")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--backups", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(run_part(options.part, options.folder, options.backups)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(Path(folder), options)
    print(f"{'':<26}{'seconds':>9}{'MiB/s':>9}{'stored MiB':>12}{'read MiB':>10}{'peak MiB':>10}")
    for name, row in found["parts"].items():
        stored, read = (row.get(key, 0) / _MIB for key in ("new_bytes", "read_bytes"))
        print(
            f"{name:<26}{row.get('seconds', 0):>9.2f}{row.get('mib_per_second', 0):>9.1f}{stored:>12.1f}{read:>10.1f}"
            f"{row['peak_mib']:>10.1f}"
        )
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()

"""What curves of long runs cost: read as a whole, four at once, zoomed, and while a run logs.

    python benchmarks/curves.py [--json FILE] [--points N ...] [--database URL] [--folder DIR]

Runs of N points (default 100 000 and 1 000 000) with eight curves and held-out values at each 500th, on SQLite in a
temporary folder (below DIR) or an empty PostgreSQL database at URL. Times are wall-clock and, in CPU, what this process
needs for the answer as the API sends it; a live point goes the trainer's way, through the file. `migrate` is an
existing database brought to the buckets, per run.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sqlalchemy import delete, insert

from backend.core.db import new_id
from backend.core.settings import Settings
from backend.migrations.migrate import downgrade, migrate
from backend.studio.context import Studio
from backend.tables.curve_block import CurveBlock
from backend.tables.job import Job, JobKind, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.training.service import metrics
from backend.training.tail import MetricsTail
from dexvla.files import write_json

NAMES = ("loss", "action_loss", "llm_loss", "learning_rate", "grad_norm", "samples_per_second", "vram", "seconds")
HELD_OUT = ("val_loss", "val_action_loss", "val_token_accuracy")
BEFORE_BUCKETS = "63a32f10a961"


def line(step: int, noise: float) -> dict[str, float]:
    values = {name: round(1 + number + noise, 6) for number, name in enumerate(NAMES)}
    return values | ({name: round(noise, 6) for name in HELD_OUT} if step % 500 == 0 else {})


def add_run(studio: Studio, points: int) -> str:
    run_id, job_id = new_id(), new_id()
    noise = np.random.default_rng(0).normal(size=points).tolist()
    with studio.db.transaction() as db:
        db.add(Job(id=job_id, kind=JobKind.TRAIN, title="train", state=JobState.DONE, payload={}))
        db.flush()
        db.add(Run(id=run_id, name="run", stage=2, spec={}, sources=[], origin={}, request={}, job_id=job_id))
        db.flush()
        for start in range(0, points, 10_000):
            steps = range(start + 1, min(start + 10_000, points) + 1)
            rows = [{"run_id": run_id, "step": s, "attempt": 1, "values": line(s, noise[s - 1])} for s in steps]
            db.execute(insert(MetricPoint), rows)
    return run_id


def measured(call: Callable[[], Any], *, times: int = 9) -> dict[str, float]:
    call()
    wall, cpu = [], []
    for _ in range(times):
        at, used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - at)
        cpu.append(time.process_time() - used)
    return {"ms": round(1e3 * statistics.median(wall), 1), "cpu_ms": round(1e3 * statistics.median(cpu), 1)}


def read(studio: Studio, run_id: str, **query: int) -> int:
    with studio.db.transaction(write=False) as db:
        return len(metrics(db, run_id, **{"after": 0, "points": 1500, **query}).model_dump_json())


def log(studio: Studio, run_id: str, points: int, folder: Path, count: int) -> Callable[[], None]:
    """One poll of the handler that finds `count` more lines in the file."""
    file = folder / f"{run_id}.jsonl"
    file.write_text("")
    tail, step = MetricsTail(file, run_id), points
    tail._inode = file.stat().st_ino  # what is there is read

    def call() -> None:
        nonlocal step
        with file.open("a") as opened:
            for _ in range(count):
                step += 1
                opened.write(json.dumps({"step": step, **line(step, 0.5)}) + "\n")
        with studio.db.transaction() as db:
            tail.store(db, 1)

    return call


def look(studio: Studio, points: int, folder: Path) -> dict[str, Any]:
    run_id = add_run(studio, points)
    downgrade(studio.db, BEFORE_BUCKETS)
    before = time.perf_counter()
    migrate(studio.db)
    found: dict[str, Any] = {"migrate_seconds": round(time.perf_counter() - before, 2)}
    found["bytes"] = read(studio, run_id)
    found["whole"] = measured(lambda: read(studio, run_id))
    found["four"] = measured(lambda: [read(studio, run_id) for _ in range(4)])
    found["a_tenth"] = measured(lambda: read(studio, run_id, after=points // 2, until=points // 2 + points // 10))
    found["a_thousand"] = measured(lambda: read(studio, run_id, after=points // 2, until=points // 2 + 1000))
    found["log_1"] = measured(log(studio, run_id, points, folder, 1), times=60)
    found["log_100"] = measured(log(studio, run_id, points + 1000, folder, 100), times=20)
    found["live"] = measured(lambda: read(studio, run_id, after=points + 100))
    with studio.db.transaction() as db:  # for the next one's migration
        db.execute(delete(CurveBlock))
        db.execute(delete(MetricPoint))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--points", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--database")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        options = {"database_url": arguments.database} if arguments.database else {}
        settings = Settings(data=Path(name), **options)
        settings.folder.prepare()
        studio = Studio.open(settings)
        migrate(studio.db)
        report: dict[str, Any] = {"database": "PostgreSQL" if arguments.database else "SQLite", "cores": os.cpu_count()}
        for points in arguments.points:
            report[str(points)] = look(studio, points, Path(name))
        report["memory_mb"] = round(psutil.Process().memory_info().rss / 2**20)
        studio.close()
    if arguments.json:
        write_json(arguments.json, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

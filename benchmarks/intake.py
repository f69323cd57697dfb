"""CPU of taking an episode in, part by part, beside what copying and hashing its file costs.

    python benchmarks/intake.py [--megabytes N] [--small N] [--json FILE] [--folder DIR]

One episode of three cameras, 480x640 as JPEG. CPU seconds of user and system in one process, as ratios to those of
`cp` and sha256sum of the same file: the check that decodes every image, and the whole examination with its fresh copy.

Then N small episodes (500; 0: none) of ten steps and two cameras, 120x160: the inspection alone, by a fresh interpreter
each (every tenth file) and by the warm process; and all of it, by requests to an API process (uvicorn on loopback, an
SQLite database) and by the import of a folder. CPU is that of the API, or of the import, with every process that looks
at files; the clients' is left out. `a_second` is by the clock, `a_second_by_cpu` what two cores would do with nothing
else on them; with a fresh interpreter it is computed, by what the inspection alone takes more.
"""

import argparse
import hashlib
import http.client
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from backend.core.db import utc_now
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.datasets.jobs import ImportPayload
from backend.identity.secrets import new_token, token_hash
from backend.intake.child import started
from backend.intake.examine import examine
from backend.migrations.migrate import migrate
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.job import Job, JobKind
from backend.tables.login_session import LoginSession
from backend.tables.user import User
from benchmarks.scale import Api, api
from dexvla.episodes.check import check_file
from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json
from worker.jobs.handlers.import_folder import import_folder, read_outcomes

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
DIFFERENT = 16  # images; the others repeat them
CORES = 2
AT_ONCE = 4  # requests


def make(path: Path, megabytes: int) -> None:
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (60, 80, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    frames = [encode_jpeg(np.roll(smooth, 9 * shift, axis=1)) for shift in range(DIFFERENT)]
    steps = max(2, round(megabytes * 1e6 / (len(CAMERAS) * max(map(len, frames)))))
    motion = rng.normal(size=(steps, 14)).cumsum(axis=0).astype(np.float32)
    write_episode(
        path,
        EpisodeData(
            action=motion,
            qpos=motion,
            qvel=motion,
            images={camera: [frames[step % DIFFERENT] for step in range(steps)] for camera in CAMERAS},
            instruction="Transfer the red cube.",
            attributes=EpisodeAttributes(sim=True, fps=50.0),
        ),
    )


def cpu_of(work: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def copy_and_hash(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def make_small(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(1)
    frames = [encode_jpeg(rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(10, 0).repeat(10, 1)) for _ in range(20)]
    for number in range(count):
        motion = rng.normal(size=(10, 14)).cumsum(axis=0).astype(np.float32)
        write_episode(
            folder / f"episode_{number}.hdf5",
            EpisodeData(
                action=motion,
                qpos=motion,
                qvel=motion,
                images={"cam_high": frames[:10], "cam_wrist": frames[10:]},
                instruction="Transfer the red cube.",
                attributes=EpisodeAttributes(sim=True, fps=50.0),
            ),
        )
    return sorted(folder.iterdir())


def seconds_of(pid: int) -> float:
    """CPU of a process, and of the warm processes that it started with all that those forked."""
    process = psutil.Process(pid)
    used = process.cpu_times()
    total: float = used.user + used.system
    for child in process.children():
        if "backend.intake.warm" in child.cmdline():
            total += sum(child.cpu_times()[:4])
    return total


def measured(pid: int, work: Callable[[], object], count: int) -> dict[str, float]:
    before, began = seconds_of(pid), time.perf_counter()
    work()
    took, used = time.perf_counter() - began, seconds_of(pid) - before
    return {
        "cpu_ms_each": round(1000 * used / count, 1),
        "a_second": round(count / took, 1),
        "a_second_by_cpu": round(CORES * count / used, 1),
    }


def order_of(source: Path, target: Path) -> bytes:
    order = {"source": str(source), "target": str(target), "file_bytes": 2**26, "cpu_seconds": 600}
    return json.dumps({**order, "keep_labels": True, "instruction": ""}).encode() + b"\n"


def look_fresh(files: Sequence[Path], target: Path) -> float:
    """CPU seconds, one interpreter a file."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for file in files:
        subprocess.run(
            [sys.executable, "-c", "from backend.intake import inspect; inspect.main()"],
            input=order_of(file, target), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def look_warm(files: Sequence[Path], target: Path) -> None:
    for file in files:
        with started("backend.intake.inspect") as child:
            child.send(order_of(file, target))
            answer = child.stdout.read()
            assert child.wait()
            assert not json.loads(answer)["errors"], answer


def datasets(studio: Studio) -> tuple[str, str, str]:
    """(an operator's cookie, two datasets)."""
    token, now = new_token(), utc_now()
    with studio.db.transaction() as db:
        user = User(name="ada", password_hash="", role=Role.OPERATOR)
        rows = [Dataset(name="uploads"), Dataset(name="imports")]
        db.add_all([user, *rows])
        db.flush()
        expires = now.replace(year=now.year + 1)
        db.add(LoginSession(token_sha256=token_hash(token), user_id=user.id, created_at=now, expires_at=expires))
        return token, rows[0].id, rows[1].id


def send(server: Api, dataset_id: str, files: Sequence[Path]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    headers = {**server.headers, "Content-Type": "application/octet-stream"}
    for file in files:
        connection.request("POST", f"/api/datasets/{dataset_id}/episodes?name={file.name}", file.read_bytes(), headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in (200, 201), content
    connection.close()


def upload(server: Api, dataset_id: str, files: Sequence[Path]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(send, server, dataset_id, files[first::AT_ONCE]) for first in range(AT_ONCE)]:
            done.result()


def bring(studio: Studio, dataset_id: str, folder: Path, count: int) -> None:
    with studio.db.transaction() as db:
        payload = ImportPayload(dataset_id=dataset_id, folder=str(folder)).model_dump(mode="json")
        job = Job(kind=JobKind.IMPORT, title="import", subject_id=dataset_id, payload=payload)
        db.add(job)
        db.flush()
        job_id = job.id
    here = studio.settings.folder.job(job_id)
    here.mkdir(parents=True)
    import_folder(studio.settings, job_id)
    outcomes = read_outcomes(here / "imported.jsonl")
    assert len(outcomes) == count, outcomes[-1:]
    assert all("episode_id" in outcome for outcome in outcomes)


def small(folder: Path, count: int) -> dict[str, Any]:
    files, target = make_small(folder / "small", count), folder / "copy.hdf5"
    target.touch()
    tenth = files[::10]
    look_warm(files[:1], target)  # the warm process starts
    looked = measured(os.getpid(), partial(look_warm, files, target), count)
    fresh = 1000 * look_fresh(tenth, target) / len(tenth)
    settings = Settings(data=folder / "studio", redis_url=f"unix://{folder / 'nobody.sock'}")
    settings.folder.prepare()
    studio = Studio.open(settings)
    migrate(studio.db)
    cookie, uploads, imports = datasets(studio)
    with api(settings, cookie) as server:
        upload(server, uploads, files[:1])
        sent = measured(server.process.pid, partial(upload, server, uploads, files[1:]), count - 1)
    brought = measured(os.getpid(), partial(bring, studio, imports, folder / "small", count), count)
    studio.close()
    more = fresh - looked["cpu_ms_each"]
    for row in (looked, sent, brought):
        row["a_second_by_cpu_with_a_fresh_interpreter_each"] = round(CORES * 1000 / (row["cpu_ms_each"] + more), 2)
    return {
        "episodes": count,
        "bytes_each": files[0].stat().st_size,
        "inspection": {**looked, "cpu_ms_each_fresh_interpreter": round(fresh, 1)},
        "upload": sent,
        "import": brought,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--small", type=int, default=500, help="small episodes; 0: none")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--folder", type=Path, help="where to work; default the system's temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, target = Path(folder) / "episode.hdf5", Path(folder) / "copy.hdf5"
        make(source, options.megabytes)
        size = source.stat().st_size
        check_file(source, every_frame=False)  # what is imported late is imported now
        plain = cpu_of(lambda: copy_and_hash(source, target))
        target.unlink()
        target.touch()
        work: dict[str, Callable[[], Any]] = {
            "check": lambda: check_file(source),
            "examination": lambda: examine(source, target, keep_labels=True),
        }
        used = {name: cpu_of(one) for name, one in work.items()}
        target.unlink()
        few = small(Path(folder), options.small) if options.small else None
    report = {
        "bytes": size,
        "copy_and_sha256": {"cpu_seconds": round(plain, 3), "cpu_seconds_a_gb": round(plain / size * 1e9, 2)},
        **{
            name: {
                "cpu_seconds": round(seconds, 2),
                "cpu_seconds_a_gb": round(seconds / size * 1e9, 2),
                "times_copy_and_sha256": round(seconds / plain, 1),
            }
            for name, seconds in used.items()
        },
        "small": few,
    }
    if options.json:
        write_json(options.json, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

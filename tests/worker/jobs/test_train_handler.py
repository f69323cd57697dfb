"""The training handler on a real tiny run: rows follow the files, a cancelled run goes on where it stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from backend.checkpoints import service as checkpoints
from backend.core.settings import Settings
from backend.jobs import repository
from backend.jobs.repository import LostError
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.job import Job, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.training import service as training
from backend.training.schemas import RunIn
from backend.training.tail import MetricsTail
from dexvla.errors import UserError
from dexvla.spec import TrainSpec
from dexvla.train import runs
from tests.support.archives import unpack
from tests.support.databases import make_tables
from tests.support.team import PATIENCE
from tests.support.training_data import ME, SMALL, make_version, stage_2, start
from worker.core.gpus import visible_gpus
from worker.jobs.handlers.base import JobContext, Progress
from worker.jobs.handlers.preflight import PreflightHandler, launch_flags
from worker.jobs.handlers.saved import CheckpointRegistrar
from worker.jobs.handlers.train import TrainHandler, launch


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """Without a broker: events are best effort."""
    settings = Settings(data=tmp_path / "studio", redis_url="redis://127.0.0.1:9")
    settings.folder.prepare()
    studio = Studio.open(settings)
    make_tables(studio.db)
    yield studio
    studio.close()


@pytest.fixture
def request_body(studio: Studio, base_model: Path, make_episode: Callable[..., Path]) -> RunIn:
    return stage_2(studio, base_model, make_episode)


def claim(studio: Studio, job_id: str) -> JobContext:
    """What the runner does at the beginning of an attempt."""
    with studio.db.transaction() as db:
        job = repository.claim(db, job_id, owner="test")
        assert job is not None
    folder = studio.settings.folder.job(job_id)
    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(
        studio=studio,
        id=job_id,
        kind=job.kind,
        attempt=job.attempt,
        title=job.title,
        subject_id=job.subject_id,
        created_by=job.created_by,
        payload=job.payload,
        folder=folder,
    )


def give_up(studio: Studio, job_id: str) -> None:
    """The attempt is over; the job may be claimed again."""
    with studio.db.transaction() as db:
        job = db.get_one(Job, job_id)
        job.state, job.lease_until = JobState.QUEUED, None


def carry_out(
    handler: TrainHandler, job: JobContext, *, stop_at: int | None = None, number: int = signal.SIGTERM
) -> tuple[int, list[Progress]]:
    """Run the command as the runner does; send a signal once the rows have reached a step."""
    command = handler.command(job)
    assert command is not None
    environment = {**os.environ, **handler.environment(job), "DEXVLA_PROGRESS": str(job.progress_file)}
    seen: list[Progress] = []
    with job.log.open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            progress = handler.poll(job)
            if progress is not None:
                seen.append(progress)
            if stop_at is not None and points(job) and max(points(job)) >= stop_at:
                process.send_signal(number)
                stop_at = None
            time.sleep(0.05)
    progress = handler.poll(job)
    if progress is not None:
        seen.append(progress)
    return process.returncode, seen


def points(job: JobContext) -> dict[int, tuple[int, dict[str, Any]]]:
    """Step -> (attempt, values)."""
    with job.studio.db.transaction(write=False) as db:
        rows = db.scalars(select(MetricPoint).where(MetricPoint.run_id == job.subject_id))
        return {row.step: (row.attempt, row.values) for row in rows}


def saved(job: JobContext) -> dict[int, Checkpoint]:
    with job.studio.db.transaction(write=False) as db:
        rows = db.scalars(select(Checkpoint).where(Checkpoint.run_id == job.subject_id).order_by(Checkpoint.step))
        return {row.step: row for row in rows}


def losses(job: JobContext) -> dict[int, float]:
    return {step: values["loss"] for step, (_, values) in points(job).items()}


def test_a_run_from_the_form_to_a_checkpoint_that_loads(
    studio: Studio, request_body: RunIn, tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    body = request_body.model_copy(update={"fields": {**SMALL, "validation_fraction": 0.5, "validation_samples": 2}})
    run_id, job_id = start(studio, body)
    job = claim(studio, job_id)
    handler = TrainHandler()
    status, seen = carry_out(handler, job)
    assert status == 0, job.log.read_text()
    result = handler.finish(job)
    assert handler.finish(job) == result  # a later attempt may have to finish again
    assert result["step"] == 6
    assert seen[-1].done == seen[-1].total == 6

    assert sorted(points(job)) == [1, 2, 3, 4, 5, 6]
    assert points(job)[6][0] == 1
    assert {"loss", "learning_rate", "grad_norm", "val_loss"} <= set(points(job)[6][1])
    rows = saved(job)
    there = set(runs.steps_of(studio.settings.folder.run(run_id) / "checkpoints"))
    assert {step for step, row in rows.items() if row.deleted_at is None} == there
    pruned = [row for row in rows.values() if row.deleted_at is not None]
    assert all(row.deleted_why == "the run keeps the newest 2" for row in pruned)
    folder = studio.settings.folder.run(run_id)
    folder.rename(folder.with_name("elsewhere"))  # another machine's run, or a disk that is not mounted
    CheckpointRegistrar(runs.Run(str(folder)), run_id, name="x", keep=2).look(job, studio.db.transaction, wait=True)
    folder.with_name("elsewhere").rename(folder)
    assert {step for step, row in saved(job).items() if row.deleted_at is None} == there, "nothing of it was pruned"
    newest = rows[6]
    assert newest.val_loss == points(job)[6][1]["val_loss"]
    assert (newest.stage, newest.attempt) == (2, 1)

    with studio.db.transaction() as db:
        detail = training.run(db, studio, run_id)
        assert detail.preflight is not None
        assert detail.preflight["ok"] is True
        assert detail.latest["val_loss"] == newest.val_loss
        assert detail.git is None or len(detail.git) >= 40
        name = "pick-cube-step-0000006"
        data = b"".join(
            block
            for part in checkpoints.archive_parts(studio, newest, name)
            for block in ([part.data] if part.file is None else [part.file.read_bytes()])
        )
    from hashlib import sha256

    assert sha256(data).hexdigest() == newest.archive_sha256
    assert len(data) == newest.info["archive_size"]
    (tmp_path / "got.tar").write_bytes(data)
    unpack(tmp_path / "got.tar", tmp_path)
    from dexvla.model import load_policy

    assert load_policy(tmp_path / name, verify=True).spec.action_dim == 14

    # stage 3 starts from it
    third = RunIn.model_validate(
        {
            "name": "third",
            "stage": 3,
            "preset": "tiny",
            "sources": [source.model_dump() for source in body.sources],
            "checkpoint_id": newest.id,
            "fields": {"steps": 2, "batch_size": 2, "save_every": 2, "log_every": 1, "device": "cpu"},
        }
    )
    ten = make_version(studio, make_episode, seed=9, action_dim=10, state_dim=7)
    other = make_version(studio, make_episode, seed=20, cameras=("cam_high", "cam_low"))
    with studio.db.transaction() as db:
        wrong = {"sources": [{"version_id": ten}], "fields": {}}
        errors = training.check(db, studio, third.model_validate({**third.model_dump(), **wrong})).errors
        assert "has 10 action dimensions, the checkpoint was trained with 14" in errors["sources.0"]
        wrong = {"sources": [{"version_id": other}], "fields": {}}
        errors = training.check(db, studio, third.model_validate({**third.model_dump(), **wrong})).errors
        assert "choose the cameras to train on others" in errors["cameras"]
        wrong["fields"] = {"cameras": ["cam_low"]}
        assert training.check(db, studio, third.model_validate({**third.model_dump(), **wrong})).errors == {}

    child_id, child_job = start(studio, third)
    job = claim(studio, child_job)
    handler = TrainHandler()
    status, _ = carry_out(handler, job)
    assert status == 0, job.log.read_text()
    handler.finish(job)
    with studio.db.transaction() as db:
        found = checkpoints.checkpoint(db, saved(job)[2].id)
        assert [(one.kind, one.name) for one in found.ancestors] == [
            ("checkpoint", "pick cube, step 6"),
            ("backbone", "Tiny"),
        ]
        assert training.run(db, studio, child_id).parent_name == "pick cube, step 6"


def test_a_stopped_run_goes_on_with_the_curve_of_one_without_a_break(studio: Studio, request_body: RunIn) -> None:
    _, whole = start(studio, request_body)
    unbroken = claim(studio, whole)
    assert carry_out(TrainHandler(), unbroken)[0] == 0, unbroken.log.read_text()

    _, job_id = start(studio, request_body)
    first = claim(studio, job_id)
    handler = TrainHandler()
    status, _ = carry_out(handler, first, stop_at=3, number=signal.SIGKILL)
    assert status == -signal.SIGKILL
    reached = max(points(first))
    assert reached >= 3
    resumed_from = runs.Run(studio.settings.folder.run(first.subject_id or "")).resumable_step()
    assert resumed_from in {2, 4}
    give_up(studio, job_id)

    second = claim(studio, job_id)
    assert second.attempt == 2
    with pytest.raises(LostError):  # the first runner is still there, and must not write any more
        handler.finish(first)
    handler.clean(first)
    handler = TrainHandler()
    status, seen = carry_out(handler, second)
    assert status == 0, second.log.read_text()
    handler.finish(second)
    assert seen[-1] == Progress(done=6, total=6, note=seen[-1].note)
    assert losses(second) == losses(unbroken)
    attempts = {step: attempt for step, (attempt, _) in points(second).items()}
    assert attempts == {step: 1 if step <= resumed_from else 2 for step in range(1, 7)}

    give_up(studio, job_id)  # it died between the last checkpoint and its row: nothing is left to run
    third = claim(studio, job_id)
    handler = TrainHandler()
    assert handler.command(third) is None
    assert handler.finish(third)["step"] == 6


def test_a_cancelled_run_keeps_the_checkpoint_it_saves_on_the_way_out(studio: Studio, request_body: RunIn) -> None:
    body = request_body.model_copy(update={"fields": {**SMALL, "steps": 200, "save_every": 1000}})
    _, job_id = start(studio, body)
    job = claim(studio, job_id)
    handler = TrainHandler()
    status, _ = carry_out(handler, job, stop_at=2)
    assert status == 130
    with studio.db.transaction() as db:
        row = db.get_one(Job, job_id)
        row.state, row.lease_until = JobState.CANCELLED, None
    handler.clean(job)
    rows = saved(job)
    assert len(rows) == 1
    assert next(iter(rows)) == max(points(job))
    assert (Path(studio.settings.folder.run(job.subject_id or "")) / "run.json").exists()


def test_a_run_whose_base_model_is_gone_says_so(studio: Studio, request_body: RunIn, tmp_path: Path) -> None:
    run_id, job_id = start(studio, request_body)
    with studio.db.transaction() as db:
        row = db.get_one(Run, run_id)
        row.spec = {**row.spec, "init_from": str(tmp_path / "unplugged")}
    with pytest.raises(UserError, match="unplugged: what the run starts from is gone; put it back"):
        TrainHandler().command(claim(studio, job_id))


def test_rows_follow_the_file_when_it_is_cut_back(studio: Studio, request_body: RunIn, tmp_path: Path) -> None:
    run_id, _ = start(studio, request_body)
    file = tmp_path / "metrics.jsonl"
    tail = MetricsTail(file, run_id)

    def write(lines: list[dict[str, float]], *, end: str = "", mode: str = "a") -> None:
        with file.open(mode) as opened:
            opened.write("".join(json.dumps(line) + "\n" for line in lines) + end)

    def stored(attempt: int) -> dict[int, tuple[int, dict[str, float]]]:
        assert tail.changed()
        with studio.db.transaction() as db:
            tail.store(db, attempt)
            db.flush()
            rows = db.scalars(select(MetricPoint).where(MetricPoint.run_id == run_id))
            return {row.step: (row.attempt, row.values) for row in rows}

    assert not tail.changed()
    write([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0, "grad_norm": float("inf")}], end='{"step": 3, "lo')
    assert stored(1) == {1: (1, {"loss": 3.0}), 2: (1, {"loss": 2.0})}
    write([], end='ss": 1.0}\n')
    write([{"step": 3, "val_loss": 0.5}])  # beside the training's line of the same step
    assert stored(1)[3] == (1, {"loss": 1.0, "val_loss": 0.5})
    replaced = tmp_path / "new"
    replaced.write_text('{"step": 1, "loss": 3.0}\n')
    replaced.replace(file)
    tail = MetricsTail(file, run_id)
    assert stored(2) == {1: (1, {"loss": 3.0})}
    write([{"step": 2, "loss": 2.5}])
    assert stored(2) == {1: (1, {"loss": 3.0}), 2: (2, {"loss": 2.5})}
    write([], mode="w")  # a run resumed before its first checkpoint begins anew
    assert stored(3) == {}


def test_a_preflight_is_a_report_also_of_a_run_that_would_not_start(studio: Studio, request_body: RunIn) -> None:
    with studio.db.transaction() as db:
        out = training.preflight(db, ME, studio, request_body)
    job = claim(studio, out.id)
    handler = PreflightHandler()
    done = subprocess.run(handler.command(job), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = handler.finish(job)
    assert report["ok"] is True
    assert report["memory_bytes"]["total"] > 0
    assert list(studio.settings.folder.runs.iterdir()) == []


def test_a_preflight_counts_for_the_launch_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"stage": 2, "data": [{"path": "d"}], "init_from": "b", "output_dir": "o", "expert": "tiny"}
    monkeypatch.setenv("STUDIO_GPUS", "4")
    spec = TrainSpec.model_validate(fields)
    assert launch_flags(spec) == ["--processes", "4"]
    assert launch_flags(spec.model_copy(update={"device": "cpu"})) == ["--processes", "1"]
    monkeypatch.setenv("STUDIO_ACCELERATE_CONFIG", "/etc/zero2.yaml")
    assert launch_flags(spec) == ["--processes", "4", "--launch", "/etc/zero2.yaml"]


def test_as_many_processes_as_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\nfor n in 0 1 2 3; do echo "GPU $n: NVIDIA H100 (UUID: GPU-$n)"; done\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("STUDIO_GPUS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert visible_gpus() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == 0
    monkeypatch.setenv("STUDIO_GPUS", "3")
    assert visible_gpus() == 3
    assert launch(["train", "s.yaml"], processes=1) == [sys.executable, "-m", "dexvla.cli", "train", "s.yaml"]
    assert launch(["train", "s.yaml"], processes=3)[1:] == ["-m", "worker.jobs.launch", "3", "train", "s.yaml"]
    monkeypatch.setenv("STUDIO_ACCELERATE_CONFIG", "zero2.yaml")
    assert launch(["train", "s.yaml"], processes=3)[1:6] == [
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        "zero2.yaml",
        "--num_processes",
    ]


def test_several_processes_stop_together_with_a_checkpoint(studio: Studio, request_body: RunIn) -> None:
    """Two on a CPU, as two GPUs would have."""
    body = request_body.model_copy(update={"fields": {**SMALL, "steps": 500, "save_every": 1000}})
    _, job_id = start(studio, body)
    job = claim(studio, job_id)
    handler = TrainHandler()
    command = handler.command(job)
    assert command is not None
    with job.log.open("ab") as log:
        process = subprocess.Popen(launch(command[3:], processes=2), stdout=log, stderr=log)
        while process.poll() is None:
            handler.poll(job)
            if points(job):
                process.terminate()
                break
            time.sleep(0.05)
        assert process.wait(PATIENCE) == 130, job.log.read_text()
    handler.finish(job)
    assert max(points(job)) == max(saved(job)) < 500

    # the first loss is that of one process with twice the batch
    _, alone = start(studio, body.model_copy(update={"fields": {**SMALL, "steps": 1, "batch_size": 4}}))
    single = claim(studio, alone)
    assert carry_out(TrainHandler(), single)[0] == 0
    assert losses(job)[1] == pytest.approx(losses(single)[1], rel=1e-5)

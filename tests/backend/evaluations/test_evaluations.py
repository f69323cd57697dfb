"""/api/evaluations with a real checkpoint, from the request over the job's own command to report, videos and plots."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.core.errors import InvalidError
from backend.jobs import repository as jobs
from backend.studio.context import Studio
from backend.tables.audit_entry import AuditEntry
from backend.tables.checkpoint import Checkpoint
from backend.tables.evaluation import Evaluation
from backend.tables.job import Job, JobKind, JobState
from dexvla.spec import ClosedLoopReport, EpisodeOutcome, OpenLoopDetails, OpenLoopReport
from tests.support.evaluation_data import Ids, add_checkpoint
from worker.jobs.handlers.base import JobContext
from worker.jobs.handlers.evaluate import EvaluateHandler

pytestmark = pytest.mark.slow

SignIn = Callable[[str], TestClient]
URL = "/api/evaluations"


@pytest.fixture(autouse=True)
def long_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner renews its lease. Here nobody does, and on a busy machine a command takes longer than one."""
    monkeypatch.setenv("STUDIO_LEASE_SECONDS", "3600")


@pytest.fixture
def ids(studio: Studio, trained: Path, demos: Path) -> Ids:
    return add_checkpoint(studio, trained, demos)


def closed(ids: Ids, **fields: Any) -> dict[str, Any]:
    return {"kind": "closed_loop", "checkpoint_id": ids.checkpoint, "episodes": 2, "max_steps": 24} | fields


def replay(ids: Ids, **fields: Any) -> dict[str, Any]:
    return {"kind": "open_loop", "checkpoint_id": ids.checkpoint, "version_id": ids.version, "stride": 8} | fields


class Attempt:
    """What the runner does with a job: claim it, run its command, finish or clean."""

    def __init__(self, studio: Studio, evaluation: dict[str, Any]) -> None:
        job_id = evaluation["job"]["id"]
        with studio.db.transaction() as db:
            row = jobs.claim(db, job_id, owner="test", lease_seconds=studio.settings.lease_seconds)
            assert row is not None
            attempt = row.attempt
        folder = studio.settings.folder.job(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        self.studio = studio
        self.handler = EvaluateHandler()
        self.job = JobContext(
            studio=studio, id=job_id, kind=JobKind.EVALUATE, attempt=attempt, title="", subject_id=evaluation["id"],
            created_by=None, payload={"evaluation_id": evaluation["id"]}, folder=folder,
        )  # fmt: skip

    def start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"DEXVLA_PROGRESS": str(self.job.progress_file)}
        return subprocess.Popen(
            self.handler.command(self.job), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self) -> dict[str, Any]:
        process = self.start()
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        self.progress = self.handler.poll(self.job)
        result = self.handler.finish(self.job)
        self.end(JobState.DONE, result=result)
        return result

    def end(self, state: JobState, **values: Any) -> None:
        with self.studio.db.transaction() as db:
            jobs.close(db, self.job.id, self.job.attempt, state=state, **values)


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


def test_pick_colour_is_evaluated_with_its_options_and_counts_wrong_cubes(
    studio: Studio, client: SignIn, ids: Ids
) -> None:
    operator = client("operator")
    options = {"level": "anywhere", "split": "held_out", "swapped": True}
    started = operator.post(URL, json=closed(ids, task="pick_colour", options=options, episodes=1, max_steps=8))
    assert started.status_code == 201, started.text
    Attempt(studio, started.json()).run()
    report = operator.get(f"{URL}/{started.json()['id']}").json()["report"]
    assert (report["settings"]["task"], report["settings"]["options"]) == ("pick_colour", options)
    assert (report["wrong"]["successes"], report["wrong"]["trials"]) == (0, 1)
    refused = operator.post(URL, json=closed(ids, task="insertion", options=options))
    assert refused.status_code == 422
    assert "options of pick_colour; insertion has none" in refused.text


def test_a_closed_loop_evaluation_from_request_to_video(studio: Studio, client: SignIn, ids: Ids) -> None:
    operator, viewer = client("operator"), client("viewer")
    started = operator.post(URL, json=closed(ids, instruction="-- take the cube"))
    assert started.status_code == 201, started.text
    evaluation = started.json()
    assert evaluation["checkpoint_name"] == "pick cube, step 2"
    assert (evaluation["job"]["state"], evaluation["job"]["total"]) == ("queued", 2)
    assert (evaluation["report"], evaluation["success_rate"], evaluation["files"]) == (None, None, [])
    refused = operator.delete(f"{URL}/{evaluation['id']}")
    assert refused.status_code == 409
    assert "cancel its job first" in error(refused)["message"]

    attempt = Attempt(studio, evaluation)
    attempt.run()
    assert attempt.progress is not None
    assert (attempt.progress.done, attempt.progress.total) == (2, 2)
    assert "seed 1001: failure" in attempt.progress.note
    detail = viewer.get(f"{URL}/{evaluation['id']}").json()
    report = ClosedLoopReport.model_validate(detail["report"])
    assert [episode.seed for episode in report.episodes] == [1000, 1001]
    assert report.settings.instruction == "-- take the cube"
    assert str(studio.settings.data) not in json.dumps(detail), "no paths of the server"
    assert detail["success_rate"] == 0
    assert 0 <= detail["interval"][0] < detail["interval"][1] < 1
    assert detail["mean_reward"] == 0
    assert detail["files"] == ["seed_1000.mp4", "seed_1001.mp4"]
    assert [EpisodeOutcome.model_validate(outcome) for outcome in detail["outcomes"]] == list(report.episodes)
    assert viewer.get(URL).json()[0]["success_rate"] == 0
    assert viewer.get(URL, params={"checkpoint_id": "other"}).json() == []

    video = viewer.get(f"{URL}/{evaluation['id']}/files/seed_1000.mp4")
    assert video.headers["content-type"] == "video/mp4"
    assert video.headers["accept-ranges"] == "bytes"
    part = viewer.get(f"{URL}/{evaluation['id']}/files/seed_1000.mp4", headers={"Range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, video.content[4:12])
    assert part.headers["content-range"] == f"bytes 4-11/{len(video.content)}"
    beyond = viewer.get(f"{URL}/{evaluation['id']}/files/seed_1000.mp4", headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416

    folder = studio.settings.folder.evaluation(evaluation["id"])
    assert folder.is_dir()
    assert viewer.delete(f"{URL}/{evaluation['id']}").status_code == 403
    assert operator.delete(f"{URL}/{evaluation['id']}").status_code == 204
    assert not folder.exists()
    assert viewer.get(URL).json() == []
    assert viewer.get(f"{URL}/{evaluation['id']}").status_code == 404
    with studio.db.transaction(write=False) as db:
        actions = [entry.action for entry in db.query(AuditEntry).filter(AuditEntry.subject == evaluation["id"])]
        assert sorted(actions) == ["evaluation.delete", "evaluation.start"]


def test_open_loop_on_what_was_held_out(studio: Studio, client: SignIn, ids: Ids) -> None:
    evaluation = client("operator").post(URL, json=replay(ids)).json()
    assert evaluation["job"]["total"] == 1, "one of three was held out"
    attempt = Attempt(studio, evaluation)
    result = attempt.run()
    detail = client("viewer").get(f"{URL}/{evaluation['id']}").json()
    report = OpenLoopReport.model_validate(detail["report"])
    assert [episode.held_out for episode in report.episodes] == [True]
    assert "/" not in report.episodes[0].path
    assert detail["error_of_range"] == pytest.approx(sum(report.error_of_range) / 14)
    assert result["error_of_range"] == detail["error_of_range"]
    assert detail["reasoning_match"] == report.reasoning_match is not None
    assert [report.episodes[0].details, report.episodes[0].plot] == detail["files"]
    page = client("viewer").get(f"{URL}/{evaluation['id']}/files/episode-000.json")
    assert page.headers["content-type"] == "application/json"
    details = OpenLoopDetails.model_validate_json(page.content)
    assert len(details.steps) == 24
    assert details.reasoning[0].label == "Reach for the cube"
    everything = client("operator").post(URL, json=replay(ids, held_out=False)).json()
    assert everything["job"]["total"] == 3


def test_a_cancelled_evaluation_keeps_whole_episodes_and_goes_on_behind_them(
    studio: Studio, client: SignIn, ids: Ids
) -> None:
    evaluation = client("operator").post(URL, json=closed(ids, max_steps=8)).json()
    Attempt(studio, evaluation).run()
    folder = studio.settings.folder.evaluation(evaluation["id"])
    # as if it had been killed within its second episode
    (folder / "report.json").unlink()
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    (folder / "episodes.jsonl").write_text(lines[0] + "\n" + lines[1][:40])
    (folder / "seed_1001.mp4").rename(folder / ".seed_1001.mp4.abc.tmp")
    first = (folder / "seed_1000.mp4").stat().st_mtime_ns
    with studio.db.transaction() as db:
        job = db.get_one(Job, evaluation["job"]["id"])
        job.state, job.lease_until = JobState.QUEUED, None
        db.get_one(Evaluation, evaluation["id"]).report = None
    attempt = Attempt(studio, evaluation)
    attempt.handler.clean(attempt.job)
    detail = client("viewer").get(f"{URL}/{evaluation['id']}").json()
    assert [outcome["seed"] for outcome in detail["outcomes"]] == [1000]
    assert detail["files"] == ["seed_1000.mp4"]
    assert not list(folder.glob(".*"))
    attempt.run()
    assert (folder / "seed_1000.mp4").stat().st_mtime_ns == first, "not run again"
    report = client("viewer").get(f"{URL}/{evaluation['id']}").json()["report"]
    assert [episode["seed"] for episode in report["episodes"]] == [1000, 1001]


def test_a_job_that_left_nothing_leaves_no_folder(studio: Studio, client: SignIn, ids: Ids) -> None:
    evaluation = client("operator").post(URL, json=closed(ids)).json()
    attempt = Attempt(studio, evaluation)
    attempt.handler.command(attempt.job)
    folder = studio.settings.folder.evaluation(evaluation["id"])
    assert folder.is_dir()
    attempt.handler.clean(attempt.job)
    assert not folder.exists()
    assert client("viewer").get(f"{URL}/{evaluation['id']}").json()["files"] == []


def test_a_deleted_evaluation_is_not_resumed(studio: Studio, client: SignIn, ids: Ids) -> None:
    operator = client("operator")
    evaluation = operator.post(URL, json=closed(ids)).json()
    job = f"/api/jobs/{evaluation['job']['id']}"
    assert operator.post(f"{job}/cancel").status_code == 200
    assert operator.delete(f"{URL}/{evaluation['id']}").status_code == 204
    operator.post(f"{job}/resume")
    attempt = Attempt(studio, evaluation)
    with pytest.raises(InvalidError, match="was deleted"):
        attempt.handler.command(attempt.job)
    assert not studio.settings.folder.evaluation(evaluation["id"]).exists()


def test_a_lost_attempt_publishes_nothing(studio: Studio, client: SignIn, ids: Ids) -> None:
    evaluation = client("operator").post(URL, json=closed(ids, episodes=1, max_steps=8)).json()
    attempt = Attempt(studio, evaluation)
    process = attempt.start()
    assert process.wait(120) == 0
    with studio.db.transaction() as db:
        db.get_one(Job, evaluation["job"]["id"]).attempt += 1
    with pytest.raises(jobs.LostError):
        attempt.handler.finish(attempt.job)
    assert client("viewer").get(f"{URL}/{evaluation['id']}").json()["report"] is None


@pytest.fixture
def config(studio: Studio, ids: Ids) -> Iterator[Callable[..., None]]:
    """config(**fields) changes the policy in the checkpoint's config.json."""
    file = studio.settings.folder.run(ids.run) / "checkpoints" / "step-0000002" / "config.json"

    def change(**fields: Any) -> None:
        value = json.loads(file.read_text())
        value["policy"] |= fields
        file.write_text(json.dumps(value))

    return change


def refused(client: SignIn, body: dict[str, Any], field: str) -> str:
    answer = client("operator").post(URL, json=body)
    assert answer.status_code == 422, answer.text
    assert list(error(answer)["fields"]) == [field]
    assert client("viewer").get(URL).json() == [], "nothing was queued"
    assert client("viewer").get("/api/jobs").json()["total"] in {0, 1}
    return str(error(answer)["message"])


def test_what_cannot_come_to_a_good_end_is_refused_at_once(
    studio: Studio, client: SignIn, ids: Ids, config: Callable[..., None]
) -> None:
    assert "no such checkpoint" in refused(client, closed(ids, checkpoint_id="x"), "checkpoint_id")
    assert "no such dataset version" in refused(client, replay(ids, version_id="x"), "version_id")
    config(action_dim=10, state_dim=7)
    assert "trained with 10 and 7" in refused(client, closed(ids), "checkpoint_id")
    assert "14 actions" in refused(client, replay(ids), "version_id")
    config(action_dim=14, state_dim=14, cameras=[{"name": "wrist"}])
    assert "no camera wrist" in refused(client, closed(ids), "checkpoint_id")
    assert "no camera wrist" in refused(client, replay(ids), "version_id")


def test_gone_files_are_told_at_once(studio: Studio, client: SignIn, ids: Ids) -> None:
    folder = studio.settings.folder
    manifest = folder.manifest(ids.version)
    value = json.loads(manifest.read_text())
    value["episodes"][0]["path"] = "gone.hdf5"
    manifest.write_text(json.dumps(value))
    assert "1 of the version's 3 episode files are gone" in refused(client, replay(ids), "version_id")
    shutil.rmtree(folder.run(ids.run))
    assert "gone or damaged" in refused(client, closed(ids), "checkpoint_id")
    with studio.db.transaction() as db:
        from backend.core.db import utc_now

        db.get_one(Checkpoint, ids.checkpoint).deleted_at = utc_now()
    assert "were deleted" in refused(client, closed(ids), "checkpoint_id")


def test_held_out_needs_something_that_was_held_out(studio: Studio, client: SignIn, ids: Ids) -> None:
    lineage = studio.settings.folder.run(ids.run) / "checkpoints" / "step-0000002" / "manifest.json"
    value = json.loads(lineage.read_text())
    manifest = json.loads(studio.settings.folder.manifest(ids.version).read_text())
    value["earlier_episodes"] = [entry["identity"] for entry in manifest["episodes"]]
    lineage.write_text(json.dumps(value))
    assert "trained on all 3 episodes" in refused(client, replay(ids), "held_out")
    lineage.write_text("{}")
    assert "does not say what it was trained on" in refused(client, replay(ids), "held_out")


@pytest.mark.parametrize(
    ("fields", "field"), [({"episodes": 0}, "episodes"), ({"task": "x"}, "task"), ({"seed": -1}, "seed")]
)
def test_nonsense_names_its_field(client: SignIn, ids: Ids, fields: dict[str, Any], field: str) -> None:
    answer = client("operator").post(URL, json=closed(ids, **fields))
    assert answer.status_code == 422
    assert any(name.endswith(field) for name in error(answer)["fields"])


def test_who_may(client: SignIn, ids: Ids, anonymous: TestClient) -> None:
    assert anonymous.get(URL).status_code == 401
    for role in ("viewer", "annotator"):
        assert client(role).post(URL, json=closed(ids)).status_code == 403
    assert client("viewer").get(f"{URL}/nothing").status_code == 404


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("report.json", 404),
        ("episodes.jsonl", 404),
        ("..%2F..%2Fstudio.db", 404),
        ("%2Fetc%2Fpasswd", 404),
        (".hidden.mp4", 404),
        ("seed_1.mp4%00", 400),
    ],
)
def test_only_listed_files_are_served(studio: Studio, client: SignIn, ids: Ids, name: str, status: int) -> None:
    evaluation = client("operator").post(URL, json=closed(ids)).json()
    folder = studio.settings.folder.evaluation(evaluation["id"])
    folder.mkdir(parents=True)
    for file in ("report.json", "episodes.jsonl", ".hidden.mp4"):
        (folder / file).write_text("{}")
    assert client("viewer").get(f"{URL}/{evaluation['id']}/files/{name}").status_code == status
    assert client("viewer").get(f"{URL}/{evaluation['id']}").json()["files"] == []

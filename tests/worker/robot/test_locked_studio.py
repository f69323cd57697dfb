"""Somebody holds SQLite's write lock for longer than anybody waits for it, on a whole studio with all its processes:
what each answer says is what has happened, and nothing is lost."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from backend.core.roles import Role
from backend.datasets.jobs import RecordPayload
from backend.identity.secrets import hash_password
from backend.tables.audit_entry import AuditEntry
from backend.tables.dataset import Dataset
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.job import JobKind, JobState
from backend.tables.login_session import LoginSession
from backend.tables.user import User
from dexvla.episodes.format import EpisodeData
from dexvla.live.status import RobotState
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RecordSpec
from tests.support.labelling_data import Labels
from tests.support.live_studio import LiveStudio
from tests.support.robot_hosts import LiveHost
from tests.support.team import Team

AT_LEAST_SECONDS = 20.0  # more than the fifteen that a writer waits
PASSWORD = "correct horse battery"
READY = "Studio ready: http://127.0.0.1:"
CAMERAS = (CameraSpec(name=ALOHA_CAMERAS[0], height=48, width=64),)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path / "studio")
    yield team
    team.end()


def count(team: Team, query: Any) -> int:
    with team.studio.db.transaction(write=False) as db:
        return db.scalar(select(func.count()).select_from(query.subquery())) or 0


def test_what_is_answered_while_the_database_is_locked_is_true_and_nothing_is_lost(
    team: Team, make_data: Callable[..., EpisodeData]
) -> None:
    up = team.start_all()
    log = team.settings.folder.logs / "all.log"
    team.until(lambda: READY in log.read_text(errors="replace"), "the studio is ready", seconds=180)
    port = int(log.read_text(errors="replace").partition(READY)[2].partition("/")[0])
    web, host = LiveStudio(team.studio, up, port), LiveHost(team.studio, up)
    labels = Labels(team.studio, make_data)
    with team.studio.db.transaction() as db:
        db.add(User(name="bob", password_hash=hash_password(PASSWORD), role=Role.VIEWER))
        driven, made = Dataset(name="driven"), Dataset(name="made")
        db.add_all([driven, made])
    if host.state().state is RobotState.STOPPED:
        host.post("/arm", {"by": "ada"})

    def ask(method: str, path: str, body: object) -> tuple[int, Any]:
        return web.request(method, path, body, who="operator")

    assert ask("GET", "/api/auth/me", None)[0] == 200
    status, answer = ask("POST", "/api/live/aloha-sim/record", {"dataset_id": driven.id, "instruction": "Lift it."})
    assert status == 200, answer
    payload = RecordPayload(dataset_id=made.id, spec=RecordSpec(episodes=1, seed=3, cameras=CAMERAS))
    job_id = team.enqueue(JobKind.RECORD, payload)
    team.until(lambda: "attempt 1" in team.log(job_id), "the job runs", seconds=180)
    team.until_state(job_id, JobState.RUNNING)
    host.live_until(lambda state: state.recording is not None and state.recording.steps > 25)

    sign_in = {"name": "bob", "password": PASSWORD}
    draft = {"segments": [{"start": 0, "end": 24, "text": "Mine"}], "edit": 0}
    with closing(sqlite3.connect(team.settings.folder.database, isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        held_since = time.monotonic()
        saved = ask("POST", "/api/live/aloha-sim/save", {"success": True})
        stopped = ask("POST", "/api/robots/aloha-sim/stop", {})
        state = host.state().state
        with ThreadPoolExecutor(2) as pool:
            label = pool.submit(ask, "PUT", f"{labels.episode()}/draft", draft)
            session = pool.submit(web.request, "POST", "/api/auth/login", sign_in)
            answers = {"label": label.result(), "sign-in": session.result()}
        team.until(lambda: "1 of 1 episodes kept" in team.log(job_id), "the job's command is done", seconds=300)
        team.until(lambda: time.monotonic() - held_since > AT_LEAST_SECONDS, "long enough", seconds=60)
        unfinished = team.job(job_id).state
        locker.execute("ROLLBACK")

    # what waits for the database and cannot have it, changed nothing and says so
    for name, (status, answer) in answers.items():
        assert status == 503, (name, answer)
        assert "Nothing was changed" in answer["error"]["message"], name
    assert count(team, select(Draft).where(Draft.edit > 0)) == 0
    who = select(LoginSession).join(User).where(User.name == "bob")
    assert count(team, who) == 0

    # the robot does not wait for it: it did what it answers, and says what is not written down yet
    assert (saved[0], stopped[0], state) == (200, 200, RobotState.STOPPED), (saved, stopped)
    for _, answer in (saved, stopped):
        assert answer["not_recorded"], answer
        assert "Nothing was changed" not in str(answer)
    assert unfinished is JobState.RUNNING, "nobody could write that it is done"

    # and afterwards all of it is there
    written = select(AuditEntry).where(AuditEntry.action.in_(["live.save", "robot.stop"]))
    team.until(lambda: count(team, written) == 2, "the save and the stop are written down")
    of_hand = select(EpisodeRow).where(EpisodeRow.dataset_id == driven.id)
    team.until(lambda: count(team, of_hand) == 1, "what was recorded is an episode", seconds=180)
    (job,) = team.until_over(job_id)
    assert job.state is JobState.DONE, team.log(job_id)
    assert count(team, select(EpisodeRow).where(EpisodeRow.dataset_id == made.id)) == 1
    assert web.request("POST", "/api/auth/login", sign_in)[0] == 200
    status, answer = ask("PUT", f"{labels.episode()}/draft", draft)
    assert (status, answer["edit"]) == (200, 1)
    up.terminate()
    assert up.wait(60) == 0

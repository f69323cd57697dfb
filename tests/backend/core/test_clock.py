"""The machine's clock is set an hour forward or back while the studio works, or is an hour off that of the database's
machine: what lasts for a time lasts as long."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.base_models.jobs import InitModelPayload
from backend.core import db as database
from backend.core.roles import Role
from backend.jobs import repository, service
from backend.jobs.reconciler import Leases, reconcile
from backend.jobs.workers import JobQueue, beat, live_workers, waiting_calls
from backend.labels.proposals.service import _store as store_proposal
from backend.robots import presence
from backend.robots import service as robots
from backend.studio.context import Studio
from backend.tables.job import Job, JobKind, JobState
from backend.tables.proposal import Proposal, ProposalSource, ProposalState
from dexvla.live.status import HostStatus, RobotState
from tests.support.labelling_data import Labels, MakeData, ok, refusal, save
from tests.support.people import PASSWORD, SignIn
from worker.admin.users import reset_link

pytestmark = pytest.mark.slow

HOUR = 3600.0
LEASE = 30.0


class Clock:
    """The wall clock of the process and of its SQLite, and a monotonic clock, both of which stand still but for what
    the test does to them. `set` changes the wall clock alone, as somebody who sets it does. off: how far the process's
    own wall clock is from the database's, as on a machine of its own."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.off = time.time(), 1000.0, 0.0

    def set(self, seconds: float) -> None:
        self.wall += seconds

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of everything that a test begins: first of all fixtures."""
    clock, connected = Clock(), database._sqlite_connect

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(clock.wall + clock.off, tz)

    def connect(connection: Any, record: Any) -> None:
        connected(connection, record)
        connection.create_function("julianday", 1, lambda _: clock.wall / 86400 + 2440587.5)

    monkeypatch.setattr(database, "datetime", Moved)
    monkeypatch.setattr(database, "_sqlite_connect", connect)
    return clock


@pytest.fixture(params=[HOUR, -HOUR], ids=["forward", "back"])
def jump(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture
def set_clock(clock: Clock, jump: float) -> Callable[[], None]:
    return lambda: clock.set(jump)


@pytest.fixture
def elsewhere(clock: Clock, jump: float) -> Callable[[], AbstractContextManager[None]]:
    """What is done within it is done by a machine whose clock is an hour off the database's."""

    @contextmanager
    def there() -> Iterator[None]:
        clock.off = jump
        yield
        clock.off = 0.0

    return there


# --- jobs ---------------------------------------------------------------------------------------------------------


def running(studio: Studio) -> str:
    with studio.db.transaction() as db:
        job = Job(kind=JobKind.INIT_MODEL, title="a job", payload={})
        db.add(job)
        db.flush()
        assert repository.claim(db, job.id, owner="here", lease_seconds=LEASE)
    return job.id


def state(studio: Studio, job_id: str) -> JobState:
    with studio.db.transaction(write=False) as db:
        job = db.get(Job, job_id)
        assert job is not None
        return job.state


def test_a_worker_that_renews_keeps_its_job(studio: Studio, clock: Clock, set_clock: Callable[[], None]) -> None:
    job_id, leases = running(studio), Leases(LEASE, clock=lambda: clock.monotonic)
    reconcile(studio, leases)
    set_clock()
    for second in range(int(3 * LEASE)):
        reconcile(studio, leases)
        assert state(studio, job_id) is JobState.RUNNING, f"{second} s after the clock was set"
        clock.wait(1)
        if second % (LEASE // 3) == 8:  # the first time eight seconds after the clock was set
            with studio.db.transaction() as db:
                repository.renew(db, job_id, 1, lease_seconds=LEASE)


def test_a_job_whose_worker_is_dead_is_taken_back_within_a_lease_and_a_half(
    studio: Studio, clock: Clock, set_clock: Callable[[], None]
) -> None:
    job_id, leases = running(studio), Leases(LEASE, clock=lambda: clock.monotonic)
    set_clock()
    for _ in range(int(1.5 * LEASE)):
        reconcile(studio, leases)
        clock.wait(1)
    assert state(studio, job_id) is JobState.QUEUED


def test_a_lease_that_ends_in_order_is_over_at_once_for_who_has_watched_it(studio: Studio, clock: Clock) -> None:
    job_id, leases = running(studio), Leases(LEASE, clock=lambda: clock.monotonic)
    for _ in range(int(LEASE)):
        reconcile(studio, leases)
        clock.wait(1)
    assert (state(studio, job_id), leases.in_doubt) == (JobState.RUNNING, False)
    clock.wait(1)
    reconcile(studio, leases)
    assert leases.in_doubt, "looked at more often from now on"
    clock.wait(LEASE / 2)
    reconcile(studio, leases)
    assert state(studio, job_id) is JobState.QUEUED


def test_a_queued_job_is_called_for_again(studio: Studio, clock: Clock, set_clock: Callable[[], None]) -> None:
    with studio.db.transaction() as db:
        payload = InitModelPayload(model_id="m", name="tiny")
        service.enqueue(db, studio, None, kind=JobKind.INIT_MODEL, title="a job", payload=payload)
    studio.broker.flushdb()
    set_clock()
    reconcile(studio, Leases(LEASE))
    assert waiting_calls(studio, JobQueue.LIGHT) == 1


def test_the_time_that_is_left_is_not_an_hour_off(studio: Studio, clock: Clock) -> None:
    job_id = running(studio)
    with studio.db.transaction() as db:
        repository.progress(db, job_id, 1, done=10, total=20, note="", pace=2.0)
    clock.set(-HOUR)
    with studio.db.transaction(write=False) as db:
        assert service.job(db, job_id).seconds_left == 20.0


# --- who is there ---------------------------------------------------------------------------------------------------


def test_robots_that_are_heard_are_there_and_others_are_not(
    client: SignIn, studio: Studio, clock: Clock, set_clock: Callable[[], None]
) -> None:
    viewer = client(Role.VIEWER)

    def announce(name: str) -> None:
        with studio.db.transaction() as db:
            status = HostStatus(state=RobotState.HOLDING, epoch=1)
            robots.announce(db, studio, name=name, kind="x", address="127.0.0.1:1", status=status)

    def present() -> dict[str, bool]:
        return {robot["name"]: robot["present"] for robot in viewer.get("/api/robots").json()}

    for name in ("lives", "died"):
        announce(name)
    assert present() == {"lives": True, "died": True}
    set_clock()
    announce("lives")
    assert present() == {"lives": True, "died": False}
    assert viewer.get("/api/health").json()["robots"] == 1
    studio.directory.hurry()
    clock.wait(4)
    assert present()["lives"]
    clock.wait(3)
    assert not present()["lives"]


def test_a_sign_of_life_that_lasts_longer_than_one_can_says_nothing(studio: Studio) -> None:
    """What the broker makes of its clock being set back."""
    beat(studio, "w", JobQueue.LIGHT)
    beat(studio, "w", JobQueue.TRAIN)
    presence.sign(studio, "arm", HostStatus(state=RobotState.HOLDING, epoch=1))
    (worker,) = live_workers(studio)
    assert worker.queues == set(JobQueue), "one worker, whatever it serves"
    assert presence.count(studio) == 1
    for key in studio.broker.scan_iter("studio:*"):
        studio.broker.expire(key, int(HOUR))
    assert live_workers(studio) == []
    assert (presence.count(studio), presence.signed(studio, "arm")) == (0, None)
    beat(studio, "w", JobQueue.LIGHT)
    assert [worker.queues for worker in live_workers(studio)] == [{JobQueue.LIGHT}]


# --- people ---------------------------------------------------------------------------------------------------------


def test_who_is_signed_in_stays_so_and_links_count_once(
    client: SignIn, anonymous: TestClient, studio: Studio, set_clock: Callable[[], None]
) -> None:
    admin, viewer = client(Role.ADMIN), client(Role.VIEWER)
    who = viewer.get("/api/auth/me").json()["user"]["id"]
    made = admin.post(f"/api/users/{who}/reset")
    assert made.status_code in {200, 201}, made.text
    token = made.json()["url"].partition("token=")[2]
    set_clock()
    assert viewer.get("/api/auth/me").json()["user"]["id"] == who
    body = {"token": token, "password": "another horse battery"}
    assert anonymous.post("/api/links", json=body).status_code == 201
    set_clock()
    assert anonymous.post("/api/links", json=body).status_code == 404, "it was used"
    assert viewer.get("/api/auth/tokens").status_code == 401, "the new password ended it"


def test_guessing_is_braked_for_as_long_as_before(
    client: SignIn, anonymous: TestClient, set_clock: Callable[[], None]
) -> None:
    client(Role.VIEWER)
    body = {"name": "viewer", "password": "guessed guessed"}
    while (answer := anonymous.post("/api/auth/login", json=body)).status_code == 403:
        pass
    assert answer.status_code == 429, answer.text
    before = int(answer.headers["Retry-After"])
    set_clock()
    answer = anonymous.post("/api/auth/login", json={**body, "password": PASSWORD})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= before


def test_who_labels_goes_on_and_who_left_is_in_nobodys_way(
    client: SignIn, studio: Studio, make_data: MakeData, clock: Clock, jump: float
) -> None:
    labels = Labels(studio, make_data, 2)
    ada, bob = client("annotator"), client("operator")
    ours = {
        episode: ok(ada.post(f"{episode}/draft/claim", json={}))["lease"]["token"]
        for episode in (labels.episode(0), labels.episode(1))
    }
    stays, left = ours
    clock.set(jump)
    assert ok(ada.post(f"{stays}/draft/heartbeat", json={"token": ours[stays]}))["seconds_left"] == 90
    assert refusal(save(bob, stays, (0, 24, "Mine")), 409)["code"] == "leased"
    assert ok(save(ada, stays, (0, 24, "Reach"), edit=0, lease=ours[stays]))["edit"] == 1
    assert ok(save(bob, left, (0, 24, "Mine")))["edit"] == 1


def test_a_proposal_whose_studio_stopped_does_not_run_for_an_hour(
    client: SignIn, studio: Studio, make_data: MakeData, clock: Clock
) -> None:
    labels, operator = Labels(studio, make_data), client("operator")
    with studio.db.transaction() as db:
        now = database.utc_now()
        db.add(
            Proposal(
                episode_id=labels.ids[0],
                source=ProposalSource.VISION,
                state=ProposalState.RUNNING,
                settings={},
                created_at=now,
                until=now + timedelta(seconds=60),
            )
        )
    url = f"{labels.episode()}/proposals"
    assert [one["state"] for one in ok(operator.get(url))] == ["running"]
    clock.set(-HOUR)
    assert [one["state"] for one in ok(operator.get(url))] == ["failed"]


def test_an_api_tokens_last_use_is_noted_after_the_clock_was_set_back(
    client: SignIn, anonymous: TestClient, studio: Studio, clock: Clock
) -> None:
    viewer = client(Role.VIEWER)
    token = viewer.post("/api/auth/tokens", json={"name": "script"}).json()["token"]

    def used() -> datetime | None:
        anonymous.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert studio.ledger.write(lambda db: None).result(10) is None, "what came before is written"
        at = viewer.get("/api/auth/tokens").json()[0]["last_used_at"]
        return None if at is None else datetime.fromisoformat(at)

    first = used()
    assert first is not None
    clock.set(-HOUR)
    assert used() == first - timedelta(hours=1)


# --- a machine whose clock is off that of the database ----------------------------------------------------------------

Elsewhere = Callable[[], AbstractContextManager[None]]


def test_the_lease_of_a_job_is_the_databases(studio: Studio, clock: Clock, elsewhere: Elsewhere) -> None:
    with elsewhere():
        job_id = running(studio)
    leases = Leases(LEASE, clock=lambda: clock.monotonic)
    for _ in range(int(LEASE)):
        reconcile(studio, leases)
        with studio.db.transaction() as db:
            assert repository.claim(db, job_id, owner="another", lease_seconds=LEASE) is None, "its lease lasts"
        clock.wait(1)
    clock.wait(1)
    with elsewhere(), studio.db.transaction() as db:
        assert repository.claim(db, job_id, owner="another", lease_seconds=LEASE) is not None


def test_a_job_that_waits_is_called_for_by_any_machine(studio: Studio, elsewhere: Elsewhere) -> None:
    with studio.db.transaction() as db:
        payload = InitModelPayload(model_id="m", name="tiny")
        service.enqueue(db, studio, None, kind=JobKind.INIT_MODEL, title="a job", payload=payload)
    studio.broker.flushdb()
    with elsewhere():
        reconcile(studio, Leases(LEASE))
    assert waiting_calls(studio, JobQueue.LIGHT) == 1


def test_the_time_that_is_left_is_told_by_the_databases_clock(
    studio: Studio, clock: Clock, elsewhere: Elsewhere
) -> None:
    with elsewhere():
        job_id = running(studio)
        with studio.db.transaction() as db:
            repository.progress(db, job_id, 1, done=10, total=20, note="", pace=2.0)
    clock.wait(5)
    with studio.db.transaction(write=False) as db:
        out = service.job(db, job_id)
    assert out.seconds_left == pytest.approx(15, abs=0.1)
    assert out.started_at is not None
    assert out.started_at.timestamp() == pytest.approx(clock.wall - 5, abs=0.1)


def test_a_robot_on_a_machine_with_another_clock_is_there_for_six_seconds(
    client: SignIn, studio: Studio, clock: Clock, elsewhere: Elsewhere
) -> None:
    viewer = client(Role.VIEWER)
    with elsewhere(), studio.db.transaction() as db:
        status = HostStatus(state=RobotState.HOLDING, epoch=1)
        robots.announce(db, studio, name="arm", kind="x", address="127.0.0.1:1", status=status)

    def present() -> bool:
        (robot,) = viewer.get("/api/robots").json()
        return bool(robot["present"])

    assert present()
    with elsewhere():
        assert present(), "whoever looks"
    clock.wait(7)
    assert not present()
    with elsewhere():
        assert not present()


def test_who_labels_keeps_the_episode_for_as_long_as_the_databases_clock_says(
    client: SignIn, studio: Studio, make_data: MakeData, clock: Clock, elsewhere: Elsewhere
) -> None:
    episode = Labels(studio, make_data).episode()
    ada, bob = client("annotator"), client("operator")
    with elsewhere():
        ok(ada.post(f"{episode}/draft/claim", json={}))
    clock.wait(80)
    assert refusal(save(bob, episode, (0, 24, "Mine")), 409)["code"] == "leased"
    clock.wait(20)
    with elsewhere():
        assert ok(save(bob, episode, (0, 24, "Mine")))["edit"] == 1


def test_a_proposal_and_the_history_of_a_draft_go_by_the_databases_clock(
    client: SignIn, studio: Studio, make_data: MakeData, clock: Clock, elsewhere: Elsewhere
) -> None:
    labels, ada, operator = Labels(studio, make_data), client("annotator"), client("operator")
    episode = labels.episode()
    with elsewhere():
        running = Proposal(
            episode_id=labels.ids[0], source=ProposalSource.VISION, state=ProposalState.RUNNING, settings={}
        )
        store_proposal(studio, running, patience=60)
        assert [one["state"] for one in ok(operator.get(f"{episode}/proposals"))] == ["running"]
        assert ok(save(ada, episode, (0, 24, "Reach")))["edit"] == 1
    assert [one["state"] for one in ok(operator.get(f"{episode}/proposals"))] == ["running"], "by any machine"
    assert ok(save(ada, episode, (0, 24, "Lift"), edit=1))["edit"] == 2
    saved = datetime.fromisoformat(ok(ada.get(f"{episode}/draft"))["updated_at"])
    assert saved.timestamp() == pytest.approx(clock.wall, abs=1)
    clock.wait(61)
    with elsewhere():
        assert [one["state"] for one in ok(operator.get(f"{episode}/proposals"))] == ["failed"]


def test_a_link_from_the_command_line_of_another_machine_lasts_an_hour(
    client: SignIn, anonymous: TestClient, studio: Studio, clock: Clock, elsewhere: Elsewhere
) -> None:
    client(Role.VIEWER)

    def use(url: str) -> int:
        body = {"token": url.partition("token=")[2], "password": "another horse battery"}
        return anonymous.post("/api/links", json=body).status_code

    with elsewhere():
        early = reset_link(studio.settings, "viewer")
    clock.wait(HOUR - 60)
    assert use(early) == 201
    with elsewhere():
        late = reset_link(studio.settings, "viewer")
    clock.wait(HOUR + 60)
    assert use(late) == 404

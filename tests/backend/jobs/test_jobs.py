"""Jobs: one owner at a time on both databases; queue, cancel, resume and log over the API."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text, update

from backend.base_models.jobs import InitModelPayload
from backend.core.db import Database, db_seconds
from backend.core.roles import Role
from backend.jobs import repository, service
from backend.jobs.reconciler import Leases, reconcile
from backend.jobs.schemas import JobsIn
from backend.jobs.workers import JobQueue, beat, leave, waiting_calls
from backend.studio.context import Studio
from backend.tables.job import Job, JobKind, JobState
from backend.training.jobs import TrainPayload

pytestmark = pytest.mark.slow

SignIn = Callable[[Role | str], TestClient]
_KINDS = (JobKind.TRAIN, JobKind.INIT_MODEL, JobKind.TRAIN, JobKind.EXPORT)
AT_ONCE = Leases(0)  # a lease that looks over is over


def add(database: Database, **values: Any) -> str:
    given = {"kind": JobKind.INIT_MODEL, "title": "a job", "payload": {}, **values}
    with database.transaction() as db:
        job = Job(**given)
        db.add(job)
    return job.id


def read(database: Database, job_id: str) -> Job:
    with database.transaction(write=False) as db:
        job = db.get(Job, job_id)
        assert job is not None
        return job


def claim(database: Database, job_id: str, owner: str = "here") -> Job | None:
    with database.transaction() as db:
        return repository.claim(db, job_id, owner=owner, lease_seconds=30)


def let_lease_run_out(database: Database, job_id: str) -> None:
    with database.transaction() as db:
        db.execute(update(Job).where(Job.id == job_id).values(lease_until=db_seconds() - 1))


def test_of_many_claims_at_once_one_wins(database: Database) -> None:
    job_id = add(database)
    won: list[Job] = []
    start = threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        job = claim(database, job_id, f"worker-{number}")
        if job is not None:
            won.append(job)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    stored = read(database, job_id)
    assert (stored.state, stored.attempt, stored.owner) == (JobState.RUNNING, 1, won[0].owner)


def test_a_lease_that_is_over_can_be_claimed_and_fences_the_old_owner(database: Database) -> None:
    job_id = add(database)
    first = claim(database, job_id, "slow")
    assert first is not None
    assert claim(database, job_id, "fast") is None, "the lease still lasts"
    let_lease_run_out(database, job_id)
    second = claim(database, job_id, "fast")
    assert second is not None
    assert second.attempt == 2
    for write in (
        lambda db: repository.renew(db, job_id, first.attempt, lease_seconds=30),
        lambda db: repository.state(db, job_id, first.attempt),
        lambda db: repository.assert_owned(db, job_id, first.attempt),
        lambda db: repository.progress(db, job_id, first.attempt, done=9, total=9, note="", pace=None),
        lambda db: repository.close(db, job_id, first.attempt, state=JobState.DONE),
    ):
        with pytest.raises(repository.LostError), database.transaction() as db:
            write(db)
    stored = read(database, job_id)
    assert (stored.state, stored.owner, stored.done) == (JobState.RUNNING, "fast", 0)


def test_progress_makes_an_attempt_fruitful_only_where_none_was_before(database: Database) -> None:
    job_id = add(database)

    def advance(attempt: int, done: int) -> int:
        with database.transaction() as db:
            repository.progress(db, job_id, attempt, done=done, total=10, note="", pace=1.0)
        return read(database, job_id).attempts_without_progress

    claim(database, job_id)
    assert read(database, job_id).attempts_without_progress == 1
    assert advance(1, 4) == 0
    let_lease_run_out(database, job_id)
    claim(database, job_id)
    assert advance(2, 2) == 1, "the first attempt came further"
    assert advance(2, 4) == 1
    assert advance(2, 5) == 0
    stored = read(database, job_id)
    assert (stored.done, stored.best) == (5, 5)


def test_a_running_job_without_a_lease_cannot_be_stored(database: Database) -> None:
    job_id = add(database)
    with pytest.raises(Exception, match="running_jobs_have_a_lease"), database.transaction() as db:
        db.execute(text("UPDATE jobs SET state = 'running' WHERE id = :id"), {"id": job_id})


def test_jobs_are_taken_in_the_order_in_which_they_were_queued(database: Database) -> None:
    first, train, second = add(database), add(database, kind=JobKind.TRAIN), add(database)
    with database.transaction(write=False) as db:
        assert repository.next_waiting(db, JobQueue.LIGHT.kinds) == first
        assert repository.next_waiting(db, JobQueue.LIGHT.kinds, skip=[first]) == second
        assert repository.next_waiting(db, JobQueue.TRAIN.kinds) == train
        assert {out.id: out.queue_position for out in service.jobs_out(db, [first, second, train]).values()} == {
            first: 1,
            second: 2,
            train: 1,
        }


def enqueue(studio: Studio, kind: JobKind = JobKind.INIT_MODEL) -> str:
    payload = TrainPayload(run_id="r") if kind is JobKind.TRAIN else InitModelPayload(model_id="m", name="tiny")
    with studio.db.transaction() as db:
        return service.enqueue(db, studio, None, kind=kind, title="a job", payload=payload).id


def test_a_worker_is_woken_up_once_the_job_is_there_and_only_then(studio: Studio) -> None:
    with studio.db.transaction() as db:
        payload = InitModelPayload(model_id="m", name="tiny")
        service.enqueue(db, studio, None, kind=JobKind.INIT_MODEL, title="undone", payload=payload)
        db.rollback()
    assert waiting_calls(studio, JobQueue.LIGHT) == 0
    enqueue(studio)
    assert waiting_calls(studio, JobQueue.LIGHT) == 1
    enqueue(studio, JobKind.TRAIN)
    assert waiting_calls(studio, JobQueue.TRAIN) == 1


def test_a_payload_of_another_kind_is_refused(studio: Studio) -> None:
    with pytest.raises(ValueError, match="run_id"), studio.db.transaction() as db:
        service.enqueue(db, studio, None, kind=JobKind.TRAIN, title="x", payload={"model_id": "m"})


def cause(studio: Studio, job_id: str) -> str:
    """As people are told it."""
    with studio.db.transaction(write=False) as db:
        return service.job(db, job_id).cause or ""


def test_a_job_that_nobody_will_start_says_so(studio: Studio) -> None:
    job_id = enqueue(studio)
    assert "no worker is running" in cause(studio, job_id)
    beat(studio, "w", JobQueue.TRAIN)
    reconcile(studio, AT_ONCE)
    assert "no worker is running" in cause(studio, job_id), "that one does trainings only"
    beat(studio, "w", JobQueue.LIGHT)
    reconcile(studio, AT_ONCE)
    assert cause(studio, job_id) == ""
    leave(studio, "w", JobQueue.LIGHT)
    reconcile(studio, AT_ONCE)
    assert "no worker is running" in cause(studio, job_id)


def test_an_interrupted_job_without_a_worker_says_both(studio: Studio) -> None:
    job_id = add(studio.db)
    claim(studio.db, job_id)
    let_lease_run_out(studio.db, job_id)
    reconcile(studio, AT_ONCE)
    reconcile(studio, AT_ONCE)
    assert "vanished" in cause(studio, job_id)
    assert cause(studio, job_id).endswith("; no worker is running; the job starts when one is (`studio worker`)")
    beat(studio, "w", JobQueue.LIGHT)
    reconcile(studio, AT_ONCE)
    assert cause(studio, job_id) == "interrupted: the worker that ran it vanished; it goes on by itself"
    claim(studio.db, job_id)
    assert cause(studio, job_id) == "", "it runs"


def test_the_reconciler_calls_again_but_does_not_pile_calls_up(studio: Studio) -> None:
    for _ in range(3):
        enqueue(studio)
    studio.broker.flushdb()
    for _ in range(4):
        reconcile(studio, AT_ONCE)
    assert waiting_calls(studio, JobQueue.LIGHT) == 3


def test_the_reconciler_takes_jobs_back_from_vanished_workers(studio: Studio) -> None:
    running, stopping, poison = (add(studio.db) for _ in range(3))
    for job_id in (running, stopping, poison):
        claim(studio.db, job_id)
    with studio.db.transaction() as db:
        db.execute(update(Job).where(Job.id == stopping).values(state=JobState.CANCELLING))
        db.execute(update(Job).where(Job.id == poison).values(attempts_without_progress=3))
    reconcile(studio, AT_ONCE)
    assert read(studio.db, running).state is JobState.RUNNING, "its lease lasts"
    for job_id in (running, stopping, poison):
        let_lease_run_out(studio.db, job_id)
    reconcile(studio, AT_ONCE)
    states = {job_id: read(studio.db, job_id) for job_id in (running, stopping, poison)}
    assert states[running].state is JobState.QUEUED
    assert "vanished" in (states[running].cause or "")
    assert states[stopping].state is JobState.CANCELLED
    assert states[poison].state is JobState.FAILED
    assert states[poison].finished_at is not None
    assert all(job.lease_until is None and job.owner is None for job in states.values())


def test_cancel_and_resume_over_the_api(studio: Studio, client: SignIn) -> None:
    operator = client("operator")
    job_id = enqueue(studio)
    assert client("viewer").post(f"/api/jobs/{job_id}/cancel").status_code == 403
    answer = operator.post(f"/api/jobs/{job_id}/cancel")
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "cancelled"
    assert answer.json()["cause"] == "cancelled by operator"
    assert operator.post(f"/api/jobs/{job_id}/cancel").status_code == 409
    answer = operator.post(f"/api/jobs/{job_id}/resume")
    assert (answer.json()["state"], answer.json()["queue_position"]) == ("queued", 1)
    assert operator.post(f"/api/jobs/{job_id}/resume").status_code == 409
    claim(studio.db, job_id)
    answer = operator.post(f"/api/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelling")
    assert operator.post(f"/api/jobs/{job_id}/cancel").status_code == 200, "asking twice is fine"
    with studio.db.transaction() as db:
        assert repository.state(db, job_id, 1) is JobState.CANCELLING
    verbs = [entry["action"] for entry in client("admin").get(f"/api/audit?subject={job_id}").json()["items"]]
    assert sorted(verbs) == ["job.cancel", "job.cancel", "job.enqueue", "job.resume"]


def test_resuming_forgets_attempts_without_progress(studio: Studio, client: SignIn) -> None:
    job_id = add(studio.db, state=JobState.FAILED, attempts_without_progress=3, cause="it broke")
    assert claim(studio.db, job_id) is None
    client("operator").post(f"/api/jobs/{job_id}/resume")
    assert claim(studio.db, job_id) is not None


def test_the_list_filters_and_counts(studio: Studio, client: SignIn) -> None:
    train = enqueue(studio, JobKind.TRAIN)
    other = enqueue(studio)
    over = add(studio.db, state=JobState.DONE, subject_id="s" * 32)
    viewer = client("viewer")

    def ids(query: str) -> list[str]:
        page = viewer.get(f"/api/jobs?{query}").json()
        return [item["id"] for item in page["items"]]

    assert ids("") == [over, other, train], "newest first"
    assert ids("kind=train") == [train]
    assert ids("active=true") == [other, train]
    assert ids(f"subject_id={'s' * 32}") == [over]
    assert viewer.get("/api/jobs?limit=1").json()["total"] == 3
    assert viewer.get("/api/jobs/unknown").status_code == 404


def test_pages_of_jobs_hold_each_once_while_others_come_and_go(studio: Studio, client: SignIn) -> None:
    titles = ["b two", "A one", "c Three", "a four"]
    ids = [add(studio.db, title=title, kind=kind) for title, kind in zip(titles, _KINDS, strict=True)]
    viewer = client("viewer")

    def pages(query: str, *, between: Callable[[], object] = lambda: None) -> list[str]:
        found, cursor, totals = list[str](), "", list[int | None]()
        while True:
            got = viewer.get(f"/api/jobs/page?limit=2&{query}{cursor}")
            assert got.status_code == 200, got.text
            found += [item["id"] for item in got.json()["items"]]
            totals.append(got.json()["total"])
            if got.json()["next"] is None:
                assert totals[1:] == [None] * (len(totals) - 1)
                return found
            cursor = f"&cursor={got.json()['next']}"
            between()

    assert pages("") == ids[::-1], "newest first"
    assert pages("descending=false") == ids
    assert pages("sort=title&descending=false") == [ids[3], ids[1], ids[0], ids[2]]
    assert pages("sort=title") == [ids[2], ids[0], ids[1], ids[3]]
    assert pages("sort=kind&descending=false") == [ids[3], ids[1], ids[0], ids[2]]
    assert pages("search=ONE%20a") == [ids[1]]
    assert pages("search=100%25") == []
    assert pages("kind=train") == [ids[2], ids[0]]
    came: list[str] = []
    assert pages("", between=lambda: came.append(add(studio.db))) == ids[::-1]
    with studio.db.transaction() as db:
        db.get_one(Job, ids[0]).state = JobState.DONE
    assert pages("active=true") == [*came[::-1], *ids[:0:-1]]
    assert pages("state=done") == [ids[0]]


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=501", "limit"), ("cursor=x", "cursor"), ("sort=pace", "sort"), ("kind=no", "kind"),
     ("state=lost", "state"), ("offset=50", "offset")],
)  # fmt: skip
def test_what_jobs_cannot_be_asked_by_is_told(studio: Studio, client: SignIn, query: str, field: str) -> None:
    answer = client("viewer").get(f"/api/jobs/page?{query}")
    assert answer.status_code == 422
    assert list(answer.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize("descending", [True, False])
def test_pages_of_jobs_begin_where_an_index_says(studio: Studio, descending: bool) -> None:
    if not studio.db.sqlite:
        pytest.skip("SQLite tells its plan without tables that are full")
    asked: list[tuple[str, Any]] = []

    @event.listens_for(studio.db.engine, "before_cursor_execute")
    def hear(connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if "ORDER BY" in statement:
            asked.append((statement, parameters))

    with studio.db.transaction(write=False) as db:
        repository.page(db, JobsIn(descending=descending))
        ((statement, parameters),) = asked
        plan = [row[3] for row in db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any("ix_jobs_created_at_id" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_time_left_follows_the_pace(studio: Studio) -> None:
    job_id = add(studio.db)
    claim(studio.db, job_id)
    with studio.db.transaction() as db:
        assert service.job(db, job_id).seconds_left is None
        repository.progress(db, job_id, 1, done=4, total=10, note="", pace=5.0)
        db.expire_all()
        left = service.job(db, job_id).seconds_left
    assert left is not None
    assert 28 < left <= 30


def test_the_log_is_read_in_parts_between_characters(studio: Studio, client: SignIn) -> None:
    job_id = add(studio.db)
    viewer = client("viewer")
    empty = viewer.get(f"/api/jobs/{job_id}/log").json()
    assert empty == {"text": "", "offset": 0, "next_offset": 0, "size": 0}
    content = "step 1 ... fünf\nstep 2 ... 漢字 🤖\n" * 40
    log = studio.settings.folder.job(job_id) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text(content, encoding="utf-8")
    offset, parts = 0, []
    while offset < len(content.encode()):
        chunk = viewer.get(f"/api/jobs/{job_id}/log?offset={offset}&limit=7").json()
        assert chunk["next_offset"] > offset
        parts.append(chunk["text"])
        offset = chunk["next_offset"]
    assert "".join(parts) == content
    tail = viewer.get(f"/api/jobs/{job_id}/log?offset=-5").json()
    assert content.endswith(tail["text"])
    assert "\ufffd" not in tail["text"]
    assert tail["next_offset"] == tail["size"]
    past = viewer.get(f"/api/jobs/{job_id}/log?offset=999999").json()
    assert (past["text"], past["offset"]) == ("", past["size"])


def test_a_dead_broker_keeps_nobody_from_queueing(studio: Studio) -> None:
    """The row is there; the reconciler calls when the broker is back."""
    gone = studio.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    away = Studio.open(gone)
    job_id = enqueue(away)
    assert "broker cannot be reached" in cause(studio, job_id)
    reconcile(away, AT_ONCE)
    away.close()

"""Curves of long runs, on both databases: buckets say what the points say, however they came and were cut back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, select

from backend.core.db import Database
from backend.migrations.migrate import downgrade, migrate
from backend.tables.curve_block import CurveBlock
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from backend.training.curves import curves
from backend.training.schemas import MetricsOut
from backend.training.tail import MetricsTail

pytestmark = pytest.mark.slow

POINTS = 5000  # with 16 x 16 a row of level 1 and 16 of those one of level 2
BEFORE_BUCKETS = "63a32f10a961"


@pytest.fixture
def run_id(database: Database) -> str:
    with database.transaction() as db:
        job = Job(kind=JobKind.TRAIN, title="pick", payload={}, state=JobState.DONE)
        db.add(job)
        db.flush()
        run = Run(name="pick", stage=2, spec={}, sources=[], job_id=job.id)
        db.add(run)
        db.flush()
        return run.id


def lines(first: int, last: int) -> str:
    points = []
    for step in range(first, last + 1):
        points.append({"step": step, "loss": 1 / step, "grad_norm": -5.0 if step == 3210 else 1.0})
        if step % 500 == 0:
            points.append({"step": step, "val_loss": 0.5})
    return "".join(json.dumps(point) + "\n" for point in points)


def follow(database: Database, tail: MetricsTail, attempt: int = 1) -> None:
    with database.transaction() as db:
        tail.store(db, attempt)


def read(database: Database, run_id: str, *, after: int = 0, until: int = 2**31 - 1, limit: int = 100) -> MetricsOut:
    with database.transaction(write=False) as db:
        return curves(db, run_id, after=after, until=until, limit=limit)


def rows(database: Database) -> list[tuple[object, ...]]:
    columns = (CurveBlock.level, CurveBlock.number, CurveBlock.first_step, CurveBlock.last_step, CurveBlock.data)
    with database.transaction(write=False) as db:
        return [tuple(row) for row in db.execute(select(*columns).order_by(CurveBlock.level, CurveBlock.number))]


@pytest.fixture
def logged(database: Database, run_id: str, tmp_path: Path) -> Path:
    """A run of POINTS steps, logged in pieces of odd sizes, as a handler finds them."""
    file = tmp_path / "metrics.jsonl"
    tail = MetricsTail(file, run_id)
    whole, start = lines(1, POINTS), 0
    for end in (10, 4_000, 4_001, 99_999, len(whole)):
        with file.open("a") as opened:
            opened.write(whole[start:end])
        follow(database, tail)
        start = end
    return file


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    said: list[str] = []

    def hear(connection: Connection, cursor: object, statement: str, *rest: object) -> None:
        said.append(statement)

    event.listen(database.engine, "before_cursor_execute", hear)
    yield said
    event.remove(database.engine, "before_cursor_execute", hear)


def test_a_long_run_is_shown_by_what_lies_in_each_bucket(database: Database, run_id: str, logged: Path) -> None:
    out = read(database, run_id)
    assert len(out.steps) == len(out.attempts) <= 100
    assert out.steps == sorted(set(out.steps))
    assert (out.total, out.steps[0], out.steps[-1]) == (POINTS, 1, POINTS)
    for name, values in out.values.items():
        assert len(values) == len(out.low[name]) == len(out.high[name]) == len(out.steps)
    lowest = out.low["grad_norm"].index(-5.0)
    assert out.steps[lowest - 1] < 3210 <= out.steps[lowest]
    starts = [0, *out.steps[1:-1]]
    for number, (start, end) in enumerate(zip(starts, out.steps[1:], strict=True), start=1):
        if start:
            inside = [1 / step for step in range(start + 1, end + 1)]
            assert out.low["loss"][number] == min(inside)
            assert out.high["loss"][number] == max(inside)
            assert out.values["loss"][number] == pytest.approx(sum(inside) / len(inside))
    assert [value for value in out.values["val_loss"] if value is not None] == [0.5] * 10


@pytest.mark.parametrize(
    ("after", "until"), [(0, 3000), (123, 4321), (4000, 4999), (250, 263), (4990, 9000), (5000, 9)]
)
def test_a_part_of_it_counts_what_lies_in_it_and_nothing_else(
    database: Database, run_id: str, logged: Path, after: int, until: int
) -> None:
    out = read(database, run_id, after=after, until=until, limit=20)
    inside = range(after + 1, min(until, POINTS) + 1)
    assert out.total == len(inside)
    assert len(out.steps) <= 20
    if len(inside) <= 20:
        assert out.steps == list(inside)
        assert out.low == out.high == {}
    else:
        assert (out.steps[0], out.steps[-1]) == (inside[0], inside[-1])
        assert max(value for value in out.high["loss"] if value) == 1 / inside[0]
        assert min(value for value in out.low["loss"] if value) == 1 / inside[-1]


def test_a_resumed_run_forgets_what_it_was_cut_back_by(database: Database, run_id: str, logged: Path) -> None:
    before = rows(database)
    replaced = logged.with_name("resumed")
    replaced.write_text(lines(1, 4200))
    replaced.replace(logged)
    tail = MetricsTail(logged, run_id)
    follow(database, tail, attempt=2)
    out = read(database, run_id)
    assert (out.total, out.steps[-1], set(out.attempts)) == (4200, 4200, {1})
    with logged.open("a") as opened:
        opened.write(lines(4201, POINTS).replace('"loss": 0.', '"loss": 7.'))
    follow(database, tail, attempt=2)
    out = read(database, run_id)
    assert (out.total, out.steps[-1], out.attempts[-1]) == (POINTS, POINTS, 2)
    assert max(value for value in out.high["loss"][-10:] if value) > 7
    after = rows(database)
    assert [row[:4] for row in after] == [row[:4] for row in before]
    assert [row for row in after if row[3] <= 4200] == [row for row in before if row[3] <= 4200]  # type: ignore[operator]


def test_runs_of_an_older_studio_get_the_same_buckets(database: Database, run_id: str, logged: Path) -> None:
    before, shown = rows(database), read(database, run_id)
    downgrade(database, BEFORE_BUCKETS)
    migrate(database)
    assert rows(database) == before
    assert read(database, run_id) == shown


def test_a_point_that_comes_costs_what_it_adds(database: Database, run_id: str, logged: Path) -> None:
    tail = MetricsTail(logged, run_id)
    follow(database, tail)
    with logged.open("a") as opened:
        opened.write(lines(POINTS + 1, POINTS + 1))
    with statements(database) as said:
        follow(database, tail)
    assert len(said) <= 8
    assert not any("INSERT INTO curve_blocks" in one for one in said)
    with statements(database) as said:
        assert read(database, run_id, after=POINTS).steps == [POINTS + 1]
    assert len(said) <= 3

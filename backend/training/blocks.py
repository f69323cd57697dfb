"""Rows of buckets (`backend.training.buckets`): kept beside the points of a run, and read in their place."""

from itertools import count

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.orm import Session

from backend.tables.curve_block import CurveBlock
from backend.tables.metric_point import MetricPoint
from backend.training.buckets import FACTOR, POINTS, Buckets, Point, one_level_up, packed, unpacked

LAST_STEP = 2**31 - 1
_FINER = 8  # up to so many times as many buckets are read as were asked for: those that are made of them are even


def extend(db: Session, run_id: str) -> None:
    """Rows for the points that came since the last ones. Costs nothing else than what was added."""
    end = _end(db, run_id, level=1)
    while _step_behind(db, run_id, end, POINTS) is not None:
        buckets = Buckets.of_points(points(db, run_id, after=end, until=LAST_STEP, limit=POINTS))
        end = _add(db, run_id, 1, one_level_up(buckets))
    for level in count(2):
        lower = _rows(run_id, level - 1, after=_end(db, run_id, level=level))
        added = False
        while len(rows := db.execute(lower.limit(FACTOR)).all()) == FACTOR:
            end = _add(db, run_id, level, one_level_up(unpacked(level - 1, [(row.names, row.data) for row in rows])))
            lower, added = _rows(run_id, level - 1, after=end), True
        if not added:
            return


def cut(db: Session, run_id: str, step: int) -> None:
    """Forget what points from `step` on are part of; `extend` makes it anew."""
    db.execute(delete(CurveBlock).where(CurveBlock.run_id == run_id, CurveBlock.last_step >= step))


def points(db: Session, run_id: str, *, after: int, until: int, limit: int | None = None) -> list[Point]:
    """Those with after < step <= until, ascending: the first `limit` of them."""
    rows = db.execute(
        select(MetricPoint.step, MetricPoint.attempt, MetricPoint.values)
        .where(MetricPoint.run_id == run_id, MetricPoint.step > after, MetricPoint.step <= until)
        .order_by(MetricPoint.step)
        .limit(limit)
    )
    return [(step, attempt, values) for step, attempt, values in rows]


def read(db: Session, run_id: str, *, after: int, until: int, limit: int) -> Buckets | None:
    """All points with after < step <= until in `limit` buckets at most; None if they are no more than that."""
    if _step_behind(db, run_id, after, limit + 1, until=until) is None:
        return None
    level, buckets = 1, _buckets_between(db, run_id, after, until)
    while buckets > _FINER * limit:
        level, buckets = level + 1, buckets // FACTOR
    return Buckets.joined(_collect(db, run_id, level, after, until)).at_most(limit)


def _collect(db: Session, run_id: str, level: int, after: int, until: int) -> list[Buckets]:
    """Buckets of `level` that lie in the range, and around them of finer ones down to points, so that nothing outside
    counts."""
    if level == 0:
        found = points(db, run_id, after=after, until=until)
        return [Buckets.of_points(found)] if found else []
    rows = db.execute(_rows(run_id, level, after=after).where(CurveBlock.first_step <= until)).all()
    if not rows:
        return _collect(db, run_id, level - 1, after, until)
    buckets = unpacked(level, [(row.names, row.data) for row in rows])
    start = int(buckets.first.searchsorted(after, side="right"))
    end = int(buckets.last.searchsorted(until, side="right"))
    if start >= end:
        return _collect(db, run_id, level - 1, after, until)
    parts = []
    if start > 0 and buckets.last[start - 1] > after:
        parts += _collect(db, run_id, level - 1, after, int(buckets.last[start - 1]))
    parts.append(buckets[start:end])
    return parts + _collect(db, run_id, level - 1, int(buckets.last[end - 1]), until)


def _rows(run_id: str, level: int, *, after: int) -> Select[list[str], bytes]:
    return (
        select(CurveBlock.names, CurveBlock.data)
        .where(CurveBlock.run_id == run_id, CurveBlock.level == level, CurveBlock.last_step > after)
        .order_by(CurveBlock.last_step)
    )


def _add(db: Session, run_id: str, level: int, buckets: Buckets) -> int:
    """A row; returns its last step."""
    names, data = packed(buckets)
    first, last = int(buckets.first[0]), int(buckets.last[-1])
    last_number = db.scalar(
        select(CurveBlock.number)
        .where(CurveBlock.run_id == run_id, CurveBlock.level == level)
        .order_by(CurveBlock.last_step.desc())
        .limit(1)
    )
    row = {"run_id": run_id, "level": level, "last_step": last, "first_step": first, "names": names, "data": data}
    db.execute(insert(CurveBlock), [{**row, "number": 0 if last_number is None else last_number + 1}])
    return last


def _end(db: Session, run_id: str, *, level: int) -> int:
    """The last step that rows of this level hold."""
    found = db.scalar(
        select(CurveBlock.last_step)
        .where(CurveBlock.run_id == run_id, CurveBlock.level == level)
        .order_by(CurveBlock.last_step.desc())
        .limit(1)
    )
    return -1 if found is None else found


def _step_behind(db: Session, run_id: str, after: int, number: int, *, until: int = LAST_STEP) -> int | None:
    """Step of the point `number` behind a step, None if there are fewer. From the primary key alone."""
    return db.scalar(
        select(MetricPoint.step)
        .where(MetricPoint.run_id == run_id, MetricPoint.step > after, MetricPoint.step <= until)
        .order_by(MetricPoint.step)
        .offset(number - 1)
        .limit(1)
    )


def _buckets_between(db: Session, run_id: str, after: int, until: int) -> int:
    """About how many buckets of level 1 there are in a range, without counting them."""
    number = select(CurveBlock.number).where(CurveBlock.run_id == run_id, CurveBlock.level == 1)
    first = db.scalar(number.where(CurveBlock.last_step > after).order_by(CurveBlock.last_step).limit(1))
    last = db.scalar(number.where(CurveBlock.last_step <= until).order_by(CurveBlock.last_step.desc()).limit(1))
    return 0 if first is None or last is None else max(0, last - first + 1) * FACTOR

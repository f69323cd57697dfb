"""Curves as a page draws them: all points, or, where there are more than it can show, what lies in each bucket."""

from sqlalchemy.orm import Session

from backend.training import blocks
from backend.training.buckets import Buckets, Floats, Integers, Point
from backend.training.schemas import MetricsOut


def curves(db: Session, run_id: str, *, after: int, until: int, limit: int) -> MetricsOut:
    """Of the steps after < step <= until."""
    buckets = blocks.read(db, run_id, after=after, until=until, limit=limit)
    if buckets is None:
        return _of_points(blocks.points(db, run_id, after=after, until=until))
    return _of_buckets(buckets)


def _of_points(points: list[Point]) -> MetricsOut:
    names = list(dict.fromkeys(name for _, _, values in points for name in values))
    return MetricsOut(
        steps=[step for step, _, _ in points],
        values={name: [values.get(name) for _, _, values in points] for name in names},
        low={},
        high={},
        attempts=[attempt for _, attempt, _ in points],
        total=len(points),
    )


def _of_buckets(buckets: Buckets) -> MetricsOut:
    counts = {name: one.count.astype(int) for name, one in buckets.curves.items()}
    return MetricsOut(
        steps=[int(buckets.first[0]), *buckets.last[1:].tolist()],
        values={name: _listed(one.total / counts[name].clip(1), counts[name]) for name, one in buckets.curves.items()},
        low={name: _listed(one.low, counts[name]) for name, one in buckets.curves.items()},
        high={name: _listed(one.high, counts[name]) for name, one in buckets.curves.items()},
        attempts=buckets.attempt.tolist(),
        total=int(buckets.points.sum()),
    )


def _listed(values: Floats, counts: Integers) -> list[float | None]:
    if counts.all():
        found: list[float | None] = values.tolist()
    else:
        found = [value if count else None for value, count in zip(values.tolist(), counts.tolist(), strict=True)]
    return found

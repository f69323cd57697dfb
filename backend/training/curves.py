"""Curves with fewer points than steps: what a person would see is kept."""

from typing import Any

from backend.training.schemas import MetricsOut

Point = tuple[int, int, dict[str, Any]]  # step, attempt, values


def down_sample(points: list[Point], *, limit: int) -> list[Point]:
    """At most `limit` points: the first, the last, and of each stretch of steps the extremes of every curve.

    Curves that are logged rarely (validation) keep all of their points as long as they take up a quarter at most.
    """
    if len(points) <= limit:
        return points
    names = list(dict.fromkeys(name for _, _, values in points for name in values))
    logged = {name: [number for number, point in enumerate(points) if name in point[2]] for name in names}
    kept = {0, len(points) - 1}
    for name in names:
        if len(logged[name]) <= limit // (4 * len(names)):
            kept.update(logged[name])
    often = [name for name in names if not kept.issuperset(logged[name])]
    stretches = max(1, (limit - len(kept)) // (2 * len(often)))
    for name in often:
        place, count = logged[name], len(logged[name])
        for number in range(stretches):
            part = place[number * count // stretches : (number + 1) * count // stretches]
            if part:
                kept.add(min(part, key=lambda one: points[one][2][name]))
                kept.add(max(part, key=lambda one: points[one][2][name]))
    return [points[number] for number in sorted(kept)]


def curves(points: list[Point], *, limit: int) -> MetricsOut:
    chosen = down_sample(points, limit=limit)
    names = list(dict.fromkeys(name for _, _, values in chosen for name in values))
    return MetricsOut(
        steps=[step for step, _, _ in chosen],
        values={name: [values.get(name) for _, _, values in chosen] for name in names},
        attempts=[attempt for _, attempt, _ in chosen],
        total=len(points),
    )

"""metrics.jsonl of a run -> rows. The file is the truth; a resumed trainer cuts it back, and the rows follow."""

import json
import math
import os
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from backend.tables.metric_point import MetricPoint
from backend.training import blocks


class MetricsTail:
    """Reads on from where it was; a file that was replaced (a resume does that) or is shorter is read anew."""

    def __init__(self, file: Path, run_id: str) -> None:
        self._file, self.run_id = file, run_id
        self._inode, self._offset = 0, 0
        self.last_step = 0

    def changed(self) -> bool:
        """Whether there is anything to store."""
        try:
            found = os.stat(self._file)
        except FileNotFoundError:
            return False
        return (found.st_ino, found.st_size) != (self._inode, self._offset)

    def store(self, db: Session, attempt: int) -> None:
        """New points as rows of `attempt`. Of a file read anew, points that are stored already keep their attempt, and
        rows of steps that are not in it go."""
        try:
            file = self._file.open("rb")
        except FileNotFoundError:
            return
        with file:
            status = os.fstat(file.fileno())
            anew = status.st_ino != self._inode or status.st_size < self._offset
            offset = 0 if anew else self._offset
            file.seek(offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        points = _points(whole)
        query = select(MetricPoint.step, MetricPoint.values).where(MetricPoint.run_id == self.run_id)
        changed: list[int] = []
        if anew:
            stored = {step: values for step, values in db.execute(query)}
            if gone := [step for step in stored if step not in points]:
                # by range where it can be: the points after the step that a run is resumed from
                db.execute(_rows(self.run_id).where(MetricPoint.step > max(points, default=0)))
                for step in [step for step in gone if step <= max(points, default=0)]:
                    db.execute(_rows(self.run_id).where(MetricPoint.step == step))
                changed += gone
        elif points:
            near = query.where(MetricPoint.step >= min(points), MetricPoint.step <= max(points))
            stored = {step: values for step, values in db.execute(near)}
            points = {step: {**stored.get(step, {}), **values} for step, values in points.items()}
        else:
            stored = {}
        for step, values in points.items():
            if step in stored and stored[step] != values:
                db.execute(
                    update(MetricPoint)
                    .where(MetricPoint.run_id == self.run_id, MetricPoint.step == step)
                    .values(values=values, attempt=attempt)
                )
                changed.append(step)
        if fresh := [step for step in points if step not in stored]:
            db.execute(
                insert(MetricPoint),
                [{"run_id": self.run_id, "step": step, "attempt": attempt, "values": points[step]} for step in fresh],
            )
        if changed or fresh:
            blocks.cut(db, self.run_id, min([*changed, *fresh]))
            blocks.extend(db, self.run_id)
        self._inode, self._offset = status.st_ino, offset + len(whole)
        self.last_step = max(points, default=0 if anew else self.last_step)


def _rows(run_id: str) -> Any:
    return delete(MetricPoint).where(MetricPoint.run_id == run_id)


def _points(data: bytes) -> dict[int, dict[str, float]]:
    """Step -> values; training and validation of the same step are two lines. What is no number (a gradient that ran
    over) is left out: JSON has no word for it."""
    points: dict[int, dict[str, float]] = {}
    for line in data.splitlines():
        values: dict[str, Any] = json.loads(line)
        points.setdefault(int(values.pop("step")), {}).update(
            {name: one for name, one in values.items() if math.isfinite(one)}
        )
    return points

"""buckets of curves

Made of the points that are there, a run after the other and 256 points at a time.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from backend.training.buckets import FACTOR, POINTS, Buckets, one_level_up, packed

revision = "039b4283b8d6"
down_revision = "63a32f10a961"
branch_labels = None
depends_on = None

_POINTS = sa.table(
    "metric_points",
    sa.column("run_id", sa.String),
    sa.column("step", sa.Integer),
    sa.column("attempt", sa.Integer),
    sa.column("values", sa.JSON),
)
_BLOCKS = sa.table(
    "curve_blocks",
    sa.column("run_id", sa.String),
    sa.column("level", sa.Integer),
    sa.column("last_step", sa.Integer),
    sa.column("first_step", sa.Integer),
    sa.column("number", sa.Integer),
    sa.column("names", sa.JSON),
    sa.column("data", sa.LargeBinary),
)


def upgrade() -> None:
    op.create_table(
        "curve_blocks",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_curve_blocks_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "level", "last_step", name=op.f("pk_curve_blocks")),
    )
    for (run_id,) in op.get_bind().execute(sa.text("SELECT id FROM runs")).all():
        _fill(run_id)


def downgrade() -> None:
    op.drop_table("curve_blocks")  # the points that they were made of stay


def _fill(run_id: str) -> None:
    """Rows of every level. What is not whole yet is left to the points that come."""
    waiting: dict[int, list[Buckets]] = {}
    numbers: dict[int, int] = {}
    for points in _points(run_id):
        level, row = 1, one_level_up(points)
        while True:
            names, data = packed(row)
            number = numbers.get(level, 0)
            values = {"run_id": run_id, "level": level, "last_step": int(row.last[-1]), "number": number}
            values |= {"first_step": int(row.first[0]), "names": names, "data": data}
            op.get_bind().execute(_BLOCKS.insert().values(values))
            numbers[level] = number + 1
            below = waiting.setdefault(level, [])
            below.append(row)
            if len(below) < FACTOR:
                break
            level, row = level + 1, one_level_up(Buckets.joined(below))
            below.clear()


def _points(run_id: str) -> Iterator[Buckets]:
    after = -1
    query = sa.select(_POINTS.c.step, _POINTS.c.attempt, _POINTS.c["values"]).order_by(_POINTS.c.step).limit(POINTS)
    while True:
        rows = op.get_bind().execute(query.where(_POINTS.c.run_id == run_id, _POINTS.c.step > after)).all()
        if len(rows) < POINTS:
            return
        yield Buckets.of_points([(step, attempt, values) for step, attempt, values in rows])
        after = rows[-1][0]

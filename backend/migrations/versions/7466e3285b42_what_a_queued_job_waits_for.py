"""what a queued job waits for

Until now it stood in words at the end of the cause.
"""

import sqlalchemy as sa
from alembic import op

revision = "7466e3285b42"
down_revision = "b00ffea20048"
branch_labels = None
depends_on = None

_TOLD = (
    "the broker cannot be reached; the job starts when it is back",
    "no training worker is running; the job starts when one is (`studio worker`)",
    "no worker is running; the job starts when one is (`studio worker`)",
)
_JOBS = sa.table("jobs", sa.column("id", sa.String), sa.column("state", sa.String), sa.column("cause", sa.Text))


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("missing", sa.String(length=16), nullable=True))
    connection = op.get_bind()
    for row in connection.execute(sa.select(_JOBS).where(_JOBS.c.state == "queued", _JOBS.c.cause.is_not(None))).all():
        cause = row.cause
        for told in _TOLD:
            cause = cause.removesuffix(told).removesuffix("; ")
        if cause != row.cause:
            connection.execute(_JOBS.update().where(_JOBS.c.id == row.id).values(cause=cause or None))


def downgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_column("missing")

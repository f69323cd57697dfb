"""jobs by time

The first page of a hundred thousand jobs is read from an index, not sorted from all of them.
"""

from alembic import op

revision = "9b1d4f6a2c37"
down_revision = "039b4283b8d6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index("ix_jobs_created_at_id", ["created_at", "id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index("ix_jobs_created_at_id")

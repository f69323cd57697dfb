"""lists by time

Pages of long lists begin where an index says, not at the top.
"""

from alembic import op

revision = "63a32f10a961"
down_revision = "38fa3c797f48"
branch_labels = None
depends_on = None

_INDEXES = (
    ("audit", "ix_audit_created_at_id", ["created_at", "id"]),
    ("checkpoints", "ix_checkpoints_created_at_id", ["created_at", "id"]),
    ("episodes", "ix_episodes_steps", ["dataset_id", "steps", "id"]),
    ("episodes", "ix_episodes_created_at", ["dataset_id", "created_at", "id"]),
)


def upgrade() -> None:
    for table, name, columns in _INDEXES:
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.create_index(name, columns, unique=False)


def downgrade() -> None:
    for table, name, _ in reversed(_INDEXES):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_index(name)

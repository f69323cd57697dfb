"""sums of registered models

Models that were registered before have none until they are used again (backend.base_models.whole).
"""

import sqlalchemy as sa
from alembic import op

revision = "0c35bf2a9b87"
down_revision = "3df87cbc2057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("registered_models", schema=None) as batch_op:
        batch_op.add_column(sa.Column("files", sa.JSON(), nullable=True))


def downgrade() -> None:
    """They are made anew from the files as they are then."""
    with op.batch_alter_table("registered_models", schema=None) as batch_op:
        batch_op.drop_column("files")

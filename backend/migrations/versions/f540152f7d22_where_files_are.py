"""where files are

The hash of an episode's file, by which it is found in a store elsewhere; where an export goes. What an older studio
took in has no hash until it is moved. An older studio knows the data folder alone.
"""

import sqlalchemy as sa
from alembic import op

from backend.migrations.losses import refuse_loss

revision = "f540152f7d22"
down_revision = "e6a2906e2ecb"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sha256", sa.String(length=64), nullable=True))
    with op.batch_alter_table("exports", schema=None) as batch_op:
        batch_op.add_column(sa.Column("destination", sa.JSON(), nullable=False, server_default='{"kind": "archive"}'))


def downgrade() -> None:
    refuse_loss(
        revision,
        ("settings", "key = 'store'", "a store elsewhere; `studio store move --to folder` brings its files back"),
        ("exports", "CAST(destination AS text) NOT LIKE '%archive%'", "exports that went to a folder or to S3"),
    )
    with op.batch_alter_table("exports", schema=None) as batch_op:
        batch_op.drop_column("destination")
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("sha256")

"""files keep the labels that they have

Published labels are rows alone from now on. Which revision an older studio wrote into a file stays known: a step back
tells that studio which files are behind.
"""

import sqlalchemy as sa
from alembic import op

revision = "5b1d7c04e9aa"
down_revision = "0c35bf2a9b87"
branch_labels = None
depends_on = None

_NEWEST = (
    "(SELECT max(number) FROM label_revisions WHERE label_revisions.episode_id = episodes.id "
    "AND label_revisions.tier = 'substep')"
)


def upgrade() -> None:
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("file_revision", sa.Integer(), nullable=True))
    # 0: one of before the newest, or none
    op.execute(
        f"UPDATE episodes SET file_revision = CASE WHEN file_behind THEN 0 ELSE {_NEWEST} END "
        f"WHERE {_NEWEST} IS NOT NULL"
    )
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("file_behind")


def downgrade() -> None:
    """An older studio writes the labels into the file when somebody asks for it."""
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("file_behind", sa.Boolean(), nullable=False, server_default="0"))
    op.execute(f"UPDATE episodes SET file_behind = {_NEWEST} > coalesce(file_revision, 0) WHERE {_NEWEST} IS NOT NULL")
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("file_revision")

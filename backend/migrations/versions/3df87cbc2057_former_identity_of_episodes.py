"""former identity of episodes

The rows get their new identity at the next start of the API, which reads the files for it (backend.episodes.renew).
"""

import sqlalchemy as sa
from alembic import op

revision = "3df87cbc2057"
down_revision = "a738c19172c2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("former_identity", sa.String(length=64), nullable=True))
        batch_op.create_index(batch_op.f("ix_episodes_former_identity"), ["former_identity"], unique=False)


def downgrade() -> None:
    """The studio of before knows the former identities alone."""
    op.execute("UPDATE episodes SET identity = former_identity WHERE former_identity IS NOT NULL")
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_episodes_former_identity"))
        batch_op.drop_column("former_identity")

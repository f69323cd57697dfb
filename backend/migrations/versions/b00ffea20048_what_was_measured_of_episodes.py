"""what was measured of episodes

An episode is measured again by a studio that measures more: rows say by which version.
"""

import sqlalchemy as sa
from alembic import op

from backend.migrations.losses import refuse_loss

revision = "b00ffea20048"
down_revision = "5d5537f90307"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "episode_traits",
        sa.Column("episode_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("traits", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["episode_id"],
            ["episodes.id"],
            name=op.f("fk_episode_traits_episode_id_episodes"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("episode_id", name=op.f("pk_episode_traits")),
    )


def downgrade() -> None:
    refuse_loss(
        revision,
        ("episode_traits", "true", "measured episodes"),
        ("jobs", "kind = 'measure'", "jobs that measured episodes"),
    )
    op.drop_table("episode_traits")

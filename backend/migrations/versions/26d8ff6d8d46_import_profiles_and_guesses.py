"""import profiles, and what was guessed of episodes"""

import sqlalchemy as sa
from alembic import op

import backend.core.db
from backend.migrations.losses import filled, refuse_loss

revision = "26d8ff6d8d46"
down_revision = "7466e3285b42"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "import_profiles",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("profile", sa.JSON(), nullable=False),
        sa.Column("created_by_name", sa.String(length=64), nullable=True),
        sa.Column("changed_at", backend.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.Column("changed_by_name", sa.String(length=64), nullable=True),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_at", backend.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_profiles")),
        sa.UniqueConstraint("key", name=op.f("uq_import_profiles_key")),
    )
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("guesses", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    refuse_loss(
        revision,
        ("import_profiles", "true", "import profiles"),
        ("episodes", filled("guesses"), "episodes of which something was guessed"),
        ("bulk_changes", "kind = 'accept'", "acceptances of imported labels that can be undone"),
    )
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("guesses")
    op.drop_table("import_profiles")

"""states of labelling, tiers, history, review, bulk changes"""

import sqlalchemy as sa
from alembic import op

import backend.core.db
from backend.migrations.losses import filled, refuse_loss

revision = "0003"
down_revision = "0d9289377767"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bulk_changes",
        sa.Column("dataset_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("episodes", sa.JSON(), nullable=False),
        sa.Column("by_id", sa.String(length=32), nullable=True),
        sa.Column("by_name", sa.String(length=64), nullable=True),
        sa.Column("undone_at", backend.core.db.UtcDateTime(timezone=True), nullable=True),
        sa.Column("undone_by_name", sa.String(length=64), nullable=True),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_at", backend.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_bulk_changes_dataset_id_datasets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_changes")),
    )
    with op.batch_alter_table("bulk_changes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_bulk_changes_dataset_id"), ["dataset_id"], unique=False)

    op.create_table(
        "label_history",
        sa.Column("dataset_id", sa.String(length=32), nullable=False),
        sa.Column("episode_id", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("rater", sa.Integer(), nullable=False),
        sa.Column("edit", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("by_id", sa.String(length=32), nullable=True),
        sa.Column("by_name", sa.String(length=64), nullable=True),
        sa.Column("about_id", sa.String(length=32), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_at", backend.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.Column("segments", sa.JSON(), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("failure_step", sa.Integer(), nullable=True),
        sa.Column("paraphrases", sa.JSON(), nullable=False),
        sa.Column("quality", sa.String(length=16), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["episode_id"], ["episodes.id"], name=op.f("fk_label_history_episode_id_episodes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_history")),
    )
    with op.batch_alter_table("label_history", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_label_history_by_id"), ["by_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_label_history_dataset_id"), ["dataset_id"], unique=False)
        batch_op.create_index("ix_label_history_episode_id_tier_rater", ["episode_id", "tier", "rater"], unique=False)

    op.create_table(
        "review_notes",
        sa.Column("episode_id", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("rater", sa.Integer(), nullable=False),
        sa.Column("edit", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("author_id", sa.String(length=32), nullable=True),
        sa.Column("author_name", sa.String(length=64), nullable=True),
        sa.Column("resolved_at", backend.core.db.UtcDateTime(timezone=True), nullable=True),
        sa.Column("resolved_by_name", sa.String(length=64), nullable=True),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_at", backend.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["episode_id"], ["episodes.id"], name=op.f("fk_review_notes_episode_id_episodes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_notes")),
    )
    with op.batch_alter_table("review_notes", schema=None) as batch_op:
        batch_op.create_index("ix_review_notes_episode_id_tier_rater", ["episode_id", "tier", "rater"], unique=False)

    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("plan_vocabulary", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("guideline", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("vocabulary_edit", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("labelling", sa.JSON(), nullable=False, server_default="{}"))

    with op.batch_alter_table("drafts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tier", sa.String(length=16), nullable=False, server_default="substep"))
        batch_op.add_column(sa.Column("rater", sa.Integer(), autoincrement=False, nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("state", sa.String(length=16), nullable=False, server_default="unassigned"))
        batch_op.add_column(sa.Column("assignee_id", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("assigned_at", backend.core.db.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("contributors", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("submitted_by", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("submitted_at", backend.core.db.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("kept_at", backend.core.db.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("lease_holder", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("lease_token", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("lease_until", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("failure_step", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("paraphrases", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("quality", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.drop_constraint("pk_drafts", type_="primary")
        batch_op.create_primary_key("pk_drafts", ["episode_id", "tier", "rater"])
        batch_op.create_index("ix_drafts_assignee_id_state", ["assignee_id", "state"], unique=False)

    op.execute("UPDATE drafts SET state = 'in_progress', assignee_id = updated_by WHERE edit > 0")

    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("failure_step", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("quality", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("file_behind", sa.Boolean(), nullable=False, server_default="0"))

    with op.batch_alter_table("label_revisions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tier", sa.String(length=16), nullable=False, server_default="substep"))
        batch_op.add_column(sa.Column("restores", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("failure_step", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("paraphrases", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("quality", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.drop_constraint(batch_op.f("uq_label_revisions_episode_id"), type_="unique")
        batch_op.create_unique_constraint(batch_op.f("uq_label_revisions_episode_id"), ["episode_id", "tier", "number"])


def downgrade() -> None:
    document = f"failure_step IS NOT NULL OR quality IS NOT NULL OR {filled('paraphrases')} OR {filled('tags')}"
    # upgrading gave edited drafts to who edited them last; anything else people did
    given = (
        "(edit > 0 AND (state <> 'in_progress' OR coalesce(assignee_id, '') <> coalesce(updated_by, ''))) "
        "OR (edit = 0 AND (state <> 'unassigned' OR assignee_id IS NOT NULL))"
    )
    refuse_loss(
        revision,
        ("label_history", "true", "earlier states of labels"),
        ("review_notes", "true", "notes of reviewers"),
        ("bulk_changes", "true", "changes of many episodes that can be undone"),
        ("drafts", "tier <> 'substep' OR rater <> 0", "labels of a second tier or person"),
        ("drafts", f"{given} OR submitted_by IS NOT NULL OR {filled('contributors')}", "who labels what"),
        ("drafts", document, "tags, wordings and the like of drafts"),
        ("label_revisions", "tier <> 'substep'", "published labels of a second tier"),
        ("label_revisions", f"restores IS NOT NULL OR {document}", "tags, wordings and the like of published labels"),
        ("episodes", f"failure_step IS NOT NULL OR quality IS NOT NULL OR {filled('tags')}", "tags and quality"),
        ("episodes", "file_behind", "published labels that are not in their file yet"),
        ("datasets", f"{filled('plan_vocabulary')} OR {filled('guideline')}", "guidelines and plan vocabularies"),
        ("datasets", filled("labelling"), "how a dataset is labelled"),
    )
    op.execute("DELETE FROM label_revisions WHERE tier != 'substep'")
    with op.batch_alter_table("label_revisions", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_label_revisions_episode_id"), type_="unique")
        batch_op.create_unique_constraint(batch_op.f("uq_label_revisions_episode_id"), ["episode_id", "number"])
        batch_op.drop_column("tags")
        batch_op.drop_column("quality")
        batch_op.drop_column("paraphrases")
        batch_op.drop_column("failure_step")
        batch_op.drop_column("restores")
        batch_op.drop_column("tier")

    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("file_behind")
        batch_op.drop_column("tags")
        batch_op.drop_column("quality")
        batch_op.drop_column("failure_step")

    op.execute("DELETE FROM drafts WHERE tier != 'substep' OR rater != 0")
    with op.batch_alter_table("drafts", schema=None) as batch_op:
        batch_op.drop_index("ix_drafts_assignee_id_state")
        batch_op.drop_constraint("pk_drafts", type_="primary")
        batch_op.create_primary_key("pk_drafts", ["episode_id"])
        batch_op.drop_column("tags")
        batch_op.drop_column("quality")
        batch_op.drop_column("paraphrases")
        batch_op.drop_column("failure_step")
        batch_op.drop_column("lease_until")
        batch_op.drop_column("lease_token")
        batch_op.drop_column("lease_holder")
        batch_op.drop_column("kept_at")
        batch_op.drop_column("submitted_at")
        batch_op.drop_column("submitted_by")
        batch_op.drop_column("contributors")
        batch_op.drop_column("assigned_at")
        batch_op.drop_column("assignee_id")
        batch_op.drop_column("state")
        batch_op.drop_column("rater")
        batch_op.drop_column("tier")

    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.drop_column("labelling")
        batch_op.drop_column("vocabulary_edit")
        batch_op.drop_column("guideline")
        batch_op.drop_column("plan_vocabulary")

    with op.batch_alter_table("review_notes", schema=None) as batch_op:
        batch_op.drop_index("ix_review_notes_episode_id_tier_rater")

    op.drop_table("review_notes")
    with op.batch_alter_table("label_history", schema=None) as batch_op:
        batch_op.drop_index("ix_label_history_episode_id_tier_rater")
        batch_op.drop_index(batch_op.f("ix_label_history_dataset_id"))
        batch_op.drop_index(batch_op.f("ix_label_history_by_id"))

    op.drop_table("label_history")
    with op.batch_alter_table("bulk_changes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_bulk_changes_dataset_id"))

    op.drop_table("bulk_changes")

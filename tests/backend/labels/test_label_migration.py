"""A studio with labels from before tiers and states keeps every one of them, on both databases."""

from alembic import command
from sqlalchemy import text

from backend.core.db import Database
from backend.labels.core.settings import Labelling
from backend.migrations.migrate import alembic_config, migrate
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment, Provenance

BEFORE = "0d9289377767"
OLD = """
INSERT INTO datasets (id, name, description, cameras, vocabulary, next_number, created_at)
VALUES ('d', 'cubes', '', '[]', '["Reach"]', 1, '2026-05-01 12:00:00');
INSERT INTO episodes (id, dataset_id, number, identity, steps, action_dim, state_dim, cameras, sim, size_bytes, source,
    instruction, label_state, created_at)
VALUES ('e', 'd', 0, 'i', 24, 14, 14, '[]', true, 1, 'uploaded', 'Lift', 'draft', '2026-05-01 12:00:00');
INSERT INTO drafts (episode_id, edit, segments, instruction, success, updated_at, updated_by)
VALUES ('e', 7, '[{"start": 0, "end": 24, "text": "Reach", "provenance": "human"}]', 'Lift', NULL,
    '2026-05-01 12:00:00', 'u');
INSERT INTO label_revisions (id, episode_id, number, edit, segments, instruction, success, created_at)
VALUES ('r', 'e', 1, 6, '[{"start": 0, "end": 24, "text": "Grasp", "provenance": "human"}]', 'Lift', NULL,
    '2026-05-01 12:00:00');
"""


def test_labels_from_before_are_kept(database: Database) -> None:
    config = alembic_config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, BEFORE)
        connection.commit()
    with database.transaction() as db:
        for statement in OLD.strip().split(";\n"):
            db.execute(text(statement.rstrip(";").replace(": ", "\\: ")))
    migrate(database)
    with database.transaction(write=False) as db:
        draft = db.get_one(Draft, ("e", Tier.SUBSTEP, 0))
        assert (draft.edit, draft.state, draft.assignee_id, draft.tags) == (7, WorkState.IN_PROGRESS, "u", [])
        assert draft.segments == (LabelSegment(0, 24, "Reach", Provenance.HUMAN, None, None),)
        revision = db.get_one(LabelRevision, "r")
        assert (revision.tier, revision.number, revision.restores) == (Tier.SUBSTEP, 1, None)
        dataset = db.get_one(Dataset, "d")
        assert (dataset.vocabulary, dataset.guideline) == (["Reach"], {})
        assert Labelling.model_validate(dataset.labelling) == Labelling()

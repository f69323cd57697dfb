"""Jobs that waited before it had a column of its own what they wait for: their cause says it once, not twice."""

import pytest
from alembic import command
from sqlalchemy import text

from backend.core.db import Database
from backend.migrations.migrate import alembic_config, migrate

BEFORE = "b00ffea20048"
NOBODY = "no worker is running; the job starts when one is (`studio worker`)"
INSERT = """
INSERT INTO jobs (id, kind, title, payload, state, cause, attempt, barren, done, best, note, created_at)
VALUES ('j', 'measure', 'a job', '{}', :state, :cause, 0, 0, 0, 0, '', '2026-05-01 12:00:00')
"""


@pytest.mark.parametrize(
    ("state", "cause", "kept"),
    [
        ("queued", NOBODY, None),
        ("queued", f"interrupted: the studio stopped; {NOBODY}", "interrupted: the studio stopped"),
        ("queued", "interrupted: the studio stopped", "interrupted: the studio stopped"),
        ("failed", f"somebody wrote {NOBODY}", f"somebody wrote {NOBODY}"),
    ],
)
def test_what_a_job_waits_for_leaves_its_cause(database: Database, state: str, cause: str, kept: str | None) -> None:
    config = alembic_config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, BEFORE)
        connection.commit()
    with database.transaction() as db:
        db.execute(text(INSERT), {"state": state, "cause": cause})
    migrate(database)
    with database.transaction(write=False) as db:
        assert db.scalar(text("SELECT cause FROM jobs")) == kept

"""The switch of a restore: what was built beside takes the place of what was there, wholly or not at all.

A data folder may be a mounted volume, which cannot be renamed, and its database may be a server's: no single rename
does it. So the switch is written down first (restore.json), and from that moment on it is the truth: every step after
it can be done again, and whoever starts the studio, or restores, finishes what a kill interrupted.
"""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from backend.core.db import Database
from backend.core.folders import DataFolder
from backend.core.settings import Settings
from dexvla.errors import UserError
from dexvla.files import fsync_path, write_json
from worker.core.data_lock import locked

STAGING = ".restoring-"
ASIDE = "before-restore-"
SCHEMA = "studio_restore_"  # of PostgreSQL: the tables that are being loaded
_LOCK_SECONDS = 10


class Journal(BaseModel):
    """staging, aside: names in the data folder. old, new: names in it before, and in `staging`.

    schema_: where the new tables are, None for SQLite, whose file is among the names. schema_aside: where the tables
    from before go.
    """

    model_config = ConfigDict(frozen=True)

    snapshot: str
    staging: str
    aside: str
    old: list[str]
    new: list[str]
    schema_: str | None = None
    schema_aside: str | None = None


def moment() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def entries_of(folder: DataFolder) -> list[str]:
    """Names in the data folder that a restore puts aside."""
    keep = {folder.lock.name, folder.restoring.name, folder.reserve.name}  # aside, its space would be taken twice
    return sorted(
        entry.name
        for entry in folder.root.iterdir()
        if entry.name not in keep and not entry.name.startswith((STAGING, ASIDE, f".{folder.restoring.name}."))
    )


def interrupted(folder: DataFolder) -> bool:
    """Whether a restore has to be finished before anything is done with the folder."""
    return folder.restoring.exists()


def refuse_interrupted(folder: DataFolder) -> None:
    if interrupted(folder):
        raise UserError(
            f"{folder.root}: a restore was interrupted; `studio up`, `studio migrate` or `studio restore` finishes it"
        )


def finish_here(settings: Settings) -> None:
    """Finish a restore that was interrupted, if there is one. Raises UserError if another studio has the folder."""
    if settings.folder.root.is_dir() and interrupted(settings.folder):
        with locked(settings.folder):
            finish(settings)


def begin(settings: Settings, journal: Journal) -> None:
    """From here on the new is the truth."""
    write_json(settings.folder.restoring, journal.model_dump())


def finish(settings: Settings) -> None:
    """Do whatever is left of a switch, and clear away what a restore left that never came to it. The lock is held."""
    root = settings.folder.root
    if interrupted(settings.folder):
        try:
            journal = Journal.model_validate(json.loads(settings.folder.restoring.read_bytes()))
        except (ValueError, ValidationError) as error:
            raise UserError(
                f"{settings.folder.restoring} is damaged ({error}); a restore cannot be finished"
            ) from error
        if journal.schema_ is not None:
            _switch_schemas(settings, journal.schema_, journal.schema_aside)
        _switch_names(root, journal)
        settings.folder.restoring.unlink()
        fsync_path(root)
    for left in root.glob(f"{STAGING}*"):
        shutil.rmtree(left)
    for half in root.glob(f".{settings.folder.restoring.name}.*.tmp"):  # killed before the journal had its name
        half.unlink()


def _switch_names(root: Path, journal: Journal) -> None:
    """First the old ones leave, then the new ones come: at no moment does a database lie beside another's log."""
    staging, aside = root / journal.staging, root / journal.aside
    for name in journal.old:
        replaced = name in journal.new and not (staging / name).exists()
        if (root / name).exists() and not replaced:
            aside.mkdir(mode=0o700, exist_ok=True)
            os.rename(root / name, aside / name)
    for folder in (aside, root):
        if folder.exists():
            fsync_path(folder)
    for name in journal.new:
        if (staging / name).exists():
            os.rename(staging / name, root / name)
    fsync_path(root)


def _switch_schemas(settings: Settings, schema: str, aside: str | None) -> None:
    """In one transaction; done already if the schema of the new tables is gone."""
    database = Database(settings.sql_url)
    try:
        with database.engine.begin() as connection:
            quote = connection.dialect.identifier_preparer.quote
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
            if not schema_exists(connection, schema):
                return
            usual = str(connection.scalar(text("SELECT current_schema()")))
            old = tables_in(connection, usual)
            if old and aside is not None:
                connection.execute(text(f"CREATE SCHEMA {quote(aside)}"))
                for table in old:
                    connection.execute(text(f"ALTER TABLE {quote(usual)}.{quote(table)} SET SCHEMA {quote(aside)}"))
            for table in tables_in(connection, schema):
                connection.execute(text(f"ALTER TABLE {quote(schema)}.{quote(table)} SET SCHEMA {quote(usual)}"))
            connection.execute(text(f"DROP SCHEMA {quote(schema)}"))
    except DBAPIError as error:
        raise UserError(
            f"the tables could not be put in place: {' '.join(str(error.orig).split())[:300]}; nothing of the database "
            "was changed. Stop whatever uses it, then run `studio migrate`: it finishes the restore"
        ) from error
    finally:
        database.close()


def schema_exists(connection: Connection, schema: str) -> bool:
    query = text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :schema")
    return connection.scalar(query, {"schema": schema}) is not None


def tables_in(connection: Connection, schema: str) -> list[str]:
    query = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema ORDER BY tablename")
    return list(connection.scalars(query, {"schema": schema}))

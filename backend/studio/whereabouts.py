"""Which store a studio's files are in: the database knows, and every process of the studio has to agree.

One that looked into another store would find nothing, and put new files where nobody else looks.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.settings import Settings
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow
from backend.tables.export import Export
from backend.tables.setting import Setting
from dexvla.errors import UserError

KEY = "store"
FOLDER = "folder"  # the data folder, in commands and in the row


def named(settings: Settings) -> str:
    """The store that the settings name."""
    return FOLDER if settings.store_place is None else settings.store_place.url


def known(db: Session) -> str:
    """The store that holds the studio's files."""
    row = db.get(Setting, KEY)
    return FOLDER if row is None else str(row.value["url"])


def keep(db: Session, url: str) -> None:
    row = db.get(Setting, KEY)
    if url == FOLDER:
        if row is not None:
            db.delete(row)
    elif row is None:
        db.add(Setting(key=KEY, value={"url": url}))
    else:
        row.value = {"url": url}


def agree(studio: Studio) -> None:
    """At a start: a studio without files takes the store that the settings name; with files, it has to be theirs.

    Raises UserError, SQLAlchemyError.
    """
    wanted = named(studio.settings)
    with studio.db.transaction(write=False) as db:
        there = known(db)
        empty = not any(
            db.scalar(select(table.id).limit(1)) for table in (EpisodeRow, DatasetVersion, Checkpoint, Export)
        )
    if there == wanted:
        return
    if not empty:
        say = "the data folder" if there == FOLDER else there
        unset = "leave STUDIO_STORE empty" if there == FOLDER else f"set STUDIO_STORE={there}"
        raise UserError(
            f"the files of this studio are in {say}, and the settings name "
            f"{'the data folder' if wanted == FOLDER else wanted}; {unset}, or move them first: "
            f"studio store move --to {wanted}"
        )
    with studio.db.transaction() as db:
        keep(db, wanted)

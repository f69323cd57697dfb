"""Regular work on the data folder, in the API's process: the database's log, the reserve, and the mark."""

import structlog

from backend.core import space
from backend.core.periodic import Periodic
from backend.storage import mark
from backend.studio.context import Studio

_EVERY_SECONDS = 10.0
_LARGE_LOG_BYTES = 256 * 2**20
_log = structlog.get_logger(__name__)


def keep_house(studio: Studio) -> None:
    """One round. Raises SQLAlchemyError and OSError for a disk or a database that is away."""
    in_use = studio.db.checkpoint()
    if in_use > _LARGE_LOG_BYTES:
        _log.warning("database.long_reader", log_bytes=in_use, why="somebody has been reading for long")
    space.hold(studio.db, studio.settings.folder)
    mark.renew(studio)


def housekeeper(studio: Studio, *, every_seconds: float = _EVERY_SECONDS) -> Periodic:
    """A thread that keeps house every ten seconds."""

    def work() -> float:
        keep_house(studio)
        return every_seconds

    return Periodic("housekeeping", work, every_seconds=every_seconds)

"""Regular work on the data folder, in the API's process: the database's log, the reserve, and the mark."""

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend import space
from backend.context import Studio
from backend.storage import mark

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


class Housekeeper:
    """A thread that keeps house every ten seconds until `stop`."""

    def __init__(self, studio: Studio, *, every_seconds: float = _EVERY_SECONDS) -> None:
        self._studio, self._every = studio, every_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for a round that is under way, a few seconds at most."""
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        told: str | None = None
        while True:
            try:
                keep_house(self._studio)
                told = None
            except (OSError, SQLAlchemyError) as error:
                why = " ".join(str(error).split())[:200]
                if why != told:  # once, not every ten seconds
                    _log.warning("housekeeping.failed", error=why)
                told = why
            if self._stopped.wait(self._every):
                return

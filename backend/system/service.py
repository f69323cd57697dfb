"""Is everything there that the studio needs?"""

import redis
from sqlalchemy.exc import SQLAlchemyError

import dexvla
from backend.jobs.workers import live_workers
from backend.robots import presence, repository
from backend.robots.stopping import PRESENT
from backend.studio.context import Studio
from backend.system.schemas import Health


def health(studio: Studio) -> Health:
    """workers and robots: those heard from within the last seconds; 0 where database or broker cannot say.

    A worker is a `studio worker` that somebody started, on whatever machine, with all of its processes.
    """
    database, broker, workers, robots = "ok", "ok", 0, 0
    try:
        with studio.db.transaction(write=False) as db:
            robots = repository.count_seen(db, within=PRESENT)
    except SQLAlchemyError as error:
        database = type(error).__name__
    try:
        robots = max(robots, presence.count(studio))
        workers = len(live_workers(studio))
    except redis.RedisError as error:
        broker = type(error).__name__
    disk = studio.space.report()
    store = "ok" if studio.store_watch.report() == "ok" else "it does not answer, or does not let the studio in"
    status = "ok" if database == broker == disk == store == "ok" else "degraded"
    return Health(
        status=status,
        version=dexvla.__version__,
        database=database,
        broker=broker,
        disk=disk,
        store=store,
        workers=workers,
        robots=robots,
    )

"""Is everything there that the studio needs?"""

from datetime import timedelta

import redis
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

import dexvla
from backend.context import Studio
from backend.db import utc_now
from backend.robots import presence
from backend.robots.models import RobotRow
from backend.system.schemas import Health

WORKER_KEYS = "studio:worker:*"
ROBOT_PRESENT = timedelta(seconds=6)


def health(studio: Studio) -> Health:
    """workers and robots: those heard of within the last seconds; 0 where database or broker cannot say."""
    database, broker, workers, robots = "ok", "ok", 0, 0
    try:
        with studio.db.transaction(write=False) as db:
            query = select(func.count()).select_from(RobotRow).where(RobotRow.seen_at > utc_now() - ROBOT_PRESENT)
            robots = db.scalar(query) or 0
    except SQLAlchemyError as error:
        database = type(error).__name__
    try:
        robots = max(robots, presence.count(studio))
        workers = sum(1 for _ in studio.broker.scan_iter(WORKER_KEYS))
    except redis.RedisError as error:
        broker = type(error).__name__
    disk = studio.space.told()
    status = "ok" if database == broker == disk == "ok" else "degraded"
    return Health(
        status=status,
        version=dexvla.__version__,
        database=database,
        broker=broker,
        disk=disk,
        workers=workers,
        robots=robots,
    )

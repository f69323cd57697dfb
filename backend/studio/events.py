"""Tell open pages what changed: {"topic": "job", "id": "..."} over the broker's pub/sub to every API process.

An event carries no content: whoever hears it asks the API again, with their own rights. Losing one loses nothing,
pages ask again every few seconds anyway.
"""

import json
from typing import Literal

import redis
from sqlalchemy.orm import Session

from backend.core.db import after_commit
from backend.studio.context import Studio

CHANNEL = "studio:events"
Topic = Literal["job", "run", "dataset", "episode", "checkpoint", "evaluation", "model", "robot"]


def publish(studio: Studio, topic: Topic, subject: str) -> None:
    """Best effort: a broker that is away is nothing to fail for."""
    try:
        studio.broker.publish(CHANNEL, json.dumps({"topic": topic, "id": subject}))
    except redis.RedisError:
        return


def publish_after_commit(db: Session, studio: Studio, topic: Topic, subject: str) -> None:
    """When, and only when, the transaction is there for others to read."""
    after_commit(db, lambda: publish(studio, topic, subject))

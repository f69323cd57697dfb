"""Who asks: whom a cookie or an API token belongs to."""

from datetime import timedelta

from starlette.requests import HTTPConnection

from backend.core.db import utc_now
from backend.core.roles import Role
from backend.identity import repository
from backend.identity.actor import Actor
from backend.identity.credentials import api_token, session_cookie
from backend.identity.secrets import token_hash
from backend.studio.context import Studio
from backend.tables.user import User

_TOUCH = timedelta(minutes=5)


def identify(studio: Studio, connection: HTTPConnection) -> Actor | None:
    """Who the API token or the cookie belongs to. A token goes before a cookie, which then counts for nothing.

    An `Authorization` that is no token of ours (a proxy's password, another program's bearer) says nothing here.
    """
    token = api_token(connection)
    if token is not None:
        return _by_token(studio, token)
    cookie = session_cookie(connection)
    if not cookie:
        return None
    with studio.db.transaction(write=False) as db:
        user = repository.session_user(db, token_hash(cookie), utc_now())
        return None if user is None else to_actor(user)


def note_use(studio: Studio, connection: HTTPConnection) -> None:
    """Have it written down that a token was used, if it came with one. Waits for nothing."""
    token = api_token(connection)
    if token is not None:
        sha256, now = token_hash(token), utc_now()
        studio.ledger.write(
            lambda db: repository.touch_token_of(db, sha256, now, older_than=now - _TOUCH), key=f"token {sha256}"
        )


def _by_token(studio: Studio, token: str) -> Actor | None:
    now = utc_now()
    with studio.db.transaction(write=False) as db:
        found = repository.token_of(db, token_hash(token))
        if found is None:
            return None
        actor, stale = to_actor(found.user), found.last_used_at is None or abs(now - found.last_used_at) > _TOUCH
    if stale:  # written beside: nobody who asks something waits for the database's writer
        token_id = found.id
        studio.ledger.write(lambda db: repository.touch_token(db, token_id, now), key=f"token {token_id}")
    return actor


def to_actor(user: User) -> Actor:
    return Actor(id=user.id, name=user.name, role=Role(user.role))

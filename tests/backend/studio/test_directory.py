"""The copy in memory of who may ask: whatever a table holds, it is read again."""

from sqlalchemy import text

from backend.core.roles import Role
from backend.studio.context import Studio
from backend.studio.directory import Directory
from backend.tables.api_token import ApiToken
from backend.tables.user import User
from tests.support.robot_hosts import until


def test_a_row_that_cannot_be_read_ends_no_thread(studio: Studio) -> None:
    """As a newer studio may have left it."""
    with studio.db.transaction() as db:
        user = User(name="ada", password_hash="x", role=Role.OPERATOR)
        db.add(user)
        db.flush()
        db.add(ApiToken(user_id=user.id, name="t", token_sha256="a" * 64))
    directory, refreshed = Directory(studio.db), list[bool]()
    directory.on_refresh = lambda: refreshed.append(True)
    directory.start()
    try:
        assert directory.known("a" * 64) is not None
        _set_role(studio, "emperor")
        before = len(refreshed)
        until(lambda: directory.away)
        assert directory.known("a" * 64) is not None, "the last copy goes on to be believed"
        assert len(refreshed) - before <= 1, "one may have been under way"
        _set_role(studio, "viewer")
        until(lambda: (actor := directory.known("a" * 64)) is not None and actor.role is Role.VIEWER)
    finally:
        directory.close()


def _set_role(studio: Studio, role: str) -> None:
    with studio.db.transaction() as db:
        db.execute(text("UPDATE users SET role = :role"), {"role": role})

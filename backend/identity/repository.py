"""Queries about people, sessions, tokens and links. Tokens are looked up by their hash."""

from datetime import datetime

from sqlalchemy import CursorResult, Delete, delete, func, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from backend.core.roles import Role
from backend.tables.api_token import ApiToken
from backend.tables.link import Link
from backend.tables.login_session import LoginSession
from backend.tables.user import User


def admin_exists(db: Session) -> bool:
    return db.scalar(select(User.id).where(User.role == Role.ADMIN).limit(1)) is not None


def user_by_name(db: Session, name: str) -> User | None:
    return db.scalar(select(User).where(func.lower(User.name) == name.lower()))


def users(db: Session) -> list[User]:
    return list(db.scalars(select(User).order_by(func.lower(User.name))))


def active_admins(db: Session) -> int:
    query = select(func.count()).select_from(User).where(User.role == Role.ADMIN, User.disabled.is_(False))
    return db.scalar(query) or 0


def session_user(db: Session, token_sha256: str, now: datetime) -> User | None:
    query = (
        select(User)
        .join(LoginSession)
        .where(
            LoginSession.token_sha256 == token_sha256,
            LoginSession.expires_at > now,
            User.disabled.is_(False),
        )
    )
    return db.scalar(query)


def token_of(db: Session, token_sha256: str) -> ApiToken | None:
    query = select(ApiToken).join(User).where(ApiToken.token_sha256 == token_sha256, User.disabled.is_(False))
    return db.scalar(query)


def tokens_of(db: Session, user_id: str) -> list[ApiToken]:
    return list(db.scalars(select(ApiToken).where(ApiToken.user_id == user_id).order_by(ApiToken.created_at)))


def touch_token_of(db: Session, token_sha256: str, now: datetime, *, older_than: datetime) -> None:
    """Only if its last use was noted before `older_than`, or after `now`: the clock was set back."""
    stale = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < older_than, ApiToken.last_used_at > now)
    db.execute(update(ApiToken).where(ApiToken.token_sha256 == token_sha256, stale).values(last_used_at=now))


def touch_token(db: Session, token_id: str, now: datetime) -> None:
    db.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=now))


def end_sessions(db: Session, user_id: str, *, keep: str | None = None) -> int:
    """Sign a person out everywhere but in the session `keep` (a hash). How many sessions ended."""
    query = delete(LoginSession).where(LoginSession.user_id == user_id)
    if keep is not None:
        query = query.where(LoginSession.token_sha256 != keep)
    return _deleted(db, query)


def end_tokens(db: Session, user_id: str) -> int:
    return _deleted(db, delete(ApiToken).where(ApiToken.user_id == user_id))


def end_links(db: Session, user_id: str) -> int:
    """Unused links that the person made, and those that set this person's password."""
    mine = or_(Link.created_by == user_id, Link.user_id == user_id)
    return _deleted(db, delete(Link).where(mine, Link.used_at.is_(None)))


def end_resets(db: Session, user_id: str) -> int:
    return _deleted(db, delete(Link).where(Link.user_id == user_id, Link.used_at.is_(None)))


def _deleted(db: Session, query: Delete) -> int:
    result = db.execute(query, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return result.rowcount


def forget_sessions(db: Session, *, ended_before: datetime) -> int:
    """Returns how many rows went."""
    result = db.execute(delete(LoginSession).where(LoginSession.expires_at <= ended_before))
    assert isinstance(result, CursorResult)
    return result.rowcount


def open_link(db: Session, token_sha256: str, now: datetime) -> Link | None:
    query = select(Link).where(Link.token_sha256 == token_sha256, Link.used_at.is_(None), Link.expires_at > now)
    return db.scalar(query)


def open_invitations(db: Session, now: datetime) -> list[tuple[Link, str]]:
    """With who made each."""
    query = select(Link, User.name).join(User, User.id == Link.created_by)
    query = query.where(Link.user_id.is_(None), Link.used_at.is_(None), Link.expires_at > now)
    return [(link, name) for link, name in db.execute(query.order_by(Link.created_at))]


def open_resets(db: Session, now: datetime) -> list[tuple[Link, User, str]]:
    """Links that set a new password: for whom, and who made each."""
    maker = aliased(User)
    query = select(Link, User, maker.name).join(User, User.id == Link.user_id)
    query = query.join(maker, maker.id == Link.created_by).where(Link.used_at.is_(None), Link.expires_at > now)
    return [(link, user, name) for link, user, name in db.execute(query.order_by(Link.created_at))]


def lock_people(db: Session) -> None:
    """One change at a time of who there is, until the transaction ends: names stay unique, an administrator is left.

    SQLite's writers take turns anyway.
    """
    if db.get_bind().dialect.name == "postgresql":
        db.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))

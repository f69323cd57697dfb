"""Who asks; people, tokens, links, and the settings made in the page. Passwords are in backend.accounts.signing_in."""

from datetime import timedelta
from urllib.parse import quote

from sqlalchemy.orm import Session
from starlette.requests import Request

import dexvla
from backend.accounts.ending import end_access, recheck_sockets
from backend.accounts.schemas import (
    AccessEnded,
    InvitationIn,
    InvitationOut,
    LinkOut,
    Me,
    NewToken,
    ResetOut,
    StudioSettings,
    StudioSettingsPatch,
    TokenIn,
    TokenOut,
    UserOut,
    UserPatch,
)
from backend.audit.service import record
from backend.core.db import after_commit, database_now
from backend.core.errors import ConflictError, ForbiddenError, NotFoundError
from backend.core.roles import Role
from backend.identity import repository
from backend.identity.actor import Actor
from backend.identity.credentials import TOKEN_PREFIX, api_token
from backend.identity.secrets import new_token, token_hash
from backend.studio.context import Studio
from backend.studio.directory import KEY
from backend.studio.public_url import link_base
from backend.tables.api_token import ApiToken
from backend.tables.link import Link
from backend.tables.setting import Setting
from backend.tables.user import User

SESSION_LASTS = timedelta(days=30)
_LINK = timedelta(days=7)


def me(db: Session, actor: Actor | None) -> Me:
    user = None if actor is None else db.get(User, actor.id)
    return Me(
        user=None if user is None else UserOut.model_validate(user), setup_required=not repository.admin_exists(db)
    )


# --- tokens ---------------------------------------------------------------------------------------------------


def tokens(db: Session, actor: Actor) -> list[TokenOut]:
    return [TokenOut.model_validate(row) for row in repository.tokens_of(db, actor.id)]


def create_token(db: Session, request: Request, actor: Actor, body: TokenIn) -> NewToken:
    """Raises ForbiddenError where an API token asks: revoking one that was stolen would leave those it had made."""
    if api_token(request) is not None:
        raise ForbiddenError("An API token cannot make another one. Sign in on the page and make it in the settings.")
    token = f"{TOKEN_PREFIX}{new_token()}"
    row = ApiToken(user_id=actor.id, name=body.name, token_sha256=token_hash(token))
    db.add(row)
    db.flush()
    record(db, actor, "token.create", row.id, name=body.name)
    return NewToken(id=row.id, name=row.name, created_at=row.created_at, last_used_at=None, token=token)


def revoke_token(db: Session, studio: Studio, actor: Actor, token_id: str) -> None:
    row = db.get(ApiToken, token_id)
    if row is None or row.user_id != actor.id:
        raise NotFoundError("There is no such token of yours.")
    record(db, actor, "token.revoke", row.id, name=row.name)
    db.delete(row)
    recheck_sockets(db, studio, actor.id)


# --- people ---------------------------------------------------------------------------------------------------


def users(db: Session) -> list[UserOut]:
    return [UserOut.model_validate(row) for row in repository.users(db)]


def change_user(db: Session, studio: Studio, actor: Actor, user_id: str, body: UserPatch) -> UserOut:
    """Disabling ends all access at once; a role that may not invite ends the links that the person made."""
    repository.lock_people(db)
    user = person(db, user_id)
    was_admin = user.role == Role.ADMIN and not user.disabled
    if body.role is not None:
        user.role = body.role
    if body.disabled is not None:
        user.disabled = body.disabled
    db.flush()
    if was_admin and repository.active_admins(db) == 0:
        raise ConflictError("This is the last administrator; make somebody else administrator first.")
    ended = AccessEnded()
    if user.disabled:
        ended = end_access(db, studio, user)
    elif was_admin and user.role != Role.ADMIN:
        ended = AccessEnded(links=repository.end_links(db, user.id))
    recheck_sockets(db, studio, user.id)
    record(
        db,
        actor,
        "user.change",
        user.id,
        name=user.name,
        role=user.role,
        disabled=user.disabled,
        ended=ended.model_dump(),
    )
    return UserOut.model_validate(user)


def reset_password(db: Session, studio: Studio, request: Request, actor: Actor, user_id: str) -> LinkOut:
    """A newer link voids those before it."""
    user = person(db, user_id)
    if user.disabled:
        raise ConflictError(f"The account of {user.name} is disabled; enable it first.")
    repository.end_resets(db, user.id)
    record(db, actor, "user.reset", user.id, name=user.name)
    return _new_link(db, studio, request, actor, Link(user_id=user.id))


def invite(db: Session, studio: Studio, request: Request, actor: Actor, body: InvitationIn) -> LinkOut:
    record(db, actor, "user.invite", None, role=body.role)
    return _new_link(db, studio, request, actor, Link(role=body.role))


def _new_link(db: Session, studio: Studio, request: Request, actor: Actor, link: Link) -> LinkOut:
    token = new_token()
    link.token_sha256, link.created_by, link.expires_at = token_hash(token), actor.id, database_now(db) + _LINK
    db.add(link)
    db.flush()
    url = f"{link_base(studio, request)}/link?token={quote(token)}"
    return LinkOut(id=link.id, url=url, expires_at=link.expires_at)


def invitations(db: Session) -> list[InvitationOut]:
    rows = repository.open_invitations(db, database_now(db))
    return [
        InvitationOut(
            id=row.id, role=row.role, created_at=row.created_at, expires_at=row.expires_at, created_by_name=name
        )
        for row, name in rows
        if row.role is not None
    ]


def withdraw(db: Session, actor: Actor, invitation_id: str) -> None:
    link = db.get(Link, invitation_id)
    if link is None or link.user_id is not None:
        raise NotFoundError("There is no such invitation.")
    record(db, actor, "user.uninvite", None, role=link.role)
    db.delete(link)


def resets(db: Session) -> list[ResetOut]:
    return [
        ResetOut(
            id=row.id,
            user_id=user.id,
            user_name=user.name,
            created_at=row.created_at,
            expires_at=row.expires_at,
            created_by_name=name,
        )
        for row, user, name in repository.open_resets(db, database_now(db))
    ]


def withdraw_reset(db: Session, actor: Actor, reset_id: str) -> None:
    link = db.get(Link, reset_id)
    if link is None or link.user_id is None:
        raise NotFoundError("There is no such link for a new password.")
    record(db, actor, "user.unreset", link.user_id, name=person(db, link.user_id).name)
    db.delete(link)


def person(db: Session, user_id: str) -> User:
    user = db.get(User, user_id)
    if user is None:
        raise NotFoundError("There is no such account.")
    return user


# --- settings -------------------------------------------------------------------------------------------------


def settings(db: Session, studio: Studio) -> StudioSettings:
    given = studio.settings
    row = db.get(Setting, KEY)
    return StudioSettings(
        public_url=given.public_url or (row.value.get("url") if row else None),
        public_url_from_environment=given.public_url is not None,
        import_roots=[str(root) for root in given.import_roots],
        model_roots=[str(root) for root in given.model_roots],
        data=str(given.data),
        version=dexvla.__version__,
    )


def change_settings(db: Session, studio: Studio, actor: Actor, body: StudioSettingsPatch) -> StudioSettings:
    if studio.settings.public_url is not None:
        raise ConflictError("STUDIO_PUBLIC_URL is set in the environment and goes first; change it there.")
    row = db.get(Setting, KEY)
    if row is None:
        row = Setting(key=KEY, value={})
        db.add(row)
    url = body.public_url
    row.value = {"url": url}
    db.flush()
    after_commit(db, lambda: studio.directory.take_public_url(url))
    record(db, actor, "settings.change", None, public_url=row.value["url"])
    return settings(db, studio)

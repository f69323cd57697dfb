"""Signing in, people, tokens, links, and the settings made in the page."""

from datetime import timedelta
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.requests import HTTPConnection
from sqlalchemy.orm import Session

import dexvla
from backend.access import Actor
from backend.audit.service import record
from backend.auth import repository
from backend.auth.models import ApiToken, Link, LoginSession, Setting, User
from backend.auth.public_url import KEY, link_base, public_url
from backend.auth.roles import Role
from backend.auth.schemas import (
    InvitationIn,
    InvitationOut,
    LinkAccept,
    LinkInfo,
    LinkOut,
    LoginIn,
    Me,
    NewToken,
    PasswordIn,
    SetupIn,
    StudioSettings,
    StudioSettingsPatch,
    TokenIn,
    TokenOut,
    UserOut,
    UserPatch,
)
from backend.auth.secrets import (
    forget_setup_token,
    hash_password,
    is_setup_token,
    new_token,
    password_matches,
    token_hash,
)
from backend.context import Studio
from backend.db import utc_now
from backend.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, TooManyError
from backend.origin import SESSION_COOKIE

_SESSION = timedelta(days=30)
_LINK = timedelta(days=7)
_TOUCH = timedelta(minutes=5)


def identify(studio: Studio, connection: HTTPConnection) -> Actor | None:
    """Who the cookie or the bearer token belongs to. A token goes before a cookie."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    cookie = connection.cookies.get(SESSION_COOKIE)
    if scheme.lower() == "bearer" and token:
        return _by_token(studio, token.strip())
    if not cookie:
        return None
    with studio.db.transaction(write=False) as db:
        user = repository.session_user(db, token_hash(cookie), utc_now())
        return None if user is None else _actor(user)


def _by_token(studio: Studio, token: str) -> Actor | None:
    now = utc_now()
    with studio.db.transaction(write=False) as db:
        found = repository.token_of(db, token_hash(token))
        if found is None:
            return None
        actor, stale = _actor(found.user), found.last_used_at is None or now - found.last_used_at > _TOUCH
    if stale:
        with studio.db.transaction() as db:
            repository.touch_token(db, found.id, now)
    return actor


def _actor(user: User) -> Actor:
    return Actor(id=user.id, name=user.name, role=Role(user.role))


def me(db: Session, actor: Actor | None) -> Me:
    user = None if actor is None else db.get(User, actor.id)
    return Me(
        user=None if user is None else UserOut.model_validate(user), setup_required=not repository.admin_exists(db)
    )


# --- signing in and out --------------------------------------------------------------------------------------


def set_up(db: Session, studio: Studio, request: Request, response: Response, body: SetupIn) -> Me:
    if repository.admin_exists(db):
        raise ConflictError("An administrator exists already; sign in, or ask them for an invitation.")
    if not is_setup_token(studio.settings.folder.secrets, body.token):
        raise ForbiddenError("This setup link is not the studio's. Use the link that the last start printed.")
    user = User(name=body.name, password_hash=hash_password(body.password.get_secret_value()), role=Role.ADMIN)
    db.add(user)
    db.flush()
    record(db, _actor(user), "auth.setup", user.id)
    forget_setup_token(studio.settings.folder.secrets)
    return _sign_in(db, studio, request, response, user)


def log_in(db: Session, studio: Studio, request: Request, response: Response, body: LoginIn) -> Me:
    key = f"{request.client.host if request.client else ''}|{body.name.lower()}"
    wait = studio.sign_in_brake.wait_seconds(key)
    if wait > 0:
        raise TooManyError(f"Too many failed attempts. Try again in {int(wait) + 1} s.")
    user = repository.user_by_name(db, body.name)
    fits = password_matches(body.password.get_secret_value(), None if user is None else user.password_hash)
    if user is None or not fits or user.disabled:
        studio.sign_in_brake.failed(key)
        raise ForbiddenError("Name or password is wrong, or the account is switched off. An administrator can help.")
    return _sign_in(db, studio, request, response, user)


def _sign_in(db: Session, studio: Studio, request: Request, response: Response, user: User) -> Me:
    token, now = new_token(), utc_now()
    repository.end_expired_sessions(db, now)
    db.add(LoginSession(token_sha256=token_hash(token), user_id=user.id, created_at=now, expires_at=now + _SESSION))
    address = public_url(studio)
    secure = address.startswith("https:") if address else request.url.scheme == "https"
    response.set_cookie(
        SESSION_COOKIE, token, max_age=int(_SESSION.total_seconds()), httponly=True, samesite="lax", secure=secure
    )
    return Me(user=UserOut.model_validate(user), setup_required=False)


def log_out(db: Session, request: Request, response: Response) -> None:
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        session = db.get(LoginSession, token_hash(token))
        if session is not None:
            db.delete(session)
    response.delete_cookie(SESSION_COOKIE)


def change_password(db: Session, request: Request, actor: Actor, body: PasswordIn) -> None:
    user = _user(db, actor.id)
    if not password_matches(body.current.get_secret_value(), user.password_hash):
        raise InvalidError("The current password is wrong.", fields={"current": "wrong"})
    user.password_hash = hash_password(body.new.get_secret_value())
    cookie = request.cookies.get(SESSION_COOKIE)
    repository.end_sessions(db, user.id, keep=token_hash(cookie) if cookie else None)
    record(db, actor, "auth.password", user.id)


# --- tokens ---------------------------------------------------------------------------------------------------


def tokens(db: Session, actor: Actor) -> list[TokenOut]:
    return [TokenOut.model_validate(row) for row in repository.tokens_of(db, actor.id)]


def create_token(db: Session, actor: Actor, body: TokenIn) -> NewToken:
    token = f"dvs_{new_token()}"
    row = ApiToken(user_id=actor.id, name=body.name, token_sha256=token_hash(token))
    db.add(row)
    db.flush()
    record(db, actor, "token.create", row.id, name=body.name)
    return NewToken(id=row.id, name=row.name, created_at=row.created_at, last_used_at=None, token=token)


def revoke_token(db: Session, actor: Actor, token_id: str) -> None:
    row = db.get(ApiToken, token_id)
    if row is None or row.user_id != actor.id:
        raise NotFoundError("There is no such token of yours.")
    record(db, actor, "token.revoke", row.id, name=row.name)
    db.delete(row)


# --- people ---------------------------------------------------------------------------------------------------


def users(db: Session) -> list[UserOut]:
    return [UserOut.model_validate(row) for row in repository.users(db)]


def change_user(db: Session, actor: Actor, user_id: str, body: UserPatch) -> UserOut:
    user = _user(db, user_id)
    was_admin = user.role == Role.ADMIN and not user.disabled
    if body.role is not None:
        user.role = body.role
    if body.disabled is not None:
        user.disabled = body.disabled
    db.flush()
    if was_admin and repository.active_admins(db) == 0:
        raise ConflictError("This is the last administrator; make somebody else administrator first.")
    if user.disabled:
        repository.end_sessions(db, user.id)
    record(db, actor, "user.change", user.id, name=user.name, role=user.role, disabled=user.disabled)
    return UserOut.model_validate(user)


def reset_password(db: Session, studio: Studio, request: Request, actor: Actor, user_id: str) -> LinkOut:
    user = _user(db, user_id)
    record(db, actor, "user.reset", user.id, name=user.name)
    return _new_link(db, studio, request, actor, Link(user_id=user.id))


def invite(db: Session, studio: Studio, request: Request, actor: Actor, body: InvitationIn) -> LinkOut:
    record(db, actor, "user.invite", None, role=body.role)
    return _new_link(db, studio, request, actor, Link(role=body.role))


def _new_link(db: Session, studio: Studio, request: Request, actor: Actor, link: Link) -> LinkOut:
    token = new_token()
    link.token_sha256, link.created_by, link.expires_at = token_hash(token), actor.id, utc_now() + _LINK
    db.add(link)
    db.flush()
    url = f"{link_base(studio, request)}/link?token={quote(token)}"
    return LinkOut(id=link.id, url=url, expires_at=link.expires_at)


def invitations(db: Session) -> list[InvitationOut]:
    return [InvitationOut.model_validate(row) for row in repository.open_invitations(db, utc_now())]


def withdraw(db: Session, actor: Actor, invitation_id: str) -> None:
    link = db.get(Link, invitation_id)
    if link is None or link.user_id is not None:
        raise NotFoundError("There is no such invitation.")
    record(db, actor, "user.uninvite", None, role=link.role)
    db.delete(link)


def link(db: Session, token: str) -> LinkInfo:
    found = _open_link(db, token)
    if found.user_id is None:
        return LinkInfo(kind="invitation", role=found.role, name=None)
    return LinkInfo(kind="reset", role=None, name=_user(db, found.user_id).name)


def accept(db: Session, studio: Studio, request: Request, response: Response, body: LinkAccept) -> Me:
    found = _open_link(db, body.token)
    password = hash_password(body.password.get_secret_value())
    if found.user_id is not None:
        user = _user(db, found.user_id)
        user.password_hash = password
        repository.end_sessions(db, user.id)
        action = "auth.reset"
    else:
        if body.name is None:
            raise InvalidError("Choose a name.", fields={"name": "choose one"})
        if repository.user_by_name(db, body.name) is not None:
            raise ConflictError(f"The name {body.name} is taken; choose another.", fields={"name": "taken"})
        assert found.role is not None
        user = User(name=body.name, password_hash=password, role=found.role)
        db.add(user)
        action = "auth.join"
    db.flush()
    found.used_at = utc_now()
    record(db, _actor(user), action, user.id)
    return _sign_in(db, studio, request, response, user)


def _open_link(db: Session, token: str) -> Link:
    found = repository.open_link(db, token_hash(token), utc_now())
    if found is None:
        raise NotFoundError("This link was used already, or is older than 7 days. Ask an administrator for a new one.")
    return found


def _user(db: Session, user_id: str) -> User:
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
    row.value = {"url": body.public_url.rstrip("/") if body.public_url else None}
    db.flush()
    record(db, actor, "settings.change", None, public_url=row.value["url"])
    return settings(db, studio)

"""Whatever takes a password: first start, signing in, links, changing it.

Each in three parts: read what is stored, hash beside the event loop with no transaction open, and write in a short
transaction that looks again at what the first part read.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from backend.access.identify import to_actor
from backend.accounts.ending import end_access, recheck_sockets
from backend.accounts.schemas import AccessEnded, LinkAccept, LinkInfo, LoginIn, Me, PasswordIn, SetupIn, UserOut
from backend.accounts.service import SESSION_LASTS, person
from backend.audit.service import record
from backend.core.db import after_commit, database_now, utc_now
from backend.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from backend.core.roles import Role
from backend.identity import repository
from backend.identity.actor import Actor
from backend.identity.credentials import SESSION_COOKIE, session_cookie
from backend.identity.rate_limit import TRIES_PER_PAIR, Attempt, Devices, network_of
from backend.identity.secrets import forget_setup_token, is_setup_token, new_token, token_hash
from backend.studio.context import Studio
from backend.studio.public_url import public_url
from backend.tables.link import Link
from backend.tables.login_session import LoginSession
from backend.tables.user import User

_DEVICE_SECONDS = 365 * 86_400
_WRONG = "Name or password is wrong, or the account is switched off. An administrator can help."
_CHANGED = "The password was changed by somebody else in this moment. Sign in again."


# --- signing in and out --------------------------------------------------------------------------------------


async def log_in(studio: Studio, request: Request, response: Response, body: LoginIn) -> Me:
    device = studio.devices.device(request.cookies.get(Devices.COOKIE), body.name)
    caller = _address(request)

    def write() -> Me:
        with studio.db.transaction() as db:
            user = repository.user_by_name(db, body.name)
            if user is None or user.disabled or user.password_hash != stored:
                raise ForbiddenError(_WRONG)
            return _sign_in(db, studio, request, response, user)

    with _counted(studio, studio.sign_in_limiter.sign_in(body.name, caller, device)):
        stored = await run_in_threadpool(_stored_hash, studio, body.name)
        password = body.password.get_secret_value()
        if not await studio.hashing.matches(password, stored, caller=device or caller, known=device is not None):
            raise ForbiddenError(_WRONG)
        return await run_in_threadpool(write)


@contextmanager
def _counted(studio: Studio, attempt: Attempt) -> Iterator[None]:
    """Only a wrong password goes on counting as a try: nobody is slowed down for what the studio could not do, because
    too many ask, or its database is locked or full."""
    try:
        yield
    except (ForbiddenError, InvalidError):
        raise
    except Exception:
        studio.sign_in_limiter.forgive(attempt)
        raise
    studio.sign_in_limiter.forgive(attempt)


def log_out(db: Session, studio: Studio, request: Request, response: Response) -> None:
    token = session_cookie(request)
    if token:
        session = db.get(LoginSession, token_hash(token))
        if session is not None:
            db.delete(session)
            recheck_sockets(db, studio, session.user_id)
        response.delete_cookie(SESSION_COOKIE)


def _sign_in(db: Session, studio: Studio, request: Request, response: Response, user: User) -> Me:
    token, now = new_token(), utc_now()
    db.add(
        LoginSession(token_sha256=token_hash(token), user_id=user.id, created_at=now, expires_at=now + SESSION_LASTS)
    )
    address = public_url(studio)
    secure = address.startswith("https:") if address else request.scope["scheme"] == "https"
    seconds = int(SESSION_LASTS.total_seconds())
    response.set_cookie(SESSION_COOKIE, token, max_age=seconds, httponly=True, samesite="lax", secure=secure)
    if studio.devices.device(request.cookies.get(Devices.COOKIE), user.name) is None:
        response.set_cookie(
            Devices.COOKIE,
            studio.devices.cookie(user.name),
            max_age=_DEVICE_SECONDS,
            path="/api/auth",
            httponly=True,
            samesite="strict",
            secure=secure,
        )
    return Me(user=UserOut.model_validate(user), setup_required=False)


def _stored_hash(studio: Studio, name: str) -> str | None:
    with studio.db.transaction(write=False) as db:
        user = repository.user_by_name(db, name)
        return None if user is None else user.password_hash


def _address(request: Request) -> str:
    return network_of(request.client.host if request.client else None)


# --- the first administrator ----------------------------------------------------------------------------------


async def set_up(studio: Studio, request: Request, response: Response, body: SetupIn) -> Me:
    def allowed(db: Session) -> None:
        if repository.admin_exists(db):
            raise ConflictError("An administrator exists already; sign in, or ask them for an invitation.")
        if not is_setup_token(studio.settings.folder.secrets, body.token):
            raise ForbiddenError("This setup link is not the studio's. Use the link that the last start printed.")

    def read() -> None:
        with studio.db.transaction(write=False) as db:
            allowed(db)

    def write(password_hash: str) -> Me:
        with studio.db.transaction() as db:
            repository.lock_people(db)
            allowed(db)
            user = User(name=body.name, password_hash=password_hash, role=Role.ADMIN)
            db.add(user)
            db.flush()
            record(db, to_actor(user), "auth.setup", user.id)
            folder = studio.settings.folder.secrets
            after_commit(db, lambda: forget_setup_token(folder))
            return _sign_in(db, studio, request, response, user)

    await run_in_threadpool(read)
    password = body.password.get_secret_value()
    return await run_in_threadpool(write, await studio.hashing.hash(password, caller=_address(request), known=True))


# --- links ----------------------------------------------------------------------------------------------------


def link(db: Session, token: str) -> LinkInfo:
    found = _open_link(db, token)
    if found.user_id is None:
        return LinkInfo(kind="invitation", role=found.role, name=None)
    return LinkInfo(kind="reset", role=None, name=person(db, found.user_id).name)


async def accept(studio: Studio, request: Request, response: Response, body: LinkAccept) -> Me:
    def read() -> None:
        with studio.db.transaction(write=False) as db:
            _named(db, _open_link(db, body.token), body)

    def write(password_hash: str) -> Me:
        with studio.db.transaction() as db:
            repository.lock_people(db)
            found = _open_link(db, body.token)
            _named(db, found, body)
            found.used_at = utc_now()
            db.flush()
            if found.user_id is None:
                assert found.role is not None
                assert body.name is not None
                user = User(name=body.name, password_hash=password_hash, role=found.role)
                db.add(user)
            else:
                user = person(db, found.user_id)
                user.password_hash = password_hash
                end_access(db, studio, user)
            db.flush()
            record(db, to_actor(user), "auth.join" if found.user_id is None else "auth.reset", user.id)
            return _sign_in(db, studio, request, response, user)

    await run_in_threadpool(read)
    password = body.password.get_secret_value()
    return await run_in_threadpool(write, await studio.hashing.hash(password, caller=_address(request), known=True))


def _open_link(db: Session, token: str) -> Link:
    found = repository.open_link(db, token_hash(token), database_now(db))
    if found is None:
        raise NotFoundError(
            "This link was used or withdrawn, is too old, or a newer one took its place. Ask an administrator for a "
            "new one."
        )
    return found


def _named(db: Session, found: Link, body: LinkAccept) -> None:
    """Raises an error if the link makes an account and the name will not do."""
    if found.user_id is not None:
        return
    if body.name is None:
        raise InvalidError("Choose a name.", fields={"name": "choose one"})
    if repository.user_by_name(db, body.name) is not None:
        raise ConflictError(f"The name {body.name} is taken; choose another.", fields={"name": "taken"})


# --- the password ---------------------------------------------------------------------------------------------


async def change_password(studio: Studio, request: Request, actor: Actor, body: PasswordIn) -> AccessEnded:
    current, new = body.current.get_secret_value(), body.new.get_secret_value()
    with _counted(studio, studio.sign_in_limiter.attempt({f"password|{actor.id}": TRIES_PER_PAIR})):
        stored = await run_in_threadpool(_stored_hash, studio, actor.name)
        if not await studio.hashing.matches(current, stored, caller=actor.id, known=True):
            raise InvalidError("The current password is wrong.", fields={"current": "wrong"})
        password_hash = await studio.hashing.hash(new, caller=actor.id, known=True)

    def write() -> AccessEnded:
        with studio.db.transaction() as db:
            user = person(db, actor.id)
            if user.password_hash != stored or user.disabled:
                raise ConflictError(_CHANGED)
            user.password_hash = password_hash
            cookie = session_cookie(request)
            ended = end_access(db, studio, user, keep=token_hash(cookie) if cookie else None)
            record(db, actor, "auth.password", user.id, **ended.model_dump())
            return ended

    return await run_in_threadpool(write)

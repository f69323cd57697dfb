"""Requests that change something, and sockets, must come from our own page: exact Origin, no wildcard.

Scripts that send an API token carry no Origin and need none: with it a cookie counts for nothing, and no page of
another site can add it. Any other `Authorization` (a proxy's, another program's) changes nothing.
"""

from urllib.parse import urlsplit

from sqlalchemy.exc import DatabaseError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.identity.credentials import SESSION_COOKIE, api_token
from backend.studio.context import studio_of
from backend.studio.public_url import public_url

_SAFE = {"GET", "HEAD", "OPTIONS"}


class OriginCheck:
    """Refuses cross-site requests with 403, and cross-site sockets before they are accepted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (scope["type"] == "http" and scope["method"] not in _SAFE) or scope["type"] == "websocket":
            connection = HTTPConnection(scope)
            # Without the copy in memory our own address is asked of the database, which may keep us waiting.
            known = studio_of(connection).directory.filled
            wrong = _refusal(connection) if known else await run_in_threadpool(_refusal, connection)
            if wrong is not None:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 4403, "reason": "foreign origin"})
                    return
                error: dict[str, object] = {"code": "foreign_origin", "message": wrong, "fields": {}, "detail": None}
                await JSONResponse({"error": error}, status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _refusal(connection: HTTPConnection) -> str | None:
    origin = connection.headers.get("origin")
    if origin is None:
        if connection.cookies.get(SESSION_COOKIE) and api_token(connection) is None:
            return "This request carries a sign-in cookie but no Origin; scripts send an API token instead."
        return None
    allowed = allowed_origins(connection)
    if origin in allowed:
        return None
    known = f"this studio is {' or '.join(sorted(allowed))}"
    if not allowed:
        known = (
            f"and was sent to {connection.headers.get('host') or 'no host'}, which this studio does not know as its own"
        )
    return (
        f"The request came from {origin}, {known}. Behind a proxy, an "
        "administrator sets the public address in Settings, or STUDIO_PUBLIC_URL."
    )


def allowed_origins(connection: HTTPConnection) -> set[str]:
    """The public URL if one is set; otherwise the address the request was sent to, if that is this machine's."""
    studio = studio_of(connection)
    try:
        public = public_url(studio)
    except DatabaseError:  # whoever answers the request says so, in words
        public = None
    host = connection.headers.get("host", "")
    own = _own_hosts(studio.settings.host, host)
    origins = {f"{scheme}://{host}" for scheme in ("http", "https") if own}
    return origins | ({public} if public else set())


def _own_hosts(bound: str, host: str) -> bool:
    """Against DNS rebinding: a studio on loopback answers to loopback names only."""
    name = urlsplit(f"//{host}").hostname or ""
    loopback = {"127.0.0.1", "localhost", "::1"}
    if bound in loopback:
        return name in loopback
    return bool(name)

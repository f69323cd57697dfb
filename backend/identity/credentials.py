"""How somebody says who they are: a browser by its cookie, a script by an API token."""

from starlette.requests import HTTPConnection

SESSION_COOKIE = "studio_session"
TOKEN_PREFIX = "dvs_"


def api_token(connection: HTTPConnection) -> str | None:
    """The API token in `Authorization`, or None: what a proxy or another program put there is nothing of ours."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token.startswith(TOKEN_PREFIX) else None


def session_cookie(connection: HTTPConnection) -> str | None:
    """The cookie, unless an API token came with it: then it counts for nothing, for its Origin was not looked at."""
    return None if api_token(connection) is not None else connection.cookies.get(SESSION_COOKIE)

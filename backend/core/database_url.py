"""DATABASE_URL as people and Compose files write it, into the one form that SQLAlchemy reads."""

import re
from urllib.parse import quote, unquote

_DRIVER = "psycopg"
_SERVER = re.compile(
    r"postgres(?:ql)?(?:\+(?P<driver>\w+))?://"
    # A password may hold anything as it is, also "@", "/" and "#": the last "@" that leaves a host behind it ends it.
    r"(?:(?P<user>[^:@/?#]*)(?::(?P<password>.*))?@)?"
    r"(?P<host>\[[^\]@/?#]+\]|[^:@/?#\[\]\s]*)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?P<name>[^@/?#\s]*))?(?:\?(?P<query>[^@\s]*))?",
    re.DOTALL,
)
_EXPECTED = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/NAME with what is special in the password percent-encoded "
    "(or the password apart, as it is, in DATABASE_PASSWORD), or sqlite:///FILE"
)


def plain_database_url(url: str, password: str | None) -> str:
    """`url` with everything special in it percent-encoded and with the driver named.

    password: as it is, for a `url` without one. Raises ValueError, whose text never holds any part of a password.
    """
    if url.startswith("sqlite:"):
        if password is not None:
            raise ValueError("DATABASE_PASSWORD is set, and an SQLite file has no password; unset it")
        return url
    found = _SERVER.fullmatch(url)
    if found is None:
        raise ValueError(f"it cannot be read; {_EXPECTED}")
    if found["driver"] not in (None, _DRIVER):
        raise ValueError(f"the driver {found['driver']!r} is not part of the studio; write postgresql://")
    own = None if found["password"] is None else unquote(found["password"])
    if own is not None and password is not None and own != password:
        raise ValueError("it holds a password, and DATABASE_PASSWORD is another one; keep one of them")
    given = password if own is None else own
    if given is not None and not found["user"]:
        raise ValueError("there is a password and no user; write postgresql://USER@HOST/NAME")
    user = quote(unquote(found["user"] or ""), safe="")
    who = user if given is None else f"{user}:{quote(given, safe='')}"
    port = f":{found['port']}" if found["port"] else ""
    name = "" if found["name"] is None else f"/{found['name']}"
    query = "" if found["query"] is None else f"?{found['query']}"
    return f"postgresql+{_DRIVER}://{who}{'@' if who else ''}{found['host']}{port}{name}{query}"

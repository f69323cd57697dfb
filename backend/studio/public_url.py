"""The address under which browsers reach the studio, for links and for the check of origins."""

from starlette.requests import HTTPConnection

from backend.studio.context import Studio
from backend.studio.directory import KEY
from backend.tables.setting import Setting


def public_url(studio: Studio) -> str | None:
    """From the environment, else as set in the page, else None."""
    if studio.settings.public_url:
        return studio.settings.public_url
    if studio.directory.filled:
        return studio.directory.public_url
    with studio.db.transaction(write=False) as db:
        row = db.get(Setting, KEY)
        return None if row is None else row.value.get("url")


def link_base(studio: Studio, connection: HTTPConnection) -> str:
    """Where a link that is given to somebody starts; no slash at the end."""
    return public_url(studio) or f"{connection.url.scheme}://{connection.headers.get('host', 'localhost')}"

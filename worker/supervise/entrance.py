"""The address that a start prints: the setup link until an administrator exists."""

from urllib.parse import quote

from backend.core.db import Database
from backend.core.settings import Settings
from backend.identity.repository import admin_exists
from backend.identity.secrets import setup_token


def entrance(settings: Settings, database: Database, port: int) -> str:
    base = settings.public_url or address(settings, port)
    with database.transaction(write=False) as db:
        if admin_exists(db):
            return f"{base}/"
    return f"{base}/setup?token={quote(setup_token(settings.folder.secrets))}"


def address(settings: Settings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"

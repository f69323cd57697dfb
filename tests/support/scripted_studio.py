"""A studio with a robot, driven as a script does it: by an operator's API token that was never used."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.secrets import token_hash
from backend.tables.api_token import ApiToken
from backend.tables.audit_entry import AuditEntry
from backend.tables.user import User
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.processes import children
from tests.support.robot_hosts import broker, robot_host, until

URL = "/api/robots/aloha-sim"
TOKEN = "dvs_" + "x" * 43


@contextmanager
def scripted_studio(settings: Settings) -> Iterator[LiveStudio]:
    """Its broker and its robot host run too, and the robot holds."""
    settings.folder.prepare()
    with broker(settings), live_studio(settings) as studio, robot_host(settings):
        with studio.parts.db.transaction() as db:
            user = User(name="script", password_hash="x", role=Role.OPERATOR)
            db.add(user)
            db.flush()
            db.add(ApiToken(user_id=user.id, name="t", token_sha256=token_hash(TOKEN)))
        until(lambda: robot_state(studio) == "holding", 90)
        yield studio


def ask(
    studio: LiveStudio, method: str, path: str, body: bytes | None = None, *, token: str | None = TOKEN, **headers: str
) -> tuple[int, Any]:
    """Status and JSON, as a script asks."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    try:
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None
    finally:
        connection.close()


def rearm(studio: LiveStudio) -> None:
    until(lambda: ask(studio, "POST", f"{URL}/arm")[0] == 200)


def robot_state(studio: LiveStudio) -> str | None:
    found = [one for one in ask(studio, "GET", "/api/robots")[1] if one["name"] == "aloha-sim"]
    return found[0]["status"]["state"] if found else None


def entries(studio: LiveStudio) -> list[str]:
    with studio.parts.db.transaction(write=False) as db:
        entries = db.query(AuditEntry).filter(AuditEntry.subject == "aloha-sim").order_by(AuditEntry.created_at)
        return [entry.action for entry in entries]


def application_pid(studio: LiveStudio) -> int:
    """Process of the application behind the gateway."""
    (found,) = children(studio.process.pid, "application")
    return found

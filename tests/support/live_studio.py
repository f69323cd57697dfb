"""A studio as people meet it, for tests of the live routes: a real API process on a real port, people who are signed
in, sockets that send what a browser sends."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from backend.core.roles import Role
from backend.core.settings import Settings
from backend.studio.context import Studio
from backend.tables.user import User
from dexvla.live.messages import FRAME_HEADER, LiveState
from tests.support.databases import make_tables
from tests.support.paths import ROOT
from tests.support.people import PASSWORD, PASSWORD_HASH


class LiveStudio:
    """`studio api` in a process of its own; `parts` are those of this process, on the same data."""

    def __init__(self, parts: Studio, process: subprocess.Popen[bytes], port: int) -> None:
        self.parts, self.process, self.port = parts, process, port
        self._cookies: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cookie(self, name: str, role: Role | None = None) -> str:
        """Signs in `name`, by default of the role of that name, who is made if needed."""
        if name not in self._cookies:
            with self.parts.db.transaction() as db:
                db.add(User(name=name, password_hash=PASSWORD_HASH, role=role or Role(name)))
            answer, headers = self.request("POST", "/api/auth/login", {"name": name, "password": PASSWORD})
            assert answer == 200, headers
            self._cookies[name] = self._last_cookie
        return self._cookies[name]

    def request(self, method: str, path: str, body: object = None, *, who: str | None = None) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {"Origin": self.origin, "Content-Type": "application/json"}
        if who is not None:
            headers["Cookie"] = self.cookie(who)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            self._last_cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()

    def socket(
        self, kind: str, who: str | None, *, robot: str = "aloha-sim", origin: str | None = None
    ) -> ClientConnection:
        headers = {} if who is None else {"Cookie": self.cookie(who)}
        url = f"ws://127.0.0.1:{self.port}/api/live/{robot}/{kind}"
        return connect(url, additional_headers=headers, origin=origin or self.origin, compression=None, close_timeout=2)


@contextmanager
def live_studio(settings: Settings) -> Iterator[LiveStudio]:
    """Tables are made; the API is killed at the end if it still runs."""
    settings.folder.prepare()
    parts = Studio.open(settings)
    make_tables(parts.db)
    port = _free_port()
    code = "from backend.core.settings import Settings; from worker.supervise.api import serve; serve(Settings())"
    environment = os.environ | settings.environment() | {"REDIS_URL": settings.events_url, "STUDIO_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    studio = LiveStudio(parts, process, port)
    try:
        deadline = time.monotonic() + 120
        while True:
            with suppress(OSError):
                if studio.request("GET", "/api/health")[0] == 200:
                    break
            assert time.monotonic() < deadline, "the API did not start"
            time.sleep(0.05)
        yield studio
    finally:
        process.kill()
        process.wait()
        parts.close()


def next_state(connection: ClientConnection) -> LiveState:
    return LiveState.model_validate_json(connection.recv(timeout=10))


def closing(connection: ClientConnection, seconds: float = 10.0) -> tuple[int | None, str]:
    """Code and reason with which the other side closes; what it says before is read and dropped."""
    deadline = time.monotonic() + seconds
    with suppress(ConnectionClosed):
        while True:
            connection.recv(timeout=max(0.0, deadline - time.monotonic()))
    return connection.close_code, connection.close_reason or ""


class ReceivedFrame:
    """A binary message of the video socket."""

    def __init__(self, data: bytes) -> None:
        self.number, self.age, length = FRAME_HEADER.unpack_from(data)
        self.camera = data[FRAME_HEADER.size : FRAME_HEADER.size + length].decode()
        self.jpeg = data[FRAME_HEADER.size + length :]


class Viewer:
    """A page's video: watches, and acknowledges each frame as soon as it has arrived."""

    def __init__(self, connection: ClientConnection, *cameras: str) -> None:
        self.connection = connection
        self.watch(*cameras)

    def watch(self, *cameras: str) -> None:
        self.connection.send(json.dumps({"type": "watch", "cameras": cameras}))

    def see(self, *, acknowledge: bool = True, seconds: float = 10.0) -> ReceivedFrame:
        data = self.connection.recv(timeout=seconds)
        assert isinstance(data, bytes)
        frame = ReceivedFrame(data)
        if acknowledge:
            self.acknowledge(frame)
        return frame

    def acknowledge(self, frame: ReceivedFrame) -> None:
        self.connection.send(json.dumps({"type": "ack", "camera": frame.camera, "number": frame.number}))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

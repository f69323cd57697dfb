"""A stop that needs nobody: whatever is locked, frozen, dead, flooded or full, and its answer says what is so."""

import json
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from websockets.sync.client import connect

from backend.core.db import utc_now
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.secrets import token_hash
from backend.system.schemas import Health
from backend.tables.api_token import ApiToken
from backend.tables.audit_entry import AuditEntry
from backend.tables.dataset import Dataset
from backend.tables.robot import RobotRow
from backend.tables.user import User
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.processes import children, frozen
from tests.support.robot_hosts import broker, robot_host, until
from tests.support.scripted_studio import TOKEN, URL, application_pid, ask, entries, rearm, robot_state, scripted_studio
from tests.support.servers import postgresql, postmaster
from tests.support.small_disk import small_disk
from worker.robot.latch import StopLatch


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStudio]:
    with scripted_studio(Settings(data=tmp_path_factory.mktemp("studio"))) as studio:
        yield studio


def test_a_stop_with_a_token_waits_for_no_lock_of_the_database(studio: LiveStudio) -> None:
    """Also with one whose last use has to be written down. What could not be written is told, and written later."""
    with studio.parts.db.transaction() as db:
        db.query(ApiToken).update({"last_used_at": None})
    lock = sqlite3.connect(studio.parts.settings.folder.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        status, answer = ask(studio, "POST", f"{URL}/stop")
        assert status == 200, answer
        assert answer["status"]["state"] == "stopped"
        assert answer["status"]["stopped_by"] == "script"
        assert "audit log" in answer["not_recorded"][-1]
        assert entries(studio) == []
        entry = f"/api/audit/{answer['audit_entry']}/written"
        assert ask(studio, "GET", entry) == (200, {"written": False})
        status, answer = ask(studio, "POST", f"{URL}/arm")
        assert (status, answer["status"]["state"]) == (200, "holding")
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    until(lambda: entries(studio) == ["robot.stop", "robot.arm"])
    assert ask(studio, "GET", entry) == (200, {"written": True})
    until(lambda: ask(studio, "GET", "/api/auth/tokens")[1][0]["last_used_at"] is not None)


def test_while_the_application_does_not_answer_a_stop_works_and_says_who(studio: LiveStudio) -> None:
    with frozen(application_pid(studio)):
        status, answer = ask(studio, "POST", f"{URL}/stop")
        assert (status, answer["status"]["state"], answer["status"]["stopped_by"]) == (200, "stopped", "script")
        status, answer = ask(studio, "POST", f"{URL}/arm")
        assert (status, answer["status"]["state"]) == (200, "holding")


def test_while_the_application_is_dead_a_stop_works_and_the_rest_is_503_until_it_is_back(studio: LiveStudio) -> None:
    before = application_pid(studio)
    os.kill(before, signal.SIGKILL)
    until(lambda: ask(studio, "GET", "/api/auth/me")[0] == 503, 10)
    status, health = ask(studio, "GET", "/api/health")
    assert (status, Health.model_validate(health).status) == (503, "degraded")
    status, answer = ask(studio, "GET", "/api/robots")
    assert status in (200, 503)  # it is back within seconds
    if status == 503:
        assert "Robots can be stopped all the same" in answer["error"]["message"]
    assert ask(studio, "POST", f"{URL}/stop")[1]["status"]["state"] == "stopped"
    until(lambda: ask(studio, "GET", "/api/auth/me")[0] == 200, 60)
    assert application_pid(studio) != before
    rearm(studio)


def test_a_host_that_does_not_answer_is_not_called_stopped(studio: LiveStudio) -> None:
    settings = studio.parts.settings
    with robot_host(settings, "sleepy") as host:
        until(lambda: _pid(studio, "sleepy") == host.pid, 60)
        with frozen(host.pid):
            status, answer = ask(studio, "POST", "/api/robots/sleepy/stop")
            assert status == 503
            assert "NOT been confirmed" in answer["error"]["message"]
            assert "emergency stop" in answer["error"]["message"]
        # it was said, and is heard when the host runs again
        until(lambda: "stopped" in _states(studio, "sleepy"), 20)


@pytest.mark.parametrize(("code", "content"), [(401, b"{}"), (404, b"{}"), (500, b"broken"), (200, b"not a status")])
def test_a_host_that_answers_something_else_is_not_called_stopped(
    studio: LiveStudio, code: int, content: bytes
) -> None:
    """A secret that was changed, a host that fails, or another program on its port."""

    class Odd(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    name = f"odd-{code}"
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with studio.parts.db.transaction() as db:
                address = f"127.0.0.1:{server.server_port}"
                db.add(RobotRow(name=name, kind="odd", address=address, seen_at=utc_now(), status={}))
            status, answer = ask(studio, "POST", f"/api/robots/{name}/stop")
        finally:
            server.shutdown()
    assert status == 503
    assert "NOT been confirmed" in answer["error"]["message"]
    assert "emergency stop" in answer["error"]["message"]
    until(lambda: _said_of(studio, name) == [{"confirmed": False}])


def _said_of(studio: LiveStudio, name: str) -> list[Any]:
    with studio.parts.db.transaction(write=False) as db:
        return list(db.scalars(select(AuditEntry.detail).where(AuditEntry.subject == name)))


def _states(studio: LiveStudio, name: str) -> list[str]:
    return [one["status"]["state"] for one in ask(studio, "GET", "/api/robots")[1] if one["name"] == name]


def _pid(studio: LiveStudio, name: str) -> int | None:
    found = [one for one in ask(studio, "GET", "/api/robots")[1] if one["name"] == name]
    return found[0]["status"]["pid"] if found and found[0]["status"]["state"] == "holding" else None


def test_who_may_stop_and_who_may_re_arm(studio: LiveStudio) -> None:
    assert ask(studio, "POST", f"{URL}/stop", token=None)[0] == 401
    assert ask(studio, "POST", f"{URL}/stop", token="dvs_" + "y" * 43)[0] == 401
    assert studio.request("POST", f"{URL}/stop", who="viewer")[0] == 200
    assert studio.request("POST", f"{URL}/arm", who="viewer")[0] == 403
    assert ask(studio, "POST", f"{URL}/stop", origin="http://elsewhere.example")[0] == 403
    assert ask(studio, "POST", "/api/robots/nobody/stop")[0] == 404
    rearm(studio)


def test_a_flood_of_idle_connections_leaves_room_for_a_stop(studio: LiveStudio) -> None:
    with ExitStack() as opened:
        for number in range(1100):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", studio.port), 10))
            if number % 2:
                with suppress(OSError):  # one of those that had to go
                    connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert ask(studio, "POST", f"{URL}/stop")[1]["status"]["state"] == "stopped"
        assert ask(studio, "GET", "/api/health")[0] == 200
    rearm(studio)


def test_on_a_full_disk_answers_say_what_was_done(tmp_path: Path) -> None:
    """Stop, re-arming, recording and discarding: all of it happens; it is written down, or the answer says that not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, kib=65536):
        settings = Settings(data=folder / "data")
        settings.folder.prepare()
        with broker(settings), live_studio(settings) as studio, robot_host(settings) as host:
            with studio.parts.db.transaction() as db:
                user = User(name="script", password_hash="x", role=Role.OPERATOR)
                db.add(user)
                db.add(Dataset(id="d" * 32, name="cups", cameras=[], vocabulary=[]))
                db.flush()
                db.add(ApiToken(user_id=user.id, name="t", token_sha256=token_hash(TOKEN), last_used_at=utc_now()))
            until(lambda: robot_state(studio) == "holding", 90)
            record = b'{"dataset_id": "%b", "instruction": "Lift it."}' % (b"d" * 32)
            json_type = {"Content_Type": "application/json"}
            assert ask(studio, "POST", "/api/live/aloha-sim/record", record, **json_type)[0] == 200
            with suppress(OSError), (folder / "large").open("wb", buffering=0) as large:
                while True:
                    large.write(bytes(4096))
            for path, expected in (
                (f"{URL}/stop", "stopped"),
                ("/api/live/aloha-sim/discard", "stopped"),
                (f"{URL}/arm", "holding"),
                (f"{URL}/stop", "stopped"),
            ):
                before = len(entries(studio))
                status, answer = ask(studio, "POST", path)
                assert (status, answer.get("status", {}).get("state")) == (200, expected), (path, answer)
                # with the reserve an entry may find room: then nothing is missing
                assert answer["not_recorded"] or len(entries(studio)) > before, (path, answer)
            host.kill()
            host.wait()
            found = StopLatch(settings.folder.robots / "aloha-sim.latch", ran_before=True).now
            assert found.stopped_by == "script", "a host that starts now starts stopped"
            (folder / "large").unlink()
            until(lambda: len(entries(studio)) >= 5, 60)


def test_while_postgresql_is_frozen_a_stop_works_and_a_page_still_sees_the_robot(
    postgresql_studio: tuple[LiveStudio, int],
) -> None:
    studio, server = postgresql_studio
    assert ask(studio, "POST", f"{URL}/stop")[0] == 200
    rearm(studio)
    with frozen(server, *children(server)):  # first the one that would start others
        status, answer = ask(studio, "POST", f"{URL}/stop")
        assert status == 200, answer
        assert answer["status"]["state"] == "stopped"
        assert answer["not_recorded"]
        with connect(
            f"ws://127.0.0.1:{studio.port}/api/live/aloha-sim/state",
            additional_headers={"Authorization": f"Bearer {TOKEN}"},
        ) as states:
            assert json.loads(states.recv(timeout=20))["status"]["state"] == "stopped"
        # nobody whom the copy in memory does not know, until the database has been away for a while
        stranger = "dvs_" + "z" * 43
        until(lambda: "not checked" in str(ask(studio, "POST", f"{URL}/stop", token=stranger)), 20)
        assert ask(studio, "POST", f"{URL}/stop", token="guess")[0] == 401
        assert ask(studio, "POST", f"{URL}/arm", token=stranger)[0] == 503
    until(lambda: ask(studio, "POST", f"{URL}/stop", token=stranger)[0] == 401, 20)
    until(lambda: entries(studio).count("robot.stop") >= 3, 30)


@pytest.fixture
def postgresql_studio(tmp_path: Path) -> Iterator[tuple[LiveStudio, int]]:
    """With the process of its database."""
    with postgresql(tmp_path) as port:
        settings = Settings(data=tmp_path / "data", database_url=f"postgresql://studio:secret@127.0.0.1:{port}/studio")
        with scripted_studio(settings) as studio:
            yield studio, postmaster(port)

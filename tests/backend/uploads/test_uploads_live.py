"""Uploads to a real server: it is killed in the middle, two send at once, and the documented scripts do their work."""

import hashlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.secrets import token_hash
from backend.tables.api_token import ApiToken
from backend.tables.episode import EpisodeRow
from backend.tables.user import User
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.paths import ROOT
from tests.support.robot_hosts import until
from tests.support.scripted_studio import TOKEN, application_pid, ask

pytestmark = pytest.mark.waiting

GUIDE = (ROOT / "docs" / "extend" / "uploads.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[LiveStudio]:
    with live_studio(Settings(data=tmp_path_factory.mktemp("live") / "studio", redis_url=broker_url)) as studio:
        with studio.parts.db.transaction() as db:
            user = User(name="script", password_hash="x", role=Role.OPERATOR)
            db.add(user)
            db.flush()
            db.add(ApiToken(user_id=user.id, name="t", token_sha256=token_hash(TOKEN)))
        yield studio


@pytest.fixture
def large(tmp_path: Path, make_episode: Callable[..., Path]) -> Path:
    """Of some MB."""
    return make_episode(tmp_path / "large" / "large.hdf5", steps=60, size=(120, 160))


def new_dataset(live: LiveStudio, name: str) -> str:
    body = b'{"name": "%s"}' % name.encode()
    made: str = ask(live, "POST", "/api/datasets", body, Content_Type="application/json")[1]["id"]
    return made


def begin(live: LiveStudio, url: str, offset: int, length: int) -> socket.socket:
    """A PATCH whose head is sent."""
    connection = socket.create_connection(("127.0.0.1", live.port), timeout=60)
    head = (
        f"PATCH {url} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def offset(live: LiveStudio, url: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=60)
    connection.request("HEAD", url, headers={"Authorization": f"Bearer {TOKEN}", "Tus-Resumable": "1.0.0"})
    answer = connection.getresponse()
    connection.close()
    return int(answer.headers["Upload-Offset"]) if answer.status == 200 else -1


def announce(live: LiveStudio, dataset: str, size: int) -> Any:
    body = b'{"files": [{"path": "large.hdf5", "size": %d}]}' % size
    status, made = ask(live, "POST", f"/api/datasets/{dataset}/uploads", body, Content_Type="application/json")
    assert status == 201, made
    return made["items"][0]


def test_a_killed_studio_goes_on_where_it_was(live: LiveStudio, large: Path) -> None:
    """kill -9 in the middle of a piece; then two requests at once send the rest, of which one does."""
    dataset, content = new_dataset(live, "killed"), large.read_bytes()
    file = announce(live, dataset, len(content))
    staged = live.parts.settings.folder.staged(file["upload_id"]) / file["id"]
    with begin(live, file["url"], 0, len(content)) as sending:
        sending.sendall(content[: len(content) // 2])
        until(lambda: staged.is_file() and staged.stat().st_size > 0, 60)
        os.kill(application_pid(live), signal.SIGKILL)
    until(lambda: offset(live, file["url"]) > 0, 60)
    there = offset(live, file["url"])
    assert staged.read_bytes() == content[:there]

    half = there + (len(content) - there) // 2
    first = begin(live, file["url"], there, len(content) - there)
    first.sendall(content[there:half])  # and hangs
    second = begin(live, file["url"], there, len(content) - there)
    statuses: list[bytes] = []

    def finish(connection: socket.socket, rest: bytes) -> None:
        with suppress(OSError):  # it was answered before
            connection.sendall(rest)
        statuses.append(connection.recv(4096)[9:12])
        connection.close()

    senders = [
        threading.Thread(target=finish, args=(second, content[there:])),
        threading.Thread(target=finish, args=(first, content[half:])),
    ]
    for one in senders:
        one.start()
    for one in senders:
        one.join(60)
    at = offset(live, file["url"])
    if at < len(content):  # each ended the other
        with begin(live, file["url"], at, len(content) - at) as last:
            last.sendall(content[at:])
            assert last.recv(4096)[9:12] == b"204"
    else:
        assert sorted(statuses) == [b"204", b"409"]
    until(lambda: ask(live, "GET", file["url"])[1]["state"] == "taken_in", 60)
    with live.parts.db.transaction(write=False) as db:
        episode = db.get_one(EpisodeRow, ask(live, "GET", file["url"])[1]["episode_id"])
    assert episode.source_sha256 == hashlib.sha256(content).hexdigest()
    until(lambda: not staged.exists(), 60)  # removed after what was taken in is told


def test_the_documented_scripts(live: LiveStudio, large: Path, tmp_path: Path) -> None:
    dataset, content = new_dataset(live, "scripted"), large.read_bytes()
    environment = os.environ | {"STUDIO": f"http://127.0.0.1:{live.port}", "TOKEN": TOKEN, "DATASET": dataset}
    (python,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    whole, pieces = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "send.py").write_text(python.replace("8 * 2**20", "100_000"), encoding="utf-8")
    begun = announce(live, dataset, len(content))  # of another, which has no sum: it is left alone
    (large.parent / "bad.hdf5").write_bytes(b"no")

    def run(*command: str, **more: str) -> str:
        done = subprocess.run(command, cwd=large.parent, env=environment | more, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    said = run(sys.executable, str(tmp_path / "send.py"), str(large.parent)).splitlines()
    assert said[0].startswith("bad.hdf5 refused None bad.hdf5 was not accepted")
    assert said[1].startswith("large.hdf5 taken_in 0")
    again = run(sys.executable, str(tmp_path / "send.py"), str(large.parent)).splitlines()
    assert again[1].startswith("large.hdf5 already_there 0")

    ask(live, "PATCH", begun["url"], content[:1000], Tus_Resumable="1.0.0", Upload_Offset="0",
        Content_Type="application/offset+octet-stream")  # fmt: skip
    run("bash", "-ec", pieces.replace("episode.hdf5", "large.hdf5"), URL=begun["url"])
    until(lambda: ask(live, "GET", begun["url"])[1]["state"] == "already_there", 60)
    refused = subprocess.run(
        ["bash", "-c", whole.replace("@episode.hdf5", "@large.hdf5")],
        cwd=large.parent, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert "is in this dataset already, as episode 0" in refused.stdout

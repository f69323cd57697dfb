"""The process in front: what strangers may have of it, and what it hands on unchanged."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from backend.core.settings import Settings
from backend.gateway.forwarded import Proxies
from backend.gateway.limits import Register
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.reader import open_episode
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.processes import of_studio
from tests.support.robot_hosts import until
from tests.support.scripted_studio import TOKEN, URL, application_pid, ask, rearm, scripted_studio

pytestmark = pytest.mark.waiting


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStudio]:
    with scripted_studio(Settings(data=tmp_path_factory.mktemp("studio"))) as studio:
        yield studio


def test_one_process_serves_a_studio(studio: LiveStudio) -> None:
    """What bounds strangers is counted in it: a second one, a replica, would double every bound."""
    environment = os.environ | studio.parts.settings.environment() | {"STUDIO_PORT": "0"}
    second = subprocess.run(
        [sys.executable, "-m", "worker.cli", "api"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert "another process serves this studio (process " in second.stderr
    assert "Traceback" not in second.stderr
    assert ask(studio, "GET", "/api/auth/me")[0] == 200


def test_the_application_gives_way_to_the_gateway_however_the_kernel_shares(studio: LiveStudio) -> None:
    """By thread, or by session where it groups them: what computes hashes is no equal of what hears of a stop."""
    application, gateway = application_pid(studio), studio.process.pid
    own = os.getpriority(os.PRIO_PROCESS, gateway)
    assert os.getpriority(os.PRIO_PROCESS, application) == min(19, own + 10)
    assert os.getsid(application) != os.getsid(gateway)


# --- what it hands on -----------------------------------------------------------------------------------------------


def test_requests_and_answers_pass_unchanged(studio: LiveStudio) -> None:
    status, answer = ask(studio, "POST", "/api/datasets", b'{"name": "a b \xc3\xa4"}', Content_Type="application/json")
    assert (status, answer["name"]) == (201, "a b ä")
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        for method, path, expected in (
            ("GET", "/api/datasets?limit=1&x=%2F%20", 200),
            ("HEAD", "/", 405),
            ("GET", "/api/nothing%20here", 404),
            ("DELETE", f"/api/datasets/{answer['id']}", 204),
            ("GET", "/api/openapi.json", 200),
        ):
            connection.request(method, path, headers=headers)
            got = connection.getresponse()
            content = got.read()
            assert got.status == expected, (method, path, content)
            assert got.getheader("date")
    finally:
        connection.close()
    # the body in chunks, of which nobody says how many
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    pieces = iter([b'{"na', b'me": "chunked"}'])
    chunked = headers | {"Content-Type": "application/json"}
    connection.request("POST", "/api/datasets", body=pieces, headers=chunked, encode_chunked=True)
    assert connection.getresponse().status == 201
    connection.close()


def test_an_upload_arrives_whole_and_is_read_back_in_ranges(
    studio: LiveStudio, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = ask(studio, "POST", "/api/datasets", b'{"name": "up"}', Content_Type="application/json")[1]["id"]
    given = make_episode(tmp_path / "given.hdf5", jpeg=False, steps=100)
    assert given.stat().st_size > 2**21, "more than one piece, and more than other requests may have"
    path = f"/api/datasets/{dataset}/episodes?name=x.hdf5"
    status, answer = ask(studio, "POST", path, given.read_bytes())
    assert status == 201, answer
    url, headers = f"/api/episodes/{answer['episode']['id']}/file", {"Authorization": f"Bearer {TOKEN}"}
    pieces, size = b"", 1
    while len(pieces) < size:
        connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
        connection.request("GET", url, headers=headers | {"Range": f"bytes={len(pieces)}-{len(pieces) + 999_999}"})
        got = connection.getresponse()
        assert got.status == 206
        size = int(str(got.getheader("Content-Range")).rpartition("/")[2])
        pieces += got.read()
        connection.close()
    back = tmp_path / "back.hdf5"
    back.write_bytes(pieces)
    with open_episode(given) as before, open_episode(back) as after:
        assert episode_identity(after) == episode_identity(before)


def test_events_pass_and_end_with_the_application(studio: LiveStudio) -> None:
    with connect(
        f"ws://127.0.0.1:{studio.port}/api/events", additional_headers={"Authorization": f"Bearer {TOKEN}"}
    ) as events:
        assert json.loads(events.recv(timeout=10))["topic"] == "hello"
        ask(studio, "POST", f"{URL}/stop")
        until(lambda: json.loads(events.recv(timeout=10)) == {"topic": "robot", "id": "aloha-sim"}, 10)
        os.kill(application_pid(studio), signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            _hear_out(events)
    until(lambda: ask(studio, "GET", "/api/auth/me")[0] == 200, 60)
    rearm(studio)


def test_the_events_socket_only_tells(studio: LiveStudio) -> None:
    """One that is talked to was read for as long as anybody talked."""
    with connect(
        f"ws://127.0.0.1:{studio.port}/api/events", additional_headers={"Authorization": f"Bearer {TOKEN}"}
    ) as events:
        events.send("x")
        with pytest.raises(ConnectionClosed) as closed:
            _hear_out(events)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1003, "this socket only sends")


def _hear_out(events: ClientConnection) -> None:
    while True:
        events.recv(timeout=30)


# --- what strangers may have ----------------------------------------------------------------------------------------


def _status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def _raw(studio: LiveStudio, head: str, body: bytes = b"", *, seconds: float = 20) -> bytes:
    """Send as it is, and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", studio.port), seconds) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        answer = b""
        with suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
        return answer


def test_large_bodies_are_refused_before_they_are_read(studio: LiveStudio) -> None:
    """Nothing of the body is sent here: what answers has not waited for it."""
    signed = f"Authorization: Bearer {TOKEN}"
    for path, length, who, expected in (
        ("/api/auth/login", 20_000_000, "X: y", 413),
        ("/api/auth/login", 9_000, "X: y", 413),
        ("/api/auth/setup", 10_000_000_000_000, "X: y", 413),
        ("/api/datasets/x/episodes", 20_000_000, "X: y", 401),
        ("/api/datasets/x/labels", 20_000_000, "X: y", 401),
        ("/api/datasets/x/labels", 20_000_000, "Authorization: Bearer dvs_guess", 401),
        ("/api/datasets", 20_000_000, signed, 413),
        ("/api/preferences/x", 3_000_000, signed, 413),
        ("/api/datasets/x/episodes", 10**15, signed, 413),
    ):
        answer = _raw(studio, f"POST {path} HTTP/1.1\nHost: 127.0.0.1:{studio.port}\n{who}\nContent-Length: {length}")
        assert _status_of(answer) == expected, (path, length, answer)
        assert b"connection: close" in answer.lower()


def test_bodies_without_a_length_are_counted(studio: LiveStudio) -> None:
    for path, expected in (("/api/auth/login", 413), ("/api/datasets/x/labels", 413)):
        head = f"POST {path} HTTP/1.1\nHost: 127.0.0.1:{studio.port}\nTransfer-Encoding: chunked"
        answer = _raw(studio, head, b"8000\r\n" + bytes(0x8000) + b"\r\n")
        assert _status_of(answer) == expected, answer


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\nHost: x\n" + "\n".join(f"X{number}: y" for number in range(300)),
        "GET / HTTP/1.1\nHost: x\nX: " + "y" * 200_000,
        "GET /" + "x" * 200_000 + " HTTP/1.1\nHost: x",
        "nonsense",
        "POST / HTTP/1.1\nHost: x\nContent-Length: 3\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1\nHost: x\nContent-Length: minus",
        "POST / HTTP/1.1\nHost: x\nContent-Length: 3\nContent-Length: 4",
        "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: gzip, chunked",
        "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: identity\nTransfer-Encoding: chunked",
        "POST / HTTP/1.0\nHost: x\nTransfer-Encoding: chunked",
        "GET / HTTP/1.1\nHost: x\nX: y\n Transfer-Encoding: chunked",
    ],
)
def test_odd_heads_are_refused(studio: LiveStudio, head: str) -> None:
    assert _status_of(_raw(studio, head)) in {400, 431}


@pytest.mark.parametrize("path", ["/api/events", "/api/live/aloha-sim/state", "/api/live/aloha-sim/control"])
@pytest.mark.parametrize(
    ("method", "body"),
    [("GET", "Content-Length: 1000000000"), ("GET", "Transfer-Encoding: chunked"), ("POST", "Content-Length: 0")],
)
def test_a_socket_is_opened_by_a_get_without_a_body(studio: LiveStudio, path: str, method: str, body: str) -> None:
    """One that was announced was read for as long as it came, by nobody, and the socket waited for it for ever."""
    head = (
        f"{method} {path} HTTP/1.1\nHost: 127.0.0.1:{studio.port}\nUpgrade: websocket\nConnection: Upgrade\n"
        f"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{body}"
    )
    assert _status_of(_raw(studio, head)) == 400


def test_trailers_are_no_headers(studio: LiveStudio) -> None:
    """One that named an address came behind ours, and was believed: a guesser from everywhere."""
    body = b'{"name": "nobody-here", "password": "a guess"}'
    head = (
        f"POST /api/auth/login HTTP/1.1\nHost: 127.0.0.1:{studio.port}\nConnection: close\n"
        "Content-Type: application/json\nTransfer-Encoding: chunked"
    )
    found = [
        _status_of(
            _raw(studio, head, b"%x\r\n%b\r\n0\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n" % (len(body), body, number))
        )
        for number in range(11)
    ]
    assert found == [403] * 10 + [429]
    assert _status_of(_raw(studio, head, b"2\r\n{}\r\n0\r\nHost: elsewhere\r\n\r\n")) == 422


@pytest.mark.parametrize("ending", [b"0\r\nX: ", b"0\r\n" + b"X: y\r\n" * 300, b"2;"], ids=["one", "many", "of a size"])
def test_what_is_neither_head_nor_body_is_bounded(studio: LiveStudio, ending: bytes) -> None:
    """A trailer and a chunk's extension: they are kept together, each piece with all before."""
    head = f"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1:{studio.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    most = 64 * 2**20  # buffers of both sides hold a few
    with socket.create_connection(("127.0.0.1", studio.port), 20) as connection, suppress(ConnectionError):
        connection.sendall(head.encode() + b"2\r\n{}\r\n" + ending)
        sent = 0
        while sent < most:
            sent += connection.send(b"a" * 65536)
        pytest.fail("all of it was taken")


def test_whoever_does_not_say_what_they_want_is_let_go(studio: LiveStudio) -> None:
    """Headers, and a body, that do not come: the other side ends it, within seconds that this waits for."""
    with ExitStack() as opened:
        heads = [opened.enter_context(socket.create_connection(("127.0.0.1", studio.port), 60)) for _ in range(3)]
        heads[1].sendall(b"GET / HTTP/1.1\r\nX: ")
        heads[2].sendall(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        with suppress(ConnectionError):
            assert heads[0].recv(100) == b""
        with suppress(ConnectionError):
            assert heads[1].recv(100) == b""
        assert heads[2].recv(100).startswith(b"HTTP/1.1 408 ")


class _Client:
    def __init__(self, idle: bool, sending: bool = False) -> None:
        self.idle, self.sending, self.evicted = idle, sending, False
        self.register: Register | None = None

    def evict(self) -> None:
        self.evicted = True
        assert self.register is not None
        self.register.leave("a", self)
        self.register.leave("b", self)


def test_whoever_asks_for_nothing_has_to_go_first() -> None:
    register = Register(10_000, per_address=3)
    clients = [_Client(idle=True), _Client(idle=False), _Client(idle=True), _Client(idle=False)]
    for client in clients:
        client.register = register
    assert all(register.admit("a", client) for client in clients[:3])
    register.touch("a", clients[0])
    assert register.admit("a", clients[3])
    assert [client.evicted for client in clients] == [False, False, True, False]
    busy = [_Client(idle=False) for _ in range(2)]
    assert register.admit("a", busy[0]), "the last idle one had to go"
    assert not register.admit("a", busy[1]), "three are being answered"
    assert register.admit("b", busy[1])
    assert len(register) == 4
    clients[1].sending = True
    late = _Client(idle=False)
    assert register.admit("a", late), "who is still sending goes before who waits for an answer"
    assert clients[1].evicted


def test_forwarded_addresses_are_believed_from_our_proxies_alone() -> None:
    none = Proxies(())
    headers = [(b"x-forwarded-for", b"6.6.6.6, 10.0.0.7"), (b"x-forwarded-proto", b"https")]
    assert none.origin("10.0.0.1", "http", headers) == ("10.0.0.1", "http")
    ours = Proxies(Settings(trusted_proxies="10.0.0.0/24, ::1").trusted_proxies)
    assert ours.origin("10.0.0.1", "http", headers) == ("6.6.6.6", "https")
    assert ours.origin("::ffff:10.0.0.1", "http", headers) == ("6.6.6.6", "https")
    assert ours.origin("9.9.9.9", "http", headers) == ("9.9.9.9", "http")
    spoofed = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2"), (b"x-forwarded-proto", b"gopher")]
    assert ours.origin("::1", "http", spoofed) == ("2.2.2.2", "http")
    assert ours.origin("::1", "http", [(b"x-forwarded-for", b"unknown")]) == ("::1", "http")
    assert ours.origin("::1", "http", []) == ("::1", "http")


# --- ends -----------------------------------------------------------------------------------------------------------


def test_a_gateway_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    with live_studio(settings) as studio:
        application, sockets = application_pid(studio), settings.folder.sockets
        assert of_studio(settings.data) == {studio.process.pid, application}
        (before,) = sockets.glob("application-*")
        studio.process.kill()
        studio.process.wait()
        until(lambda: not of_studio(settings.data), 20)
    with live_studio(settings) as studio:
        (after,) = sockets.glob("application-*")
        assert after != before, "the socket of one that was killed is taken away by the next"
        assert application_pid(studio) != application


def test_it_ends_in_order_and_takes_its_socket_along(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    settings.folder.prepare()
    with live_studio(settings) as studio:
        application = application_pid(studio)
        assert list(settings.folder.sockets.glob("application-*"))
        studio.process.terminate()
        assert studio.process.wait(20) in {0, -signal.SIGTERM}
        assert not psutil.pid_exists(application)
        assert not list(settings.folder.sockets.glob("application-*"))

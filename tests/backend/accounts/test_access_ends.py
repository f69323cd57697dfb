"""Taking access away takes all of it: sessions, tokens, links and open sockets. A real API process, real sockets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from backend.accounts.ending import end_access
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.access_watch import SOCKETS_PER_PERSON
from backend.intake.accept import accept
from backend.studio.events import publish
from backend.tables.api_token import ApiToken
from backend.tables.audit_entry import AuditEntry
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeSource
from backend.tables.login_session import LoginSession
from backend.tables.user import User
from dexvla.errors import UserError
from tests.support.live_studio import LiveStudio, closing, live_studio
from tests.support.robot_hosts import until
from worker.admin.users import reset_link

pytestmark = pytest.mark.waiting

PASSWORD = "correct horse battery"
SOON = 5.0  # far less than the 20 s after which every socket looks by itself


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[LiveStudio]:
    settings = Settings(data=tmp_path_factory.mktemp("access") / "studio", redis_url=broker_url)
    with live_studio(settings) as live:
        live.cookie("boss", Role.ADMIN)
        yield live


class Flow:
    """Events without a pause: no socket is ever idle."""

    def __init__(self, live: LiveStudio) -> None:
        self._live, self._end = live, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.is_set():
            publish(self._live.parts, "job", "0")
            time.sleep(0.002)

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def events(live: LiveStudio, *, who: str | None = None, token: str | None = None) -> ClientConnection:
    headers = {"Cookie": live.cookie(who)} if who else {"Authorization": f"Bearer {token}"}
    url = f"ws://127.0.0.1:{live.port}/api/events"
    origin: Any = live.origin if who else None
    socket = connect(url, additional_headers=headers, origin=origin, compression=None, close_timeout=2)
    assert '"hello"' in str(socket.recv(timeout=10))
    return socket


def user_id(live: LiveStudio, name: str) -> str:
    people = {one["name"]: one["id"] for one in live.request("GET", "/api/users", who="boss")[1]}
    found: str = people[name]
    return found


def stays_open(socket: ClientConnection) -> bool:
    """It says something that was published after the others were closed."""
    try:
        return "topic" in str(socket.recv(timeout=10))
    except ConnectionClosed:
        return False


Ending = Callable[[LiveStudio, str], None]


def disable(live: LiveStudio, name: str) -> None:
    status, answer = live.request("PATCH", f"/api/users/{user_id(live, name)}", {"disabled": True}, who="boss")
    assert status == 200, answer


def reset(live: LiveStudio, name: str) -> None:
    made = live.request("POST", f"/api/users/{user_id(live, name)}/reset", {}, who="boss")[1]
    token = made["url"].partition("token=")[2]
    assert live.request("POST", "/api/links", {"token": token, "password": "another password"})[0] == 201


def elsewhere(live: LiveStudio, name: str) -> None:
    """In another process, here."""
    with live.parts.db.transaction() as db:
        end_access(db, live.parts, db.get_one(User, user_id(live, name)))


def sign_out(live: LiveStudio, name: str) -> None:
    assert live.request("POST", "/api/auth/logout", {}, who=name)[0] == 204


@pytest.mark.parametrize("flowing", [True, False], ids=["flowing", "idle"])
@pytest.mark.parametrize("end", [disable, reset, elsewhere, sign_out])
def test_open_sockets_are_closed_at_once(live: LiveStudio, end: Ending, flowing: bool) -> None:
    name = f"{end.__name__.replace('_', '-')}-{'flowing' if flowing else 'idle'}"
    live.cookie(name, Role.OPERATOR)
    with ExitStack() as stack:
        mine, others = stack.enter_context(events(live, who=name)), stack.enter_context(events(live, who="boss"))
        if flowing:
            stack.enter_context(Flow(live))
        end(live, name)
        assert closing(mine, SOON) == (4401, "Sign in first.")
        publish(live.parts, "job", "1")
        assert stays_open(others)
    assert live.request("GET", "/api/datasets", who=name)[0] == 401


def test_changing_the_password_ends_everything_but_this_browser(live: LiveStudio) -> None:
    live.cookie("carla", Role.ADMIN)
    other_browser = live.request("POST", "/api/auth/login", {"name": "carla", "password": PASSWORD})
    assert other_browser[0] == 200
    token = live.request("POST", "/api/auth/tokens", {"name": "script"}, who="carla")[1]["token"]
    invitation = live.request("POST", "/api/invitations", {"role": "admin"}, who="carla")[1]
    for_boss = live.request("POST", f"/api/users/{user_id(live, 'boss')}/reset", {}, who="carla")[1]
    with events(live, who="carla") as here, events(live, token=token) as script, Flow(live):
        body = {"current": PASSWORD, "new": "another password"}
        status, ended = live.request("POST", "/api/auth/password", body, who="carla")
        assert (status, ended) == (200, {"sessions": 1, "tokens": 1, "links": 2})
        assert closing(script, SOON)[0] == 4401
        assert stays_open(here)
    assert live.request("GET", "/api/datasets", who="carla")[0] == 200
    for link in (invitation, for_boss):
        address = f"/api/links?token={link['url'].partition('token=')[2]}"
        assert live.request("GET", address)[0] == 404
    assert live.request("GET", "/api/invitations", who="boss")[1] == []
    with live.parts.db.transaction(write=False) as db:
        entry = db.query(AuditEntry).filter_by(action="auth.password").one()
    assert entry.detail == {"sessions": 1, "tokens": 1, "links": 2}


def test_disabling_leaves_nothing_that_comes_back_with_enabling(live: LiveStudio) -> None:
    live.cookie("dora", Role.ADMIN)
    live.request("POST", "/api/auth/tokens", {"name": "script"}, who="dora")
    live.request("POST", "/api/invitations", {"role": "admin"}, who="dora")
    live.request("POST", f"/api/users/{user_id(live, 'dora')}/reset", {}, who="boss")
    disable(live, "dora")
    refused = live.request("POST", f"/api/users/{user_id(live, 'dora')}/reset", {}, who="boss")
    assert (refused[0], "enable it first" in refused[1]["error"]["message"]) == (409, True)
    dora = user_id(live, "dora")
    live.request("PATCH", f"/api/users/{dora}", {"disabled": False}, who="boss")
    with live.parts.db.transaction(write=False) as db:
        assert db.query(LoginSession).filter_by(user_id=dora).count() == 0
        assert db.query(ApiToken).filter_by(user_id=dora).count() == 0
    for listed in ("/api/invitations", "/api/resets"):
        assert live.request("GET", listed, who="boss")[1] == []


def test_a_lower_role_ends_the_invitations_that_need_the_higher(live: LiveStudio) -> None:
    live.cookie("emil", Role.ADMIN)
    live.request("POST", "/api/invitations", {"role": "admin"}, who="emil")
    live.request("PATCH", f"/api/users/{user_id(live, 'emil')}", {"role": "viewer"}, who="boss")
    assert live.request("GET", "/api/invitations", who="boss")[1] == []
    assert live.request("GET", "/api/datasets", who="emil")[0] == 200


def test_revoking_a_token_closes_its_sockets_alone(live: LiveStudio) -> None:
    live.cookie("fred", Role.OPERATOR)
    made = [live.request("POST", "/api/auth/tokens", {"name": "script"}, who="fred")[1] for _ in range(2)]
    with events(live, token=made[0]["token"]) as first, events(live, token=made[1]["token"]) as second:
        assert live.request("DELETE", f"/api/auth/tokens/{made[0]['id']}", who="fred")[0] == 204
        assert closing(first, SOON)[0] == 4401
        publish(live.parts, "job", "2")
        assert stays_open(second)


def test_links_for_a_new_password_are_single_listed_and_withdrawn(live: LiveStudio) -> None:
    live.cookie("gina", Role.VIEWER)
    gina = user_id(live, "gina")
    first, second = [live.request("POST", f"/api/users/{gina}/reset", {}, who="boss")[1] for _ in range(2)]
    of = [one["url"].partition("token=")[2] for one in (first, second)]
    assert live.request("GET", f"/api/links?token={of[0]}")[0] == 404
    assert live.request("GET", f"/api/links?token={of[1]}")[1] == {"kind": "reset", "role": None, "name": "gina"}
    listed = live.request("GET", "/api/resets", who="boss")[1]
    assert [(one["id"], one["user_name"], one["created_by_name"]) for one in listed] == [(second["id"], "gina", "boss")]
    assert of[1] not in str(listed)
    assert live.request("DELETE", f"/api/invitations/{second['id']}", who="boss")[0] == 404
    assert live.request("DELETE", f"/api/resets/{second['id']}", who="boss")[0] == 204
    assert live.request("GET", f"/api/links?token={of[1]}")[0] == 404
    assert live.request("GET", "/api/resets", who="boss")[1] == []


def test_a_link_from_the_command_line_voids_those_before_it_and_is_listed(live: LiveStudio) -> None:
    live.cookie("ines", Role.VIEWER)
    ines = user_id(live, "ines")
    first = live.request("POST", f"/api/users/{ines}/reset", {}, who="boss")[1]["url"].partition("token=")[2]
    second = reset_link(live.parts.settings, "ines").partition("token=")[2]
    assert live.request("GET", f"/api/links?token={first}")[0] == 404
    assert live.request("GET", f"/api/links?token={second}")[0] == 200
    assert [one["user_name"] for one in live.request("GET", "/api/resets", who="boss")[1]] == ["ines"]
    disable(live, "ines")
    assert live.request("GET", f"/api/links?token={second}")[0] == 404
    with pytest.raises(UserError, match="is disabled"):
        reset_link(live.parts.settings, "ines")


def test_one_person_has_so_many_sockets_and_others_have_theirs(live: LiveStudio) -> None:
    live.cookie("hans", Role.VIEWER)
    with ExitStack() as stack:
        for _ in range(SOCKETS_PER_PERSON):
            stack.enter_context(events(live, who="hans"))
        one_more = stack.enter_context(events(live, who="hans"))
        code, reason = closing(one_more, SOON)
        assert (code, "close some pages" in reason) == (4429, True)
        assert stays_open_after_event(live, stack.enter_context(events(live, who="boss")))


def stays_open_after_event(live: LiveStudio, socket: ClientConnection) -> bool:
    publish(live.parts, "job", "3")
    return stays_open(socket)


# --- what flows ---------------------------------------------------------------------------------------------------

BIG = 64 * 2**20  # far beyond what sockets and processes on the way hold


@pytest.fixture(scope="module")
def dataset(live: LiveStudio, tmp_path_factory: pytest.TempPathFactory, make_episode: Callable[..., Path]) -> str:
    """One with an episode, whose file is large."""
    with live.parts.db.transaction() as db:
        dataset = Dataset(name="cubes")
        db.add(dataset)
    file = make_episode(tmp_path_factory.mktemp("flow") / "a.hdf5")
    episode = accept(live.parts, dataset_id=dataset.id, file=file, source=EpisodeSource.UPLOADED).episode_id
    with live.parts.settings.folder.episode(dataset.id, episode).open("r+b") as opened:
        opened.truncate(BIG)
    return dataset.id


def slow_client(live: LiveStudio, who: str, method: str, path: str, *headers: str) -> socket.socket:
    """A request's head was sent; its answer is taken in small pieces."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(SOON)
    connection.connect(("127.0.0.1", live.port))
    cookie, origin = f"Cookie: {live.cookie(who)}", f"Origin: {live.origin}"
    connection.sendall(
        "\r\n".join(
            (f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{live.port}", cookie, origin, *headers, "", "")
        ).encode()
    )
    return connection


def read_to_the_end(connection: socket.socket) -> bytes:
    """What comes until the other side closes; a timeout if it does not."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def lower(live: LiveStudio, name: str) -> None:
    assert live.request("PATCH", f"/api/users/{user_id(live, name)}", {"role": "viewer"}, who="boss")[0] == 200


def revoke(live: LiveStudio, name: str) -> None:
    """In another process, by taking the session's row away: nobody announces it."""
    with live.parts.db.transaction() as db:
        db.query(LoginSession).filter_by(user_id=user_id(live, name)).delete()


ENDS = [disable, reset, elsewhere, sign_out, lower, revoke]


@pytest.mark.parametrize("end", ENDS)
def test_a_running_download_is_cut(live: LiveStudio, dataset: str, end: Ending) -> None:
    name = f"taker-{end.__name__.replace('_', '-')}"
    live.cookie(name, Role.OPERATOR)
    episode = live.request("GET", f"/api/datasets/{dataset}/episodes", who="boss")[1]["items"][0]["id"]
    path = f"/api/episodes/{episode}/file"
    with slow_client(live, name, "GET", path) as mine, slow_client(live, "boss", "GET", path) as others:
        assert mine.recv(15) == others.recv(15) == b"HTTP/1.1 200 OK"
        end(live, name)
        assert len(read_to_the_end(mine)) < BIG
        others.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        others.settimeout(60)
        left = BIG
        while left > 0:  # its head is in it, too
            piece = others.recv(2**20)
            assert piece, "somebody else's was cut"
            left -= len(piece)


@pytest.mark.parametrize("end", ENDS)
def test_a_running_upload_is_cut_and_told(live: LiveStudio, dataset: str, end: Ending) -> None:
    name = f"bringer-{end.__name__.replace('_', '-')}"
    live.cookie(name, Role.OPERATOR)
    uploads = live.parts.settings.folder.uploads
    with slow_client(live, name, "POST", f"/api/datasets/{dataset}/episodes", f"Content-Length: {BIG}") as mine:
        mine.sendall(bytes(2**20))
        until(lambda: any(file.stat().st_size >= 2**19 for file in uploads.glob("*.hdf5")))
        end(live, name)
        answer = read_to_the_end(mine)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Nothing of it was kept" in answer
    until(lambda: not list(uploads.glob("*.hdf5")))


def test_a_file_that_is_looked_at_is_not_taken_once_access_has_ended(
    live: LiveStudio, dataset: str, tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    """The whole file has come; its inspection takes seconds, and access ends meanwhile."""
    live.cookie("late", Role.OPERATOR)
    folder = live.parts.settings.folder
    before = len(live.request("GET", f"/api/datasets/{dataset}/episodes", who="boss")[1]["items"])
    content = make_episode(tmp_path / "b.hdf5", seed=1, steps=3000).read_bytes()
    length = f"Content-Length: {len(content)}"
    with slow_client(live, "late", "POST", f"/api/datasets/{dataset}/episodes", length, "Connection: close") as mine:
        mine.settimeout(60)
        mine.sendall(content)
        until(lambda: list((folder.episodes / dataset).glob(".*.tmp")))
        disable(live, "late")
        answer = read_to_the_end(mine)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Nothing was kept" in answer
    assert len(live.request("GET", f"/api/datasets/{dataset}/episodes", who="boss")[1]["items"]) == before
    until(lambda: not list((folder.episodes / dataset).glob(".*.tmp")))


def test_signing_in_anew_beside_an_old_cookie_is_not_cut(live: LiveStudio) -> None:
    """Public answers stay: the page and the API's description, whatever cookie comes with the request."""
    live.cookie("gone", Role.VIEWER)
    disable(live, "gone")
    with slow_client(live, "gone", "GET", "/api/openapi.json", "Connection: close") as connection:
        connection.settimeout(60)
        assert len(read_to_the_end(connection)) > 100_000

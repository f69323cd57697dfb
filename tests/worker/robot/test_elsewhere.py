"""A robot host that has nothing of the studio but its address and a key, beside a real studio."""

import hashlib
import http.client
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.core.settings import Settings
from backend.robot_hosts import keys
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError
from dexvla.live.hosting import PIECE_BYTES, Announcement, Handover
from dexvla.live.status import HostStatus, RobotState
from dexvla.live.version import PROTOCOL
from tests.support.bare import NOT_THERE
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.processes import children
from tests.support.robot_hosts import broker, until
from worker.admin.robot_keys import new_key, remove_key
from worker.robot.http_store import HttpStore
from worker.robot.store import AwayError, FinishedRecording, RefusedError

ROOT = Path(__file__).parents[3]
NAME = "far-arm"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStudio]:
    settings = Settings(data=tmp_path_factory.mktemp("studio") / "data")
    settings.folder.prepare()
    with broker(settings), live_studio(settings) as studio:
        yield studio


@contextmanager
def host_elsewhere(studio: LiveStudio, folder: Path, key: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "DATABASE_"))}
    environment |= {"STUDIO_DATA": str(folder), "STUDIO_ROBOT_KEY": key}
    command = [sys.executable, "-m", "tests.support.bare", "robot", "--studio", studio.origin, "--name", NAME]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def key(studio: LiveStudio) -> str:
    return new_key(studio.parts.settings, NAME)


@pytest.fixture
def store(studio: LiveStudio, key: str, tmp_path: Path) -> Iterator[HttpStore]:
    store = HttpStore(studio.origin, key, name=NAME, token_file=tmp_path / "token")
    yield store
    store.close()


def robot(studio: LiveStudio) -> dict[str, Any] | None:
    found = studio.request("GET", "/api/robots", who="operator")[1]
    return next((one for one in found if one["name"] == NAME), None)


def state(studio: LiveStudio) -> str | None:
    found = robot(studio)
    return found["status"]["state"] if found and found["present"] else None


def dataset(studio: LiveStudio, name: str) -> str:
    status, made = studio.request("POST", "/api/datasets", {"name": name}, who="operator")
    assert status == 201, made
    return str(made["id"])


def episodes(studio: LiveStudio, dataset_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = studio.request("GET", f"/api/datasets/{dataset_id}/episodes", who="operator")[1][
        "items"
    ]
    return found


def test_a_robots_machine_needs_nothing_of_the_studio() -> None:
    """Every module of the host, and the command that starts it."""
    import worker.robot

    modules = [f"worker.robot.{module.name}" for module in pkgutil.iter_modules(worker.robot.__path__)]
    assert "worker.robot.http_store" in modules
    code = (
        "from tests.support.bare import hide_the_studio; hide_the_studio()\n"
        f"import importlib\nfor name in {[*modules, 'worker.cli']}: importlib.import_module(name)\n"
        "import sys; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(loaded.stdout.split()) & set(NOT_THERE)


@pytest.mark.parametrize("arguments", [("user", "list"), ("migrate",), ("verify",)])
def test_what_needs_a_studio_says_so_on_a_robots_machine(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    environment = os.environ | {"STUDIO_DATA": str(tmp_path)}
    code = (
        "import sys\nfor name in ('sqlalchemy', 'pydantic_settings', 'redis'): sys.modules[name] = None\n"
        f"sys.argv = ['studio', *{arguments!r}]\nfrom worker.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is not installed" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("studio.example.org", "dvh_x", "expected the studio's address"),
        ("ftp://studio", "dvh_x", "expected the studio's address"),
        ("http://127.0.0.1:1", "secret", "begins with dvh_"),
    ],
)
def test_what_is_no_address_and_no_key_is_said_at_once(tmp_path: Path, url: str, key: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        HttpStore(url, key, name=NAME, token_file=tmp_path / "token")


def test_an_episode_from_a_robot_elsewhere(studio: LiveStudio, key: str, tmp_path: Path) -> None:
    """Seen, stopped, armed, recorded, handed in, found in the dataset; the host keeps nothing of it."""
    data = tmp_path / "robot"
    cups = dataset(studio, "cups")
    with host_elsewhere(studio, data, key) as process:
        until(lambda: state(studio) == "holding", 120)
        seen = robot(studio)
        assert seen is not None
        assert seen["status"]["elsewhere"]
        verb = f"/api/live/{NAME}"
        refused = studio.request("POST", f"{verb}/record", {"dataset_id": "none", "instruction": "x"}, who="operator")
        assert refused[0] == 422
        asked = {"checkpoint_id": "c1", "instruction": "Lift the cube."}
        status, refused = studio.request("POST", f"{verb}/rollout", asked, who="operator")
        assert status == 422
        assert "no checkpoints of this studio" in refused["error"]["fields"]["checkpoint_id"]
        assert studio.request("POST", f"/api/robots/{NAME}/stop", who="viewer")[1]["status"]["stopped_by"] == "viewer"
        assert studio.request("POST", f"/api/robots/{NAME}/arm", who="operator")[1]["status"]["state"] == "holding"
        body = {"dataset_id": cups, "instruction": "Lift the cube."}
        status, live = studio.request("POST", f"{verb}/record", body, who="operator")
        assert status == 200, live
        with studio.socket("state", "viewer", robot=NAME) as states:
            _wait_for(states, lambda told: (told["recording"] or {}).get("steps", 0) > 20)
            assert studio.request("POST", f"{verb}/save", {"success": True}, who="operator")[0] == 200
            saved = _wait_for(states, lambda told: told["saved"] is not None)["saved"]
        assert saved["error"] is None, saved
        [row] = episodes(studio, cups)
        assert row["id"] == saved["episode_id"]
        assert (row["source"], row["success"], row["instruction"]) == ("live", True, "Lift the cube.")
        assert row["steps"] == saved["steps"]
        with open_episode(studio.parts.settings.folder.episode(cups, row["id"])) as episode:
            assert episode.steps == saved["steps"]
            assert len(episode.cameras) == 3
        until(lambda: not list((data / "robots" / f"{NAME}.recordings").iterdir()))
        assert not list(studio.parts.settings.folder.uploads.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert robot(studio) is None
    assert not (data / "studio.db").exists()


def _wait_for(states: Any, condition: Any, seconds: float = 120.0) -> Any:
    import json

    deadline = time.monotonic() + seconds
    while True:
        told = json.loads(states.recv(timeout=10))
        if condition(told):
            return told
        assert time.monotonic() < deadline, told


# --- handing in -------------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(make_episode: Any, tmp_path: Path) -> Path:
    file: Path = make_episode(tmp_path / "recorded.hdf5", jpeg=False, steps=100)
    assert file.stat().st_size > 2 * PIECE_BYTES, "more than two pieces"
    return file


def finished(file: Path, dataset_id: str, *, number: int = 1) -> FinishedRecording:
    return FinishedRecording(id=f"{number:032x}", file=file, dataset_id=dataset_id, by="operator")


def sent(store: HttpStore) -> list[int]:
    """Offsets of the pieces that it sends from now on."""
    offsets: list[int] = []

    def note(request: httpx.Request) -> None:
        if request.method == "PATCH":
            offsets.append(int(request.url.params["offset"]))

    store._http.event_hooks["request"].append(note)
    return offsets


def handover(file: Path, dataset_id: str) -> Handover:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Handover(dataset_id=dataset_id, by="operator", size=file.stat().st_size, sha256=digest)


def test_a_recording_goes_on_where_it_was_broken_off(studio: LiveStudio, store: HttpStore, recording: Path) -> None:
    target = dataset(studio, "broken off")
    content, offsets = recording.read_bytes(), sent(store)
    path = f"/recordings/{1:032x}"
    store._send("POST", path, handover(recording, target))
    store._send("PATCH", path, content[:1000], params={"offset": 0})
    store._send("PATCH", path, content[1000:2000], params={"offset": 1000})
    episode = store.hand_in(finished(recording, target))
    assert offsets[:3] == [0, 1000, 2000]
    assert offsets[3:] == list(range(2000 + PIECE_BYTES, len(content), PIECE_BYTES))
    with (
        open_episode(recording) as before,
        open_episode(studio.parts.settings.folder.episode(target, episode)) as after,
    ):
        assert episode_identity(before) == episode_identity(after)
    assert not list(studio.parts.settings.folder.uploads.iterdir())


def test_what_is_handed_in_twice_is_there_once(studio: LiveStudio, store: HttpStore, recording: Path) -> None:
    """The answer to the first try was lost."""
    target = dataset(studio, "twice")
    first = store.hand_in(finished(recording, target))
    assert store.hand_in(finished(recording, target)) == first
    assert len(episodes(studio, target)) == 1


def test_bytes_that_were_changed_on_the_way_are_sent_again(
    studio: LiveStudio, store: HttpStore, recording: Path
) -> None:
    target = dataset(studio, "changed")
    offsets, path = sent(store), f"/recordings/{1:032x}"
    store._send("PATCH", path, b"x" * 5000, params={"offset": 0})
    store.hand_in(finished(recording, target))
    assert offsets[:2] == [0, 5000]
    assert offsets.count(0) == 2, "from the beginning, once it was seen that the sums differ"
    assert len(episodes(studio, target)) == 1


def test_two_tries_at_once_do_not_mix(studio: LiveStudio, store: HttpStore, recording: Path, key: str) -> None:
    """Of a host that was started again while the studio was still busy with what it said before."""
    target = dataset(studio, "at once")
    other = HttpStore(studio.origin, key, name=NAME, token_file=recording.with_name("other"))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(_insist(one, finished(recording, target))))
        for one in (store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert len(found) == 2
    assert len(set(found)) == 1
    assert len(episodes(studio, target)) == 1


def _insist(store: HttpStore, recording: FinishedRecording) -> str:
    """As the keeper does."""
    while True:
        try:
            return store.hand_in(recording)
        except (AwayError, OSError):
            time.sleep(0.1)


def test_what_is_no_episode_is_refused_for_good(studio: LiveStudio, store: HttpStore, tmp_path: Path) -> None:
    target = dataset(studio, "no episode")
    (broken := tmp_path / "broken.hdf5").write_bytes(b"nothing of the kind")
    with pytest.raises(RefusedError, match="was not accepted"):
        store.hand_in(finished(broken, target))
    with pytest.raises(RefusedError, match="no such dataset"):
        store.hand_in(finished(broken, "gone"))
    assert not list(studio.parts.settings.folder.uploads.iterdir())


def test_the_application_is_killed_in_the_middle(studio: LiveStudio, store: HttpStore, recording: Path) -> None:
    """Nothing that arrived is lost, and nothing is there twice."""
    target = dataset(studio, "killed")
    killed = threading.Event()

    def kill(request: httpx.Request) -> None:
        if request.method == "PATCH" and int(request.url.params["offset"]) >= PIECE_BYTES and not killed.is_set():
            killed.set()
            [application] = children(studio.process.pid, "application")
            os.kill(application, signal.SIGKILL)

    store._http.event_hooks["request"].append(kill)
    episode = _insist(store, finished(recording, target))
    assert killed.is_set()
    assert [row["id"] for row in episodes(studio, target)] == [episode]


# --- keys -------------------------------------------------------------------------------------------------------------

ROUTES = [
    ("PUT", "/announcement", b"{}"),
    ("DELETE", "/announcement?address=127.0.0.1:1", None),
    ("PUT", "/sign", b"{}"),
    ("GET", "/studio", None),
    ("GET", "/datasets/x", None),
    ("POST", f"/recordings/{1:032x}", b"{}"),
    ("PATCH", f"/recordings/{1:032x}?offset=0", b"x" * 100_000),
    ("POST", f"/recordings/{1:032x}/end", b"{}"),
]


def ask(studio: LiveStudio, method: str, path: str, body: bytes | None, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    try:
        connection.request(method, path, body, headers | {"Content-Type": "application/json"})
        return connection.getresponse().status
    except ConnectionError:  # it does not wait for a body that it will not take
        return 401
    finally:
        connection.close()


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_only_the_robots_own_key_opens_anything(
    studio: LiveStudio, key: str, method: str, path: str, body: bytes | None
) -> None:
    other = new_key(studio.parts.settings, "another")
    url = f"/api/robot-hosts/{NAME}{path}"
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": f"Bearer {other}"},
        {"Authorization": f"Bearer {key[:-1]}"},
        {"Authorization": "Bearer "},
        {"Cookie": studio.cookie("admin")},
    ]
    for headers in wrong:
        assert ask(studio, method, url, body, **headers) in {401, 403}, headers
    assert ask(studio, method, url, body, Authorization=f"Bearer {key}") not in {401, 403}
    assert ask(studio, method, f"/api/robot-hosts/nobody{path}", body, Authorization=f"Bearer {key}") == 401


def test_a_key_opens_nothing_else(studio: LiveStudio, key: str) -> None:
    for path in ("/api/robots", "/api/datasets", "/api/auth/tokens"):
        assert ask(studio, "GET", path, None, Authorization=f"Bearer {key}") == 401
    assert ask(studio, "POST", f"/api/robots/{NAME}/stop", b"", Authorization=f"Bearer {key}") == 401


def test_a_key_that_was_replaced_or_removed_opens_nothing(studio: LiveStudio, key: str) -> None:
    settings = studio.parts.settings
    path = f"/api/robot-hosts/{NAME}/studio"
    assert ask(studio, "GET", path, None, Authorization=f"Bearer {key}") == 204
    newer = new_key(settings, NAME)
    assert ask(studio, "GET", path, None, Authorization=f"Bearer {key}") == 401
    assert ask(studio, "GET", path, None, Authorization=f"Bearer {newer}") == 204
    remove_key(settings, NAME)
    assert ask(studio, "GET", path, None, Authorization=f"Bearer {newer}") == 401
    with pytest.raises(UserError, match="has no key"):
        remove_key(settings, NAME)
    with pytest.raises(UserError, match="robot name"):
        new_key(settings, "../secrets")


def test_keys_are_kept_as_sums_for_the_studios_account_alone(studio: LiveStudio, key: str) -> None:
    folder = studio.parts.settings.folder.secrets / "robot-keys"
    file = folder / NAME
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert key not in file.read_text()
    assert keys.opens(studio.parts.settings.folder.secrets, NAME, f"Bearer {key}")


def test_a_host_of_another_version_is_told_so(studio: LiveStudio, store: HttpStore) -> None:
    newer = Announcement(
        protocol=PROTOCOL + 1, kind="test", address="127.0.0.1:1", status=HostStatus(state=RobotState.HOLDING)
    )
    with pytest.raises(AwayError, match=f"version {PROTOCOL + 1} .* version {PROTOCOL}"):
        store._send("PUT", "/announcement", newer)
    assert robot(studio) is None


def test_a_studio_that_is_not_there_is_no_reason_to_fail(key: str, tmp_path: Path) -> None:
    store = HttpStore("http://127.0.0.1:1", key, name=NAME, token_file=tmp_path / "token")
    status = HostStatus(state=RobotState.HOLDING)
    with pytest.raises(AwayError, match="does not answer"):
        store.announce(kind="test", address="127.0.0.1:1", status=status)
    with pytest.raises(AwayError, match="does not answer"):
        store.dataset("x")
    store.sign(status)
    assert store.trouble() == "the studio does not answer"
    store.close()
    assert store.trouble() == "the studio does not answer"


def test_the_token_of_a_host_is_its_own_and_outlives_it(studio: LiveStudio, store: HttpStore, tmp_path: Path) -> None:
    status = HostStatus(state=RobotState.HOLDING)
    token = store.announce(kind="test", address="127.0.0.1:1", status=status)
    again = HttpStore(studio.origin, "dvh_x", name=NAME, token_file=tmp_path / "token")
    assert again.token == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    other = HttpStore(studio.origin, new_key(studio.parts.settings, "b"), name="b", token_file=tmp_path / "b")
    assert other.announce(kind="test", address="127.0.0.1:1", status=status) != token
    for one in (store, other):
        one.withdraw(address="127.0.0.1:1")
    for one in (again, other):
        one.close()
    assert robot(studio) is None

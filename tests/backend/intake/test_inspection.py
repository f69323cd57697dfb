"""The process that looks at a file: ended in time, and confined."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from backend.core.db import new_id
from backend.core.errors import InvalidError, TooManyError
from backend.core.turns import Turns
from backend.intake import accept as ingest
from backend.intake import child as child_module
from backend.intake.accept import RefusedError
from backend.intake.child import Child, LostError, started
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow
from tests.support.intake import stored_files, take
from tests.support.paths import ROOT
from tests.support.processes import alive, children

pytestmark = pytest.mark.slow

CURIOUS = "tests.support.curious_reader"


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """Pictures that were never written cost nothing on the disk, and each is hashed, copied and hashed again."""
    steps = 150_000
    with h5py.File(tmp_path / "endless.hdf5", "w") as file:
        file.create_dataset("action", shape=(steps, 1), dtype="f4", chunks=(2**16, 1), compression="gzip")
        file.create_dataset("observations/qpos", shape=(steps, 1), dtype="f4", chunks=(2**16, 1), compression="gzip")
        shape = (steps, 64, 80, 3)
        file.create_dataset(
            "observations/images/cam", shape=shape, dtype="u1", chunks=(64, 64, 80, 3), compression="gzip"
        )
        file["language_raw"] = ["Do it."]
    return tmp_path / "endless.hdf5"


def warm() -> list[int]:
    return children(os.getpid(), "backend.intake.warm")


def forked() -> list[int]:
    """Processes that look at a file now."""
    return [child for one in warm() for child in children(one)]


def test_an_inspection_ends_when_nobody_waits_for_it(studio: Studio, dataset_id: str, endless: Path) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take, studio, dataset_id, endless, stop=stop)
        (child,) = wait_for(forked)
        wait_for(lambda: os.getpriority(os.PRIO_PROCESS, child) >= 10)  # it gives way to everybody
        stop.set()
        with pytest.raises(InvalidError, match="The upload broke off; nothing was kept"):
            taken.result(timeout=60)
    wait_for(lambda: not forked())
    assert stored_files(studio) == []


def test_an_upload_ends_with_its_client(
    app: FastAPI, client: Callable[[str], TestClient], studio: Studio, dataset_id: str, endless: Path
) -> None:
    """The application itself, asked by a client that goes as soon as it has sent the file."""
    cookie = "; ".join(f"{name}={value}" for name, value in client("operator").cookies.items())
    headers = {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000", "cookie": cookie}
    scope = {
        "type": "http", "method": "POST", "path": f"/api/datasets/{dataset_id}/episodes", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "http_version": "1.1",
        "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "root_path": "", "app": app,
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": endless.read_bytes(), "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 422
    assert b"The upload broke off" in sent[1]["body"]
    assert stored_files(studio) == []
    assert not list(studio.settings.folder.uploads.iterdir())


def test_an_inspection_that_says_too_much_is_ended(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_LONGEST_ANSWER", 100)
    with pytest.raises(RefusedError, match="its reader was ended, since it said 0 MiB and more"):
        take(studio, dataset_id, good)
    assert stored_files(studio) == []


def test_only_a_few_are_looked_at_at_once() -> None:
    turns, stop, running = Turns(at_once=1, waiting=1), threading.Event(), threading.Event()

    def wait() -> None:
        running.set()
        with turns.turn(stop):
            pass

    with ThreadPoolExecutor(1) as pool:
        with turns.turn(stop):
            waiting = pool.submit(wait)
            wait_for(lambda: turns._begun == 2)
            with pytest.raises(TooManyError, match="2 other files are being looked at"):
                turns.check()
            with pytest.raises(TooManyError), turns.turn(stop):
                pytest.fail("there was no room")
        waiting.result(timeout=10)
        with turns.turn(stop):
            gone = pool.submit(wait)
            wait_for(lambda: turns._begun == 2)
            stop.set()
            with pytest.raises(InvalidError, match="broke off"):
                gone.result(timeout=10)
    turns.check()


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def test_work_without_end_is_ended(
    studio: Studio, dataset_id: str, endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_CPU_SECONDS", 3)
    with pytest.raises(RefusedError, match="more than 3 s of computing"):
        take(studio, dataset_id, endless)
    assert stored_files(studio) == []


def test_the_inspection_reaches_nothing_else(tmp_path: Path) -> None:
    for name in ("source", "target", "secret"):
        (tmp_path / name).write_text(name)
    files = {name: str(tmp_path / name) for name in ("source", "target", "secret")}
    with socket.create_server(("127.0.0.1", 0)) as server, started(CURIOUS) as child:
        found = ask(child, {"work": "reach", **files, "port": server.getsockname()[1]})
    if not all(found["confined"]):
        pytest.skip("this kernel or container forbids landlock or namespaces")
    denied = "PermissionError"
    assert found["outcomes"][:4] == ["done", denied, denied, "done"]
    assert found["outcomes"][4:7] == ["OSError", denied, denied]
    assert found["outcomes"][7] in {denied, "OSError"}
    assert found["outcomes"][8] == "MemoryError"
    assert (tmp_path / "target").stat().st_size == 1000


def ask(child: Child, order: dict[str, Any]) -> dict[str, Any]:
    child.send(json.dumps(order).encode() + b"\n")
    answer = child.stdout.readline()
    assert answer, child.complaints()
    found: dict[str, Any] = json.loads(answer)
    return found


@pytest.fixture
def own_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm process of the test's own, started within it."""
    monkeypatch.setattr(child_module, "_warm", child_module._Warm())


@pytest.mark.usefixtures("own_warm")
def test_a_forked_process_holds_nothing_of_ours_and_nothing_of_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in its environment nor anywhere in its memory, and no descriptor but its own three."""
    password, other, own = (f"{new_id()}{new_id()}" for _ in range(3))
    monkeypatch.setenv("STUDIO_DATABASE_URL", f"postgresql://studio:{password}@database/studio")
    with started(CURIOUS) as first, started(CURIOUS) as second:
        ask(first, {"work": "wait", "source": other})
        found = ask(second, {"work": "look", "source": own, "reversed": [password[::-1], other[::-1], own[::-1]]})
        assert "PATH" in found["environment"]
        assert not [name for name in found["environment"] if name.startswith("STUDIO")]
        assert found["held"] == [False, False, True]  # what it was told itself is found: the search works
        assert found["descriptors"] == [0, 1, 2]
        assert found["threads"] == 1
        assert found["session"] == second.pid


@pytest.mark.usefixtures("own_warm")
def test_two_files_at_once_cannot_see_each_other(tmp_path: Path) -> None:
    for name in ("a", "b", "copy_a", "copy_b"):
        (tmp_path / name).write_text(name)
    with started(CURIOUS) as first, started(CURIOUS) as second:
        ask(first, {"work": "wait", "source": str(tmp_path / "a")})
        files = {"source": str(tmp_path / "b"), "target": str(tmp_path / "copy_b")}
        others = [str(tmp_path / "a"), str(tmp_path / "copy_a"), f"/proc/{first.pid}/mem", f"/proc/{first.pid}/fd/0"]
        pids = [first.pid, *warm()]
        found = ask(second, {"work": "spy", **files, "others": others, "pids": pids})
        if not found["confined"]:
            pytest.skip("this kernel has no landlock")
        assert found["opened"] == ["PermissionError"] * 4
        assert found["traced"] == ["PermissionError"] * len(pids)
        if found["landlock"] >= 6:
            assert found["killed"] == ["PermissionError"] * len(pids)
            assert ask(first, {}) == {"still": True}


@pytest.mark.usefixtures("own_warm")
def test_each_file_has_a_process_of_its_own(studio: Studio, dataset_id: str, good: Path) -> None:
    with started(CURIOUS) as first:
        mother = ask(first, {"work": "wait", "source": ""})["parent"]
    with started(CURIOUS) as second:
        assert ask(second, {"work": "wait", "source": ""})["parent"] == mother
        assert second.pid != first.pid
    take(studio, dataset_id, good)
    assert mother in warm()
    wait_for(lambda: not forked())


@pytest.mark.usefixtures("own_warm")
def test_after_a_crash_the_next_file_finds_other_addresses() -> None:
    with started(CURIOUS) as waiting:
        before = ask(waiting, {"work": "wait", "source": ""})["parent"]
        with started(CURIOUS) as crashing:
            crashing.send(b'{"work": "crash"}\n')
            assert crashing.wait(60)
            assert crashing.status == -signal.SIGSEGV
        with started(CURIOUS) as after:
            assert ask(after, {"work": "wait", "source": ""})["parent"] != before
        assert ask(waiting, {}) == {"still": True}  # what was looked at meanwhile is looked at to its end
    wait_for(lambda: before not in warm())


def test_a_warm_process_that_is_killed_costs_another_try(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch, own_warm: None
) -> None:
    real, killed = ingest._await, list[int]()

    def await_killed(child: Child, name: str, stop: threading.Event) -> tuple[int, bytes]:
        if not killed:
            killed.append(child.pid)
            os.kill(psutil.Process(child.pid).ppid(), signal.SIGKILL)
            with pytest.raises(LostError):
                real(child, name, stop)
            while alive(child.pid):  # the kernel ends it, in its own time
                time.sleep(0.01)
        return real(child, name, stop)

    monkeypatch.setattr(ingest, "_await", await_killed)
    episode_id = take(studio, dataset_id, good)
    with studio.db.transaction(write=False) as db:
        assert db.scalars(select(EpisodeRow.id)).all() == [episode_id]
    assert len(killed) == 1
    assert len(stored_files(studio)) == 1


def test_a_file_whose_reader_is_always_ended_is_refused(
    studio: Studio, dataset_id: str, endless: Path, own_warm: None
) -> None:
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take, studio, dataset_id, endless)
        for _ in range(child_module.TRIES):
            (one,) = wait_for(forked)
            os.kill(psutil.Process(one).ppid(), signal.SIGKILL)
            wait_for(lambda: one not in forked())  # noqa: B023  # it is asked within the loop alone
        with pytest.raises(RefusedError, match="its reader was ended"):
            taken.result(timeout=60)
    assert stored_files(studio) == []


@pytest.mark.parametrize("program", ["/bin/false", "/nothing/here"])
def test_where_no_reader_starts_the_file_is_not_blamed_and_the_next_try_finds_one(
    client: Callable[[str], TestClient],
    studio: Studio,
    dataset_id: str,
    good: Path,
    program: str,
    own_warm: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator, path = client("operator"), f"/api/datasets/{dataset_id}/episodes?name=good.hdf5"
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", program)
        answer = operator.post(path, content=good.read_bytes())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_reader")
    assert "cannot start the process that looks at files" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "10"
    assert stored_files(studio) == []
    assert not list(studio.settings.folder.uploads.iterdir())
    assert operator.post(path, content=good.read_bytes()).status_code == 201


STUDIO = """
from backend.intake.child import started
with started("tests.support.curious_reader") as child:
    child.send(b'{"work": "wait", "source": ""}\\n')
    print(child.pid, child.stdout.readline().decode(), flush=True)
    input()
"""


def test_a_warm_process_ends_with_its_studio() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUDIO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        pid, _, answer = process.stdout.readline().decode().partition(" ")
        mother = json.loads(answer)["parent"]
        assert alive(int(pid))
        process.kill()
    wait_for(lambda: not alive(mother))
    wait_for(lambda: not alive(int(pid)))

"""The process that looks at a file: ended in time, and confined."""

import asyncio
import os
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
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.core.errors import InvalidError, TooManyError
from backend.core.turns import Turns
from backend.intake import accept as ingest
from backend.intake.accept import RefusedError
from backend.studio.context import Studio
from tests.support.intake import stored_files, take
from tests.support.processes import children


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


def test_an_inspection_ends_when_nobody_waits_for_it(studio: Studio, dataset_id: str, endless: Path) -> None:
    before, stop = set(children(os.getpid())), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take, studio, dataset_id, endless, stop=stop)
        (child,) = wait_for(lambda: set(children(os.getpid())) - before)
        wait_for(lambda: os.getpriority(os.PRIO_PROCESS, child) >= 10)  # it gives way to everybody
        stop.set()
        with pytest.raises(InvalidError, match="The upload broke off; nothing was kept"):
            taken.result(timeout=60)
    assert child not in children(os.getpid())
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


CONFINED = """
import os, socket, sys
from pathlib import Path
from backend.intake import confine
confine.die_with_parent()
alone = confine.leave_network()
kept = confine.keep_only(readable=Path(sys.argv[1]), writable=Path(sys.argv[2]))
confine.limit(memory_bytes=2**30, cpu_seconds=60, file_bytes=1000)
print(alone, kept)
def attempt(what):
    try:
        what()
        print("done")
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
attempt(lambda: open(sys.argv[1]).read())
attempt(lambda: open(sys.argv[3]).read())
attempt(lambda: os.listdir("/"))
attempt(lambda: open(sys.argv[2], "w").write("x" * 900))
attempt(lambda: [open(sys.argv[2], "ab", buffering=0).write(b"x" * 900) for _ in range(2)])
attempt(lambda: open(sys.argv[1], "a"))
attempt(lambda: open(sys.argv[2] + ".more", "w"))
attempt(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[4])), timeout=5))
attempt(lambda: bytearray(2**31))
"""


def test_the_inspection_reaches_nothing_else(tmp_path: Path) -> None:
    for name in ("source", "target", "secret"):
        (tmp_path / name).write_text(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        files = [str(tmp_path / name) for name in ("source", "target", "secret")]
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", CONFINED, *files, port], capture_output=True, text=True, timeout=60
        )
    confinement, *outcomes = done.stdout.splitlines()
    if "False" in confinement:
        pytest.skip("this kernel or container forbids landlock or namespaces")
    denied = "PermissionError"
    assert outcomes[:4] == ["done", denied, denied, "done"], done.stderr
    assert outcomes[4:7] == ["OSError", denied, denied]
    assert outcomes[7] in {denied, "OSError"}
    assert outcomes[8] == "MemoryError"
    assert (tmp_path / "target").stat().st_size == 1000

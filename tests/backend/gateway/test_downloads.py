"""Downloads through the process in front: the application says of what they consist, the kernel sends the files."""

import hashlib
import http.client
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.core.db import utc_now
from backend.core.downloads import Content, Part
from backend.core.pieces import Piece, Reading, Stretch, written
from backend.core.settings import Settings
from backend.exports.files import archive_parts, files_of
from backend.tables.dataset import Dataset
from backend.tables.export import Export
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.robot_hosts import until

pytestmark = pytest.mark.waiting

SIZES = (0, 1, 511, 70_000, 9_000_000)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStudio]:
    folder = tmp_path_factory.mktemp("studio")
    with live_studio(Settings(data=folder, redis_url=f"unix://{folder / 'nobody.sock'}")) as studio:
        yield studio


@pytest.fixture
def export(studio: LiveStudio) -> Export:
    with studio.parts.db.transaction() as db:
        dataset = Dataset(name=os.urandom(4).hex())
        db.add(dataset)
        db.flush()
        row = Export(
            dataset_id=dataset.id, job_id="0" * 32, name="export", format="csv", choice={}, episode_ids=[], steps=1,
            finished_at=utc_now(), destination={"kind": "archive", "name": None},
        )  # fmt: skip
        db.add(row)
        db.flush()
        folder = studio.parts.settings.folder.export(row.id)
        folder.mkdir(parents=True)
        for number, size in enumerate(SIZES):
            (folder / f"{number}.bin").write_bytes(random.Random(number).randbytes(size))
        parts = _parts(studio, row)
        row.files, row.file_bytes = files_of(parts)
        row.size_bytes, row.sha256 = len(_whole(studio, row)), hashlib.sha256(_whole(studio, row)).hexdigest()
    return row


def _parts(studio: LiveStudio, row: Export) -> tuple[Part, ...]:
    return archive_parts(studio.parts.settings.folder.export(row.id), row.name, made=row.created_at)


def _whole(studio: LiveStudio, row: Export) -> bytes:
    content = Content(name="", parts=_parts(studio, row), tag="", media_type="")
    return b"".join(content.read(0, content.size))


def _path(row: Export) -> str:
    return f"/api/datasets/{row.dataset_id}/exports/{row.id}/archive"


def test_pieces_are_read_as_they_were_written_wherever_they_are_cut(tmp_path: Path) -> None:
    pieces: list[Piece] = [
        b"head",
        Stretch(file=tmp_path / "ä \udcff", offset=2**40, size=2**41),
        b"",
        b"x" * 70_000,
        Stretch(file=Path("/a"), offset=0, size=1),
    ]
    sent = b"".join(written(pieces))
    for length in (1, 7, 65_536, len(sent)):
        reading = Reading()
        cuts = range(0, len(sent), length)
        assert [one for cut in cuts for one in reading.feed(sent[cut : cut + length])] == pieces


def test_archives_and_ranges_arrive_whole_on_one_connection(studio: LiveStudio, export: Export) -> None:
    whole, cookie = _whole(studio, export), studio.cookie("viewer")
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    local = None
    for start, end in ((0, len(whole)), (0, 1), (511, 2000), (600, 8_000_000), (len(whole) - 3, len(whole))):
        asked = {} if end - start == len(whole) else {"Range": f"bytes={start}-{end - 1}"}
        connection.request("GET", _path(export), headers={"Cookie": cookie, "X-Studio-Pieces": "1", **asked})
        assert local in (None, connection.sock.getsockname())
        local = connection.sock.getsockname()
        answer = connection.getresponse()
        assert answer.status == (206 if asked else 200)
        assert answer.getheader("Content-Length") == str(end - start)
        assert answer.getheader("ETag") == f'"{export.sha256}"'
        assert str(answer.getheader("Repr-Digest")).startswith("sha-256=:")
        assert answer.getheader("X-Studio-Pieces") is None
        assert answer.read() == whole[start:end]
    connection.request("HEAD", _path(export), headers={"Cookie": cookie})
    answer = connection.getresponse()
    assert (answer.getheader("Content-Length"), answer.read()) == (str(len(whole)), b"")
    connection.close()


def test_who_reads_slowly_gets_all_of_it(studio: LiveStudio, export: Export) -> None:
    whole, got = _whole(studio, export), b""
    with _asked(studio, export) as client:
        assert client.recv(1, socket.MSG_PEEK)
        until(lambda: _waits(studio), 10)  # nothing more fits
        while block := client.recv(2**20):
            got += block
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert body == whole


def test_who_leaves_leaves_no_file_open(studio: LiveStudio, export: Export) -> None:
    with _asked(studio, export) as client:
        assert client.recv(1, socket.MSG_PEEK)
        until(lambda: _waits(studio), 10)
    until(lambda: not _waits(studio), 10)


def test_a_file_that_shrinks_meanwhile_breaks_the_download_off(studio: LiveStudio, export: Export) -> None:
    largest = studio.parts.settings.folder.export(export.id) / f"{len(SIZES) - 1}.bin"
    with _asked(studio, export) as client:
        assert client.recv(1, socket.MSG_PEEK)
        until(lambda: _waits(studio), 10)
        os.truncate(largest, 10)
        got = 0
        while block := client.recv(2**20):
            got += len(block)
    assert 0 < got < export.size_bytes


def _asked(studio: LiveStudio, row: Export) -> socket.socket:
    """A client that has asked for the archive, and has little room for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
    client.settimeout(60)
    client.connect(("127.0.0.1", studio.port))
    head = f"GET {_path(row)} HTTP/1.1\r\nHost: x\r\nCookie: {studio.cookie('viewer')}\r\nConnection: close\r\n\r\n"
    client.sendall(head.encode())
    return client


def _waits(studio: LiveStudio) -> bool:
    """Whether the gateway has a file of an export open."""
    exports = str(studio.parts.settings.folder.export("x").parent)
    return any(str(file.resolve()).startswith(exports) for file in Path(f"/proc/{studio.process.pid}/fd").iterdir())

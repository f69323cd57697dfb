"""CPU of a download: gateway and application together, beside what the kernel alone costs.

    python benchmarks/downloads.py [--megabytes N] [--files N] [--turns N] [--json FILE] [--folder DIR]

`studio api` on loopback with an SQLite database sends an episode's file, and an export's archive of `files` files of
the same size together, `turns` times each. Beside them a process that does nothing else sends the same file by
sendfile, as nginx does, and by reading and sending 64 KiB at a time. CPU is that of who sends, user and system; the
client's is left out.
"""

import argparse
import http.client
import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from backend.core.archive import sha256_of
from backend.core.db import utc_now
from backend.core.settings import Settings
from backend.exports.files import archive_parts, files_of
from backend.tables.export import Export
from benchmarks.intake import make
from dexvla.files import write_json
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.processes import children

WHO = "operator"
BLOCK = 2**20


def seconds_of(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def fetch(studio: LiveStudio, path: str) -> int:
    """Bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=600)
    connection.request("GET", path, headers={"Cookie": studio.cookie(WHO)})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    buffer, count = memoryview(bytearray(BLOCK)), 0
    while got := answer.readinto(buffer):
        count += got
    connection.close()
    return count


def upload(studio: LiveStudio, dataset_id: str, file: Path) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=600)
    headers = {"Cookie": studio.cookie(WHO), "Origin": studio.origin, "Content-Length": str(file.stat().st_size)}
    with file.open("rb") as body:
        connection.request("POST", f"/api/datasets/{dataset_id}/episodes?name={file.name}", body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
    assert answer.status == 201, content
    connection.close()
    found: str = content["episode"]["id"]
    return found


def export(studio: LiveStudio, dataset_id: str, count: int, size: int) -> str:
    row = Export(
        dataset_id=dataset_id, job_id="0" * 32, name="export", format="csv", choice={}, episode_ids=[], steps=1,
        created_by_name=WHO, created_at=utc_now(), finished_at=utc_now(), destination={"kind": "archive", "name": None},
    )  # fmt: skip
    with studio.parts.db.transaction() as db:
        db.add(row)
        db.flush()
        folder = studio.parts.settings.folder.export(row.id)
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:05}.bin").write_bytes(np.random.default_rng(number).bytes(size))
        parts = archive_parts(folder, row.name, made=row.created_at)
        row.files, row.file_bytes = files_of(parts)
        row.size_bytes, row.sha256 = sum(part.size for part in parts), sha256_of(parts)
        return row.id


def plain(file: Path, turns: int, *, sendfile: bool) -> float:
    """CPU seconds of a process that sends a file over loopback and does nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as server, file.open("rb") as opened:
        pid = os.fork()
        if not pid:
            for _ in range(turns):
                connection, _ = server.accept()
                with connection:
                    opened.seek(0)
                    if sendfile:
                        connection.sendfile(opened)
                    else:
                        while block := opened.read(2**16):
                            connection.sendall(block)
            os._exit(0)
        buffer = bytearray(BLOCK)
        for _ in range(turns):
            with socket.create_connection(server.getsockname()) as client:
                while client.recv_into(buffer):
                    continue
        _, _, used = os.wait4(pid, 0)
        return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--files", type=int, default=200, help="of the archive")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--folder", type=Path, help="where to work; default the system's temporary folder")
    options = parser.parse_args()
    figures: dict[str, Any] = {}

    def note(name: str, size: int, used: float) -> None:
        figures[name] = {"bytes": size, "cpu_seconds_a_gb": round(used / size * 1e9, 3)}

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source = Path(folder) / "episode.hdf5"
        make(source, options.megabytes)
        size = options.turns * source.stat().st_size
        note("sendfile alone", size, plain(source, options.turns, sendfile=True))
        note("read and send, 64 KiB", size, plain(source, options.turns, sendfile=False))
        settings = Settings(data=Path(folder) / "studio", redis_url=f"unix://{folder}/nobody.sock")
        with live_studio(settings) as studio:
            dataset_id = studio.request("POST", "/api/datasets", {"name": "downloads"}, who=WHO)[1]["id"]
            episode_id = upload(studio, dataset_id, source)
            export_id = export(studio, dataset_id, options.files, 10**6 * options.megabytes // options.files)
            pids = [studio.process.pid, *children(studio.process.pid, "application")]
            for name, path in (
                ("episode", f"/api/episodes/{episode_id}/file"),
                ("archive", f"/api/datasets/{dataset_id}/exports/{export_id}/archive"),
            ):
                fetch(studio, path)
                before = [seconds_of([pid]) for pid in pids]
                size = sum(fetch(studio, path) for _ in range(options.turns))
                used = [seconds_of([pid]) - one for pid, one in zip(pids, before, strict=True)]
                note(name, size, sum(used))
                figures[name] |= {"gateway": round(used[0] / size * 1e9, 3)}
    if options.json:
        write_json(options.json, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

"""Both stores, the second against a real S3 server, and the cache between it and whoever reads."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import obstore
import pytest

from backend.core.s3_place import S3Place
from backend.store.base import Store, StoreAwayError, Stored, StoreDamagedError
from backend.store.cache import Cache, Wanted
from backend.store.folder import FolderStore
from backend.store.hold import hold
from backend.store.s3 import S3Store
from tests.support.paths import ROOT
from tests.support.s3_server import Server

MIB = 2**20


def _file(path: Path, size: int, key: str) -> Stored:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = os.urandom(size)
    path.write_bytes(data)
    return Stored(key=key, sha256=hashlib.sha256(data).hexdigest(), size=size)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "data")
    server: Server = request.getfixturevalue("s3")
    return S3Store(server.place(), Cache(tmp_path / "cache", limit=100 * MIB))


def test_what_is_put_is_found_read_listed_and_deleted(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "data" / ".new.tmp"
    file = _file(source, 3 * MIB + 5, "episodes/d/one.hdf5")
    data = source.read_bytes()
    store.put(source, file)
    assert not source.exists()
    assert store.size(file.key) == file.size
    assert store.path(file).read_bytes() == data
    assert b"".join(store.read(file.key, 1 * MIB, 2 * MIB + 7)) == data[MIB : 2 * MIB + 7]
    assert [(one.key, one.size) for one in store.list("episodes/d")] == [(file.key, file.size)]
    assert list(store.list("episodes/other")) == []
    store.delete([file.key, "episodes/d/never-there.hdf5"])
    assert store.size(file.key) is None
    with pytest.raises(FileNotFoundError, match=r"one\.hdf5"):
        list(store.read(file.key, 0, 1))
    assert store.problem(write=True) is None


def test_a_file_of_another_disk_is_put(tmp_path: Path) -> None:
    """As where the jobs' folder is mounted from a faster one."""
    device = tmp_path.stat().st_dev
    place = next((each for each in (Path("/dev/shm"), ROOT) if each.stat().st_dev != device), None)
    if place is None:
        pytest.skip("the checkout, the temporary folder and /dev/shm are one file system here")
    with tempfile.TemporaryDirectory(dir=place, prefix=".other-disk-") as elsewhere:
        source = Path(elsewhere) / "new"
        file = _file(source, 5000, "episodes/d/one.hdf5")
        data = source.read_bytes()
        store = FolderStore(tmp_path)
        store.put(source, file)
        assert not source.exists()
    assert store.path(file).read_bytes() == data
    assert [path.name for path in (tmp_path / "episodes" / "d").iterdir()] == ["one.hdf5"]


def test_a_folder_of_files_is_whole_under_their_names(store: Store, tmp_path: Path) -> None:
    here = tmp_path / "data" / "runs" / "r" / "checkpoints" / "step-1"
    files = [_file(here / name, 1000, f"runs/r/checkpoints/step-1/{name}") for name in ("config.json", "weights")]
    for file in files:
        store.share(tmp_path / "data" / file.key, file)
    found = store.folder("ab" * 32, files)
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        path.name: path.read_bytes() for path in here.iterdir()
    }


def test_large_files_go_in_parts_and_come_back_in_blocks(s3: Server, tmp_path: Path) -> None:
    place = s3.place()
    store = S3Store(place, Cache(tmp_path / "cache", limit=100 * MIB))
    file = _file(tmp_path / "large", 33 * MIB, "a/large.bin")
    data = (tmp_path / "large").read_bytes()
    store.share(tmp_path / "large", file)
    tag = obstore.head(s3.client(place), file.key)["e_tag"]
    assert tag is not None
    assert tag.rstrip('"').endswith("-3"), "of 16 MiB each"
    assert store.path(file).read_bytes() == data


def test_damage_in_the_store_is_told_and_nothing_of_it_stays(s3: Server, tmp_path: Path) -> None:
    place = s3.place()
    store = S3Store(place, Cache(tmp_path / "cache", limit=MIB))
    file = _file(tmp_path / "one", 5000, "a/one")
    for damage, said in ((b"short", "shorter than 5000 bytes"), (bytes(5000), "its sha256 is")):
        obstore.put(s3.client(place), file.key, damage, use_multipart=False)
        with pytest.raises(StoreDamagedError, match=said):
            store.path(file)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != ".evicting"] == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"secret": "wrong"}, "does not let the studio in"),
        ({"endpoint": "http://127.0.0.1:1"}, "cannot be used at the moment"),
        ({"url": "s3://nobody-made-it/x"}, "NoSuchBucket|no such bucket"),
    ],
)
def test_a_store_that_cannot_be_used_says_why_and_no_secret(
    s3: Server, tmp_path: Path, other: dict[str, str], said: str
) -> None:
    secret = {"secret": "studio-secret"} | {key: value for key, value in other.items() if key == "secret"}
    place = S3Place.model_validate(s3.place().model_dump() | other | secret)
    problem = S3Store(place, Cache(tmp_path / "cache", limit=MIB)).problem(write=True)
    assert problem is not None
    assert re.search(said, problem), problem
    assert place.secret is not None
    assert place.secret.get_secret_value() not in problem + repr(place)


def test_a_server_that_hangs_is_told_within_seconds(s3: Server, tmp_path: Path) -> None:
    store = S3Store(s3.place(), Cache(tmp_path / "cache", limit=MIB))
    with s3.away():
        began = time.monotonic()
        assert "cannot be used at the moment" in (store.problem() or "")
        assert time.monotonic() - began < 30
    assert store.problem() is None


# --- the cache ----------------------------------------------------------------------------------------------------


def _wanted(data: bytes, asked: list[int] | None = None) -> Wanted:
    def fetch(target: object) -> None:
        if asked is not None:
            asked.append(len(data))
            time.sleep(0.05)  # the others come meanwhile
        target.write(data)  # type: ignore[attr-defined]

    return Wanted(sha256=hashlib.sha256(data).hexdigest(), size=len(data), fetch=fetch)


def test_of_many_that_want_a_file_one_fetches_it(tmp_path: Path) -> None:
    asked: list[int] = []
    wanted = _wanted(os.urandom(1000), asked)
    caches = [Cache(tmp_path, limit=MIB) for _ in range(8)]  # as many processes
    threads = [threading.Thread(target=cache.file, args=(wanted,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [1000]
    assert list((tmp_path / "fetching").iterdir()) == []


@pytest.fixture
def full(tmp_path: Path) -> tuple[Cache, list[Path]]:
    """A cache with room for three files of a hundred bytes, and four of them, the first of longest ago."""
    cache = Cache(tmp_path / "cache", limit=300, recent_seconds=60)
    paths = [cache.file(_wanted(os.urandom(100))) for _ in range(4)]
    for number, path in enumerate(paths):
        os.utime(path, (time.time() - 1000 + number,) * 2)
    return cache, paths


def test_what_was_used_longest_ago_goes_first(full: tuple[Cache, list[Path]]) -> None:
    cache, paths = full
    assert cache.file(_wanted(paths[0].read_bytes())) == paths[0]  # used now
    assert cache.trim() == 100
    assert [path.exists() for path in paths] == [True, False, True, True]
    assert cache.trim(room=300) == 200, "what was asked for just now stays"
    assert [path.exists() for path in paths] == [True, False, False, False]


def test_what_somebody_has_open_or_linked_stays(full: tuple[Cache, list[Path]], tmp_path: Path) -> None:
    cache, paths = full
    held = hold(paths[1], tmp_path / "job" / "episode.hdf5")
    reader = [sys.executable, "-c", "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        [*reader, str(paths[0])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert cache.trim(room=300) == 200
        assert [path.exists() for path in paths] == [True, True, False, False]
        process.communicate()
    held.unlink()
    assert cache.trim(room=300) == 200


@pytest.mark.kill
def test_a_fetch_that_is_killed_leaves_nothing_that_counts(s3: Server, tmp_path: Path) -> None:
    """Killed while the bytes come; the next one fetches the file whole, at once."""
    data = os.urandom(1000)
    digest = hashlib.sha256(data).hexdigest()
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom backend.store.cache import Cache, Wanted\n"
        "def fetch(file):\n    file.write(b'half'); file.flush(); print('half', flush=True); time.sleep(60)\n"
        "Cache(Path(sys.argv[1]), limit=10**6).file(Wanted(sha256=sys.argv[2], size=1000, fetch=fetch))"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path, digest], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.kill()
    assert not (tmp_path / digest[:2] / digest).exists()
    assert Cache(tmp_path, limit=10**6).file(_wanted(data)).read_bytes() == data


def test_a_store_that_goes_away_while_a_file_comes_leaves_nothing(s3: Server, tmp_path: Path) -> None:
    place = s3.place(endpoint="http://127.0.0.1:1")
    store = S3Store(place, Cache(tmp_path / "cache", limit=MIB))
    store._client = store._quick  # tries for seconds instead of minutes
    with pytest.raises(StoreAwayError):
        store.path(Stored(key="a/b", sha256="00" * 32, size=5))
    assert not list((tmp_path / "cache").glob("??/*"))

"""Files from outside: what is fine comes in unchanged, what is harmful or does not fit leaves nothing behind."""

import asyncio
import dataclasses
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
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from backend.core.db import new_id
from backend.core.errors import DiskFullError, InvalidError, TooManyError
from backend.core.turns import Turns
from backend.intake import accept as ingest
from backend.intake.accept import AlreadyThereError, RefusedError, accept
from backend.intake.copying import fresh_copy
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow, EpisodeSource
from dexvla.episodes.format import SCENE_ATTRIBUTES, EpisodeData, StepSource
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError
from tests.support.processes import children
from tests.support.small_disk import small_disk

MakeData = Callable[..., EpisodeData]


@pytest.fixture
def dataset_id(studio: Studio) -> str:
    with studio.db.transaction() as db:
        row = Dataset(id=new_id(), name="cubes")
        db.add(row)
        return row.id


@pytest.fixture
def good(tmp_path: Path, make_data: MakeData) -> Path:
    write_episode(tmp_path / "good.hdf5", make_data())
    return tmp_path / "good.hdf5"


def take(studio: Studio, dataset_id: str, file: Path, **given: Any) -> str:
    return accept(studio, dataset_id=dataset_id, file=file, source=EpisodeSource.UPLOADED, **given).episode_id


def stored_files(studio: Studio) -> list[Path]:
    return [path for path in studio.settings.folder.episodes.rglob("*") if path.is_file()]


def test_a_good_file_comes_in_with_the_same_identity(studio: Studio, dataset_id: str, good: Path) -> None:
    episode_id = take(studio, dataset_id, good)
    with open_episode(good) as original, open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert episode_identity(original) == episode_identity(stored)
        assert original.substep_reasonings == stored.substep_reasonings
        assert original.attributes == stored.attributes
        identity = episode_identity(stored)
    with studio.db.transaction() as db:
        row = db.get(EpisodeRow, episode_id)
        dataset = db.get(Dataset, dataset_id)
        assert row is not None
        assert dataset is not None
        assert (row.identity, row.steps, row.number, row.fps) == (identity, 24, 0, 50.0)
        assert (dataset.action_dim, dataset.cameras) == (14, ["cam_high", "cam_left_wrist", "cam_right_wrist"])


def test_labels_may_be_left_behind(studio: Studio, dataset_id: str, good: Path) -> None:
    episode_id = take(studio, dataset_id, good, keep_labels=False)
    with open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert stored.substep_reasonings is None


@pytest.mark.parametrize("jpeg", [True, False])
def test_nothing_unknown_is_kept(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData, jpeg: bool
) -> None:
    write_episode(tmp_path / "odd.hdf5", make_data(jpeg=jpeg))
    with h5py.File(tmp_path / "odd.hdf5", "r+") as file:
        file["payload"] = np.zeros(1000)
        file["action"].attrs["note"] = "<script>"
        file.attrs["author"] = "somebody"
    episode_id = take(studio, dataset_id, tmp_path / "odd.hdf5")
    with h5py.File(studio.settings.folder.episode(dataset_id, episode_id)) as file:
        assert "payload" not in file
        assert not file["action"].attrs
        assert "author" not in file.attrs


def test_what_was_drawn_for_pick_colour_is_kept(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    drawn = {"level": "jitter", "split": "held_out", "swapped": True, "named_colour": "red", "other_colour": "blue"}
    data = make_data()
    for number, task in enumerate(("pick_colour", "insertion")):
        attributes = dataclasses.replace(data.attributes, task=task, seed=number)
        episode = dataclasses.replace(data, action=data.action + number, attributes=attributes, extra_attributes=drawn)
        write_episode(tmp_path / f"{task}.hdf5", episode)
    kept = take(studio, dataset_id, tmp_path / "pick_colour.hdf5")
    with h5py.File(studio.settings.folder.episode(dataset_id, kept)) as file:
        assert {name: file.attrs[name] for name in drawn} == drawn
    other = take(studio, dataset_id, tmp_path / "insertion.hdf5")
    with h5py.File(studio.settings.folder.episode(dataset_id, other)) as file:
        assert not drawn.keys() & set(file.attrs)
    with h5py.File(tmp_path / "pick_colour.hdf5", "r+") as file:
        file.attrs["level"] = "x" * 1000
    with pytest.raises(RefusedError, match=r"level is .*at most 64 characters"):
        take(studio, dataset_id, tmp_path / "pick_colour.hdf5")


def test_what_went_wrong_on_purpose_and_who_commanded_a_step_are_kept(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data = make_data()
    steps = len(data.action)
    sources = [StepSource.DISTURBANCE, *[StepSource.SCRIPTED] * (steps - 1)]
    said = {"mishaps": "push, miss", "wide_start": True, "execution_noise": 0.01, "correction": "no progress"}
    write_episode(tmp_path / "one.hdf5", dataclasses.replace(data, step_source=sources, extra_attributes=said))
    kept = take(studio, dataset_id, tmp_path / "one.hdf5")
    path = studio.settings.folder.episode(dataset_id, kept)
    with h5py.File(path) as file:
        assert {name: file.attrs[name] for name in said} == said
    with open_episode(path) as episode:
        assert list(episode.step_source or ()) == sources
    with h5py.File(tmp_path / "one.hdf5", "r+") as file:
        file.attrs["mishaps"] = "x" * 1000
    with pytest.raises(RefusedError, match=r"mishaps is .*at most 64 characters"):
        take(studio, dataset_id, tmp_path / "one.hdf5")


def hostile_external_link(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["action"]
        file["action"] = h5py.ExternalLink("/etc/passwd", "/action")


def hostile_external_storage(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["observations/qpos"]
        file.create_dataset(
            "observations/qpos", shape=(24, 14), dtype="f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
        )


def hostile_virtual(path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(24, 14), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(24, 14))
    with h5py.File(path, "r+") as file:
        del file["observations/qpos"]
        file.create_virtual_dataset("observations/qpos", layout)


def hostile_huge(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["action"]
        file.create_dataset("action", shape=(10**9, 1000), dtype="f4", chunks=(1000, 1000))


def hostile_bomb(path: Path) -> None:
    """A megabyte of zeros a step, squeezed to nothing."""
    with h5py.File(path, "r+") as file:
        for camera in list(file["observations/images"]):
            del file[f"observations/images/{camera}"]
        file["observations/images"].create_dataset(
            "cam_high", shape=(24, 2**28), dtype="u1", chunks=(1, 2**20), compression="gzip"
        )


def hostile_chunk(path: Path) -> None:
    """Gigabytes in one chunk that are a few kilobytes on the disk: whoever reads one step unpacks them all."""
    with h5py.File(path, "r+") as file:
        del file["observations/images/cam_high"]
        file.create_dataset(
            "observations/images/cam_high", shape=(24, 2**27), dtype="u1", chunks=(24, 2**27), compression="gzip"
        )


def hostile_steps(path: Path) -> None:
    """Pixels that were never written cost nothing, and are pictures."""
    steps = 10**7
    with h5py.File(path, "w") as file:
        file.create_dataset("action", shape=(steps, 1), dtype="f4", chunks=(2**16, 1))
        file.create_dataset("observations/qpos", shape=(steps, 1), dtype="f4", chunks=(2**16, 1))
        file.create_dataset("observations/images/cam", shape=(steps, 8, 8, 3), dtype="u1", chunks=(1, 8, 8, 3))
        file["language_raw"] = ["Do it."]


def hostile_names(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["robot"] = "r" * 10_000


def hostile_paths(path: Path) -> None:
    """Forty groups, each holding the next one twice: 2 ** 40 ways through a file of a few kilobytes."""
    with h5py.File(path, "r+") as file:
        group = file.create_group("a")
        for _ in range(40):
            group["b"] = following = group.create_group("a")
            group = following


def hostile_nesting(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        group = file
        for _ in range(5000):
            group = group.create_group("a")


def hostile_width(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for number in range(60_000):
            h5py.h5g.create(file.id, str(number).encode())


def hostile_seed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["seed"] = np.uint64(2**64 - 1)


def hostile_instruction(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["language_raw"]
        file["language_raw"] = np.array([b"Lift\0it"], "S8")


def hostile_soft_link(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["observations/images/again"] = h5py.SoftLink("/observations/images")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_hdf5(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 not an episode")


def nan(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["action"][3, 2] = np.nan


def broken_picture(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["observations/images/cam_high"][5] = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (hostile_external_link, "links are refused"),
        (hostile_external_storage, "external or virtual storage"),
        (hostile_virtual, "external or virtual storage"),
        (hostile_huge, "more than 256 MiB"),
        (hostile_bomb, "more than 32 MiB"),
        (hostile_chunk, "chunks of 3072 MiB, at most 64 MiB"),
        (hostile_steps, "10000000 steps of 1 dimensions; at most"),
        (hostile_names, "attribute robot is 'rrrr"),
        (hostile_paths, "nested more than 16 deep"),
        (hostile_nesting, "nested more than 16 deep"),
        (hostile_width, "more than 10000 entries"),
        (hostile_seed, "seed is 18446744073709551615"),
        (hostile_instruction, "its instruction holds control characters"),
        (hostile_soft_link, "links are refused"),
        (truncated, "not a readable HDF5 file"),
        (no_hdf5, "not a readable HDF5 file"),
        (nan, "NaN or infinite, first at step 3, dimension 2"),
        (broken_picture, "step 5"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_stays(
    studio: Studio, dataset_id: str, good: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(good)
    with pytest.raises(RefusedError) as refused:
        take(studio, dataset_id, good)
    assert message in str(refused.value.errors)
    assert stored_files(studio) == []
    with studio.db.transaction() as db:
        assert db.scalars(select(EpisodeRow)).all() == []


def test_the_same_episode_comes_in_once(studio: Studio, dataset_id: str, good: Path) -> None:
    first = take(studio, dataset_id, good)
    with pytest.raises(AlreadyThereError, match="as episode 0") as refused:
        take(studio, dataset_id, good)
    assert refused.value.episode_id == first
    assert len(stored_files(studio)) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"action_dim": 7}, "action dimensions 7, the dataset's episodes have 14"),
        ({"cameras": ("cam_high",)}, "the cameras cam_high, the dataset's episodes have cam_high, cam_left_wrist"),
        ({"attributes": {"fps": 30.0}}, "Hz 30.0, the dataset's episodes have 50.0"),
        ({"attributes": {"render_profile": "full"}}, "render profile full"),
    ],
)
def test_episodes_of_a_dataset_agree(
    studio: Studio,
    dataset_id: str,
    good: Path,
    tmp_path: Path,
    make_data: MakeData,
    given: dict[str, Any],
    message: str,
) -> None:
    take(studio, dataset_id, good)
    write_episode(tmp_path / "other.hdf5", make_data(seed=1, **given))
    with pytest.raises(RefusedError) as refused:
        take(studio, dataset_id, tmp_path / "other.hdf5")
    assert message in str(refused.value)
    assert len(stored_files(studio)) == 1


def test_a_full_disk_is_told_before_anything_is_written(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskFullError, match="no room"):
        take(studio, dataset_id, good)
    assert stored_files(studio) == []


def test_a_full_disk_in_the_middle_leaves_nothing(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = studio.settings.folder.episodes
    with small_disk(folder, kib=96):
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**40})())
        with pytest.raises(DiskFullError, match="became full"):
            take(studio, dataset_id, good)
        assert stored_files(studio) == []


def test_what_expands_beyond_measure_is_refused(
    studio: Studio, dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same picture at every step, squeezed to a hundredth; written plainly it would fill the disk."""
    monkeypatch.setattr(ingest, "_SPARE_BYTES", 2**20)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    picture = np.frombuffer(encode_jpeg(noise), np.uint8)
    steps = 300
    with h5py.File(tmp_path / "e.hdf5", "w") as file:
        file["action"] = file["observations/qpos"] = np.zeros((steps, 2), np.float32)
        rows = np.tile(picture, (steps, 1))
        file.create_dataset("observations/images/cam", data=rows, chunks=(50, len(picture)), compression="gzip")
        file["language_raw"] = ["Do it."]
        file.attrs["compress"] = True
    with pytest.raises(RefusedError, match="more than twice as large as the file"):
        take(studio, dataset_id, tmp_path / "e.hdf5")
    assert stored_files(studio) == []


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """All pictures in one chunk of zeros: each of them unpacks them all, again and again."""
    steps = 4000
    with h5py.File(tmp_path / "endless.hdf5", "w") as file:
        file["action"] = file["observations/qpos"] = np.zeros((steps, 1), np.float32)
        whole = (steps, 64, 80, 3)
        file.create_dataset("observations/images/cam", shape=whole, dtype="u1", chunks=whole, compression="gzip")
        file["observations/images/cam"][0] = 1
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


def test_wide_padding_is_not_taken_over(studio: Studio, dataset_id: str, good: Path) -> None:
    with h5py.File(good, "r+") as file:
        for camera in list(file["observations/images"]):
            name = f"observations/images/{camera}"
            rows = file[name][()]
            del file[name]
            wide = file.create_dataset(name, (24, 2**22), "u1", chunks=(1, 2**22), compression="gzip")
            for step, row in enumerate(rows):
                wide[step, : len(row)] = row
    with open_episode(good) as original:
        identity, frame = episode_identity(original), original.frame("cam_high", 7)
    stored = studio.settings.folder.episode(dataset_id, take(studio, dataset_id, good))
    assert stored.stat().st_size < 2**20
    with open_episode(stored) as copy:
        assert episode_identity(copy) == identity
        assert np.array_equal(copy.frame("cam_high", 7), frame)


def test_packed_pixels_are_read_a_step_at_a_time(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    file = tmp_path / "packed.hdf5"
    write_episode(file, make_data(jpeg=False))
    with h5py.File(file, "r+") as opened:
        name = "observations/images/cam_high"
        pixels = opened[name][()]
        del opened[name]
        opened.create_dataset(name, data=pixels, chunks=(24, 48, 64, 1), compression="gzip")
    with open_episode(file) as original:
        identity = episode_identity(original)
    stored = studio.settings.folder.episode(dataset_id, take(studio, dataset_id, file))
    with h5py.File(stored) as opened:
        assert opened["observations/images/cam_high"].chunks == (1, 48, 64, 3)
        assert opened["observations/images/cam_left_wrist"].compression is None
    with open_episode(stored) as copy:
        assert episode_identity(copy) == identity


def test_odd_labels_and_names_become_plain(studio: Studio, dataset_id: str, good: Path) -> None:
    with h5py.File(good, "r+") as file:
        del file["substep_reasonings"]
        file["substep_reasonings"] = ["Reach\nout\x07"] * 12 + ["x" * 500] * 12
    accepted = accept(
        studio, dataset_id=dataset_id, file=good, source=EpisodeSource.UPLOADED, original_name="a\0b\n\ud800.hdf5"
    )
    assert any("12 substep reasonings are longer than 400" in warning for warning in accepted.warnings)
    with studio.db.transaction(write=False) as db:
        draft, row = db.get(Draft, (accepted.episode_id, Tier.SUBSTEP, 0)), db.get(EpisodeRow, accepted.episode_id)
        assert draft is not None
        assert row is not None
        assert row.original_name == "ab.hdf5"
        assert [(s.end, s.text, s.provenance) for s in draft.segments] == [
            (12, "Reach out", "imported"),
            (24, "x" * 400, "imported"),
        ]


def test_a_rate_that_is_told_later_holds_from_then_on(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    for number, fps in enumerate((None, 30.0)):
        write_episode(tmp_path / f"{number}.hdf5", make_data(seed=number, attributes={"fps": fps}))
        take(studio, dataset_id, tmp_path / f"{number}.hdf5")
    write_episode(tmp_path / "2.hdf5", make_data(seed=2, attributes={"fps": 50.0}))
    with pytest.raises(RefusedError, match=r"Hz 50.0, the dataset's episodes have 30.0"):
        take(studio, dataset_id, tmp_path / "2.hdf5")


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


def test_marks_made_while_driving_come_along(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    write_episode(tmp_path / "a.hdf5", dataclasses.replace(make_data(), marks=[3, 17]))
    episode_id = take(studio, dataset_id, tmp_path / "a.hdf5")
    with open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert stored.marks == (3, 17)


def test_marks_outside_the_episode_are_refused(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    with pytest.raises(EpisodeError, match="rising steps from 0 to 23"):
        write_episode(tmp_path / "a.hdf5", dataclasses.replace(make_data(), marks=[24]))
    write_episode(tmp_path / "a.hdf5", make_data())
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["marks"] = np.array([9, 3])
    with pytest.raises(RefusedError, match="marks holds"):
        take(studio, dataset_id, tmp_path / "a.hdf5")
    assert stored_files(studio) == []


def test_what_tells_a_scene_from_others_comes_along(tmp_path: Path, make_data: MakeData) -> None:
    """Attributes of a task that nobody here knows, and their names; twice, as after a download and an import."""
    scene = {"colour": "blue", "distance": 0.2}
    data = dataclasses.replace(make_data(), extra_attributes={**scene, SCENE_ATTRIBUTES: ", ".join(scene)})
    write_episode(tmp_path / "a.hdf5", data)
    fresh_copy(tmp_path / "a.hdf5", tmp_path / "b.hdf5", keep_labels=True)
    fresh_copy(tmp_path / "b.hdf5", tmp_path / "c.hdf5", keep_labels=True)
    with open_episode(tmp_path / "c.hdf5") as episode:
        assert episode.scene_attributes == scene

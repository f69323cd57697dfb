"""Every format comes in through confined processes; what a source brings down costs one episode of it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import StoragePlugin

from backend.intake import child, conversion
from backend.intake.conversion import Converted, NotConverted, conversions, look
from dexvla.episodes.check import check_file
from dexvla.episodes.format import LabelSource
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError
from dexvla.formats.registry import exporter, importers
from dexvla.spec import ImportProfile
from tests.support.episode_data import episode_data
from tests.support.foreign_files import CAMERA, foreign_file
from tests.support.hdf5_layouts import write_droid, write_robotwin
from tests.support.media_data import export_episode, exported, write_ros2
from tests.support.processes import children
from tests.support.robot_hosts import until

pytestmark = pytest.mark.slow


def media(*names: str) -> Callable[[Path], None]:
    """What exporters write of one labelled episode."""

    def write(folder: Path) -> None:
        data = episode_data(steps=12, cameras=("cam_high",))
        one = export_episode(folder.parent, data, label_source=LabelSource.HUMAN)
        for name in names:
            exported(exporter(name), folder, one)

    return write


def images_and_table(folder: Path) -> None:
    rows = "".join(f"{step / 10},{step},{step}\n" for step in range(5))
    (folder / "demo" / "top").mkdir(parents=True)
    (folder / "demo" / "steps.csv").write_text(f"time,state_0,action_0\n{rows}")
    for step in range(5):
        Image.fromarray(np.full((32, 48, 3), 40 * step, np.uint8)).save(folder / "demo" / "top" / f"{step}.png")


def bag(folder: Path) -> None:
    folder.mkdir()
    write_ros2(folder / "pick", StoragePlugin.SQLITE3)


FORMATS: list[tuple[str, Callable[[Path], object], bool]] = [
    ("act", media("episodes"), True),
    ("lerobot", media("lerobot"), True),
    ("robomimic", media("robomimic"), True),
    ("mp4-csv", media("csv", "mp4"), True),
    ("mcap", media("mcap"), True),
    ("images-csv", images_and_table, False),
    ("rosbag", bag, False),
    ("rlds", media("rlds"), True),
    ("robotwin", lambda folder: write_robotwin(folder / "data" / "episode0.hdf5"), False),
    ("droid", write_droid, False),
]


def test_no_format_is_left_out() -> None:
    assert {name for name, _, _ in FORMATS} | {"hdf5"} == set(importers())  # which is several of them


@pytest.mark.parametrize(("name", "write", "labelled"), FORMATS)
def test_every_format_comes_in(tmp_path: Path, name: str, write: Callable[[Path], object], labelled: bool) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    write(source)
    profile = ImportProfile(instruction="Do it.")
    shown = look(source, profile)
    assert (shown["format"], shown["episodes"], shown["refusals"]) == (name, 1, [])
    assert all(frame["image"] for camera in shown["cameras"] for frame in camera["frames"])
    (one,) = conversions(source, out, profile)
    assert isinstance(one, Converted), one
    assert check_file(one.file).ok
    with open_episode(one.file) as episode:
        assert episode.steps == shown["kept_steps"]
        assert (episode.substep_reasonings is not None) is labelled is (shown["labels"] is not None)


def test_files_of_a_folder_in_several_layouts_come_in_each_as_its_own(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    foreign_file(source / "aloha" / "episode_0.hdf5")
    write_droid(source / "droid")
    media("robomimic")(tmp_path / "made")
    (tmp_path / "made").rename(source / "libero")
    write_robotwin(source / "twin" / "data" / "episode0.hdf5")
    (source / "zero.hdf5").write_bytes(b"no HDF5")
    shown = look(source, ImportProfile())
    assert (shown["format"], shown["episodes"]) == ("hdf5", 5)
    became = list(conversions(source, out, ImportProfile(instruction="Do it.")))
    shapes = {}
    for each in became[:4]:
        assert isinstance(each, Converted), each
        with open_episode(each.file) as episode:
            shapes[each.name.partition("/")[0]] = (episode.action.shape[1], len(episode.cameras))
    assert shapes == {"aloha": (7, 1), "droid": (8, 1), "libero": (14, 1), "twin": (14, 1)}
    assert isinstance(became[4], NotConverted)
    assert became[4].name == "zero.hdf5"


def test_a_source_that_takes_a_process_down_costs_one_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "CPU_SECONDS", 3)
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    for number in (1, 3):
        foreign_file(source / f"episode_{number}.hdf5")
    steps, size = 150_000, (64, 80, 3)
    with h5py.File(source / "episode_2.hdf5", "w") as file:  # frames without end that take no room
        file.create_dataset("action", shape=(steps, 1), dtype="f4", chunks=(2**16, 1), compression="gzip")
        file.create_dataset("observations/qpos", shape=(steps, 1), dtype="f4", chunks=(2**16, 1), compression="gzip")
        file.create_dataset(CAMERA, shape=(steps, *size), dtype="u1", chunks=(64, *size), compression="gzip")
        file["language_raw"] = ["Do it."]
    first, second, third = conversions(source, out, ImportProfile())
    assert isinstance(first, Converted)
    assert isinstance(third, Converted)
    assert isinstance(second, NotConverted)
    assert second.name == "episode_2.hdf5"
    assert "more than 3 s of computing" in second.reason


def test_warm_processes_that_are_killed_cost_no_episode(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    for number in range(5):
        foreign_file(source / f"episode_{number}.hdf5")
    found = []
    for one in conversions(source, out, ImportProfile()):
        if len(found) < 4:  # more often than one episode would be tried
            for warm in children(os.getpid(), "backend.intake.warm"):
                os.kill(warm, signal.SIGKILL)
        found.append(one)
    assert [one.name for one in found] == [f"episode_{number}.hdf5" for number in range(5)]
    assert all(isinstance(one, Converted) and check_file(one.file).ok for one in found)


def test_only_what_is_left_is_converted_and_links_lead_nowhere(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    outside = foreign_file(tmp_path / "secret.hdf5")
    for number in (1, 2):
        foreign_file(source / f"episode_{number}.hdf5")
    foreign_file(source / ".hidden" / "episode_9.hdf5")
    os.symlink(outside, source / "episode_3.hdf5")
    found = {one.name: one for one in conversions(source, out, ImportProfile(), done={"episode_1.hdf5"})}
    assert set(found) == {"episode_2.hdf5", "episode_3.hdf5"}
    refused = found["episode_3.hdf5"]
    assert isinstance(refused, NotConverted)
    assert "outside" in refused.reason
    assert str(tmp_path) not in refused.reason


def test_a_file_that_the_process_cannot_have_made_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that a source took over may say what it likes; whoever hears it has more rights."""
    out, ours = tmp_path / "out", tmp_path / "ours.hdf5"
    out.mkdir()
    ours.write_bytes(b"x")
    (out / "link").symlink_to(ours)
    (out / "made").write_bytes(b"x")
    assert conversion._made_in(out, out / "made")
    for wrong in (ours, out / "link", out / ".." / "ours.hdf5", out, out / "none"):
        assert not conversion._made_in(out, wrong)


@pytest.fixture
def chatty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_LONGEST_LINE", 2**20)
    monkeypatch.setattr(conversion, "_MOST", 2 * 2**20)
    real = child.started
    monkeypatch.setattr(conversion, "started", lambda _, **given: real("tests.support.chatty_reader", **given))


@pytest.mark.usefixtures("chatty")
@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("line", "its reader was ended, since it said a line of 1 MiB and more"),
        ("endless", "its reader was ended, since it said more than 2 MiB"),
        ("junk", "its reader says what is no JSON"),
    ],
)
def test_a_reader_that_a_source_took_over_is_ended(tmp_path: Path, source: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        look(tmp_path / source, ImportProfile())
    (tmp_path / "out").mkdir()
    became = list[Converted | NotConverted]()
    with pytest.raises(UserError, match=told):
        became.extend(conversions(tmp_path / source, tmp_path / "out", ImportProfile()))
    assert all(isinstance(one, NotConverted) and told in one.reason for one in became)


@pytest.mark.usefixtures("chatty")
def test_a_reader_that_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_LOOK_SECONDS", 3)
    with pytest.raises(UserError, match="takes more than"):
        look(tmp_path / "silent", ImportProfile())


@pytest.mark.usefixtures("chatty")
def test_what_a_reader_complains_of_costs_nothing_and_what_it_started_ends(tmp_path: Path) -> None:
    assert look(tmp_path / "noise", ImportProfile()) == {}
    pid = look(tmp_path / "family", ImportProfile())["pid"]
    until(lambda: not _runs(pid), 30)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_no_source_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"looks like none of lerobot, rlds, .*robomimic"):
        look(tmp_path / "source", ImportProfile())
    with pytest.raises(UserError, match="looks like none"):
        list(conversions(tmp_path / "source", tmp_path, ImportProfile()))

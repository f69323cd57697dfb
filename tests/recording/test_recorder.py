"""Recording: what was handed over is in the episode, once; a journal that was cut off anywhere is whole up to there."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dexvla.episodes.check import check_file
from dexvla.episodes.format import EpisodeAttributes, StepSource
from dexvla.episodes.jpeg import decode_jpeg, encode_jpeg
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError
from dexvla.recording.finish import finish
from dexvla.recording.journal import RecordingHead, read_head, read_journal
from dexvla.recording.recorder import EpisodeRecorder, RecordedStep
from tests.support.small_disk import small_disk

CAMERAS = ("high", "wrist")
HEAD = RecordingHead(
    instruction="Stack the cups.",
    attributes=EpisodeAttributes(sim=True, robot="aloha_sim", fps=50.0, render_profile="fast", seed=7),
    cameras=CAMERAS,
    state_dim=3,
    action_dim=2,
    notes={"dataset_id": "d", "by": "ada"},
)


def frame(number: int, *, side: int = 32) -> np.ndarray:
    x = np.arange(side * side * 3, dtype=np.uint32).reshape(side, side, 3)
    return ((x * (number + 1)) >> 4).astype(np.uint8)


def step(index: int, *, side: int = 32, source: StepSource = StepSource.HUMAN, start: float = 5.0) -> RecordedStep:
    """50 Hz, with a new frame of each camera at every third step."""
    shown, taken = index // 3, start + 0.06 * (index // 3)
    return RecordedStep(
        time=start + 0.02 * index,
        host_time=1.7e9 + 0.021 * index,
        source=source,
        qpos=np.full(3, index, np.float32),
        qvel=np.full(3, -index, np.float32),
        action=np.full(2, index + 0.5, np.float32),
        action_sent=np.full(2, index + 0.25, np.float32),
        frames={name: (taken, FRAMES[side][shown % 8]) for name in CAMERAS},
    )


def record(
    recorder: EpisodeRecorder, steps: int, sources: tuple[StepSource, ...] = (StepSource.HUMAN,), *, first: int = 0
) -> None:
    """Ten times as fast as a robot would, which any machine keeps up with."""
    for index in range(first, first + steps):
        recorder.add(step(index, source=sources[index % len(sources)]))
        time.sleep(0.002)


FRAMES = {side: [frame(number, side=side) for number in range(8)] for side in (32, 240)}


def test_everything_is_in_the_episode(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path / "a.partial", HEAD)
    sources = (StepSource.HUMAN, StepSource.HOLD, StepSource.POLICY)
    record(recorder, 40, sources)
    recorder.mark()
    recorder.mark()  # a key that bounced
    record(recorder, 60, sources, first=40)
    recorder.mark()  # no step came after it
    assert recorder.seconds == pytest.approx(99 * 0.02)
    recorder.finish(success=True)
    assert finish(tmp_path / "a.partial", tmp_path / "a.hdf5") == 100
    assert check_file(tmp_path / "a.hdf5").errors == []
    with open_episode(tmp_path / "a.hdf5") as episode:
        steps = np.arange(100)
        assert (episode.qpos[:, 0] == steps).all()
        assert (episode.action[:, 1] == steps + 0.5).all()
        assert (episode.action_sent[:, 1] == steps + 0.25).all()
        assert episode.timestamp == pytest.approx(5 + 0.02 * steps)
        assert episode.host_timestamp == pytest.approx(1.7e9 + 0.021 * steps, abs=1e-5)
        assert episode.image_timestamp("wrist") == pytest.approx(5 + 0.06 * (steps // 3))
        assert episode.step_source == tuple(sources[index % 3] for index in range(100))
        assert episode.marks == (40,)
        assert (episode.instruction, episode.attributes.success) == ("Stack the cups.", True)
        assert (episode.attributes.seed, episode.attributes.render_profile) == (7, "fast")
        for index in (0, 2, 3, 99):
            expected = decode_jpeg(encode_jpeg(FRAMES[32][index // 3 % 8]))
            assert (episode.frame("high", index) == expected).all()


def test_a_frame_that_many_steps_show_is_encoded_and_stored_once(tmp_path: Path) -> None:
    encoded = []

    def encode(camera: str, time: float, image: np.ndarray) -> bytes:
        encoded.append((camera, time))
        return encode_jpeg(image)

    recorder = EpisodeRecorder(tmp_path / "a.partial", HEAD, encode=encode)
    record(recorder, 90)
    recorder.finish(success=None)
    assert len(encoded) == len(set(encoded)) == 2 * 30
    journal = read_journal(tmp_path / "a.partial")
    assert len(journal.frames["high"]) == 30
    assert len(journal.steps) == 90


def test_it_begins_when_every_camera_has_a_frame(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path / "a.partial", HEAD)
    for index in range(6):
        early = step(index)
        recorder.add(RecordedStep(**vars(early) | {"frames": {"high": early.frames["high"]}}))
    assert recorder.steps == 0
    recorder.add(step(6))
    recorder.finish(success=False)
    journal = read_journal(tmp_path / "a.partial")
    assert [kept.time for kept in journal.steps] == [pytest.approx(5.12)]
    assert (journal.ended, journal.success) == (True, False)


def test_cut_off_anywhere_it_is_whole_up_to_there(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path / "a.partial", HEAD)
    record(recorder, 60)
    recorder.leave()
    content = (tmp_path / "a.partial").read_bytes()
    head = content.index(b'"notes"') + len(b'"notes": {"dataset_id": "d", "by": "ada"}}')
    whole = read_journal(tmp_path / "a.partial")
    assert (len(whole.steps), whole.ended) == (60, False)
    random = np.random.default_rng(0)
    before = -1
    for length in sorted(random.integers(0, len(content), 200)):
        (tmp_path / "cut").write_bytes(content[:length])
        if length < head:
            with pytest.raises(EpisodeError):
                read_journal(tmp_path / "cut")
            continue
        cut = read_journal(tmp_path / "cut")
        assert len(cut.steps) >= before
        before = len(cut.steps)
        assert [kept.time for kept in cut.steps] == [kept.time for kept in whole.steps[:before]]
        if before:
            assert finish(tmp_path / "cut", tmp_path / "cut.hdf5") == before
            assert check_file(tmp_path / "cut.hdf5").errors == []
    assert before > 50
    # and a bit that fell over ends it there, instead of a wrong frame
    place = content.rindex(b"\xff\xd8")
    (tmp_path / "cut").write_bytes(content[: place + 100] + b"\x00\x00" + content[place + 102 :])
    assert 50 < len(read_journal(tmp_path / "cut").steps) < 60


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(EpisodeError, match="not a recording"):
        read_head(tmp_path / "a.partial")
    (tmp_path / "a.partial").write_bytes(b"dexvla recording 1\n")
    with pytest.raises(EpisodeError, match="no head"):
        read_journal(tmp_path / "a.partial")


def test_an_encoder_that_hangs_costs_frames_which_are_counted_and_no_step(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(camera: str, time: float, image: np.ndarray) -> bytes:
        go_on.wait()
        return encode_jpeg(image)

    recorder = EpisodeRecorder(tmp_path / "a.partial", HEAD, encode=slow)
    longest = 0.0
    for index in range(600):
        began = time.perf_counter()
        recorder.add(step(index))
        longest = max(longest, time.perf_counter() - began)
    go_on.set()
    recorder.finish(success=None)
    journal = read_journal(tmp_path / "a.partial")
    assert len(journal.steps) == 600
    for name in CAMERAS:
        assert recorder.dropped[name] > 100
        assert recorder.dropped[name] + len(journal.frames[name]) == 200, "each is there or counted"
    assert longest < 0.05, "it never waits"
    assert finish(tmp_path / "a.partial", tmp_path / "a.hdf5") == 600
    with open_episode(tmp_path / "a.hdf5") as episode:
        assert episode.image_timestamp("high")[-1] < episode.timestamp[-1] - 1, "the old frame bears its own time"


def test_a_clock_that_begins_anew_ends_it(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path / "a.partial", HEAD)
    for index in range(10):
        recorder.add(step(index))
    recorder.add(step(0, start=0.0))
    assert "scene was reset" in (recorder.ended or "")
    recorder.add(step(11))
    recorder.finish(success=None)
    assert len(read_journal(tmp_path / "a.partial").steps) == 10


def test_discarding_leaves_nothing(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path / "a.partial", HEAD)
    for index in range(10):
        recorder.add(step(index))
    recorder.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_it_and_keeps_what_came_before(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder, kib=600):
        recorder = EpisodeRecorder(folder / "a.partial", HEAD)
        for index in range(2000):
            recorder.add(step(index, side=240))
            time.sleep(0.001)
            if recorder.ended:
                break
        assert "cannot be written" in (recorder.ended or "")
        with pytest.raises(OSError, match="space"):
            recorder.finish(success=True)
        journal = read_journal(folder / "a.partial")
        assert len(journal.steps) > 10
        assert finish(folder / "a.partial", tmp_path / "a.hdf5") == len(journal.steps)


def test_the_finishing_process_ends_with_its_owner() -> None:
    process = subprocess.Popen([sys.executable, "-m", "dexvla.recording.finish"], stdin=subprocess.PIPE)
    process.communicate(timeout=20)
    assert process.returncode == 0

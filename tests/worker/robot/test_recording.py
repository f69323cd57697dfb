"""Recording on a real robot host: driven by hand, saved into a dataset, and kept whatever dies meanwhile."""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from backend.core.db import new_id
from backend.core.settings import Settings
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.user import User
from dexvla.episodes.format import StepSource
from dexvla.episodes.reader import Episode, open_episode
from dexvla.live.messages import LiveState
from dexvla.robots.base import Frame
from dexvla.spec import CameraSpec
from tests.support.databases import make_tables
from tests.support.robot_hosts import LiveHost, robot_host, until
from worker.robot.cameras import CameraHub
from worker.supervise.broker import broker_command


class Desk:
    """A studio with a broker, a person and a dataset; hosts come and go."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder / "studio", redis_url=f"unix://{folder}/valkey.sock")
        self.settings.folder.prepare()
        self.broker = subprocess.Popen(broker_command(folder, folder / "valkey.sock"), stdout=subprocess.DEVNULL)
        self.studio = Studio.open(self.settings)
        make_tables(self.studio.db)
        self.person, self.dataset = new_id(), new_id()
        with self.studio.db.transaction() as db:
            db.add(User(id=self.person, name="ada", password_hash="x", role="operator"))
            db.add(Dataset(id=self.dataset, name="cups", cameras=[], vocabulary=[]))

    @contextmanager
    def host(self) -> Iterator[LiveHost]:
        with robot_host(self.settings) as process:
            host = LiveHost(self.studio, process)
            until(lambda: host.state().tick_hz > 10)
            yield host

    @property
    def recordings(self) -> Path:
        return self.settings.folder.robots / "aloha-sim.recordings"

    def rows(self) -> list[EpisodeRow]:
        with self.studio.db.transaction(write=False) as db:
            return list(db.query(EpisodeRow).order_by(EpisodeRow.number))

    @contextmanager
    def episode(self, row: EpisodeRow) -> Iterator[Episode]:
        with open_episode(self.settings.folder.episode(row.dataset_id, row.id)) as episode:
            yield episode

    def record(self, host: LiveHost) -> LiveState:
        status, answer = host.post("/live/record", {"dataset_id": self.dataset, "instruction": "Lift the cube."})
        assert status == 200, answer
        return LiveState.model_validate(answer)

    def end(self) -> None:
        self.studio.close()
        self.broker.kill()
        self.broker.wait()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.end()


@contextmanager
def driving(host: LiveHost, **arm: Any) -> Iterator[None]:
    """A page that holds the dead-man and drives the left arm; where the machine was too busy for its messages, it
    presses again."""
    epoch = host.state().epoch
    ended = threading.Event()
    with host.socket("/live/control", **{"X-Studio-By": "ada", "X-Studio-Session": "a"}) as socket:

        def send() -> None:
            for seq in itertools.count(1):
                held = not ended.is_set() and not lost(socket)
                message = {"type": "drive", "seq": seq, "sent": time.monotonic() * 1000, "epoch": epoch}
                try:
                    socket.send(json.dumps(message | {"deadman": held, "evidence_ms": 0, "left": arm}))
                except ConnectionClosed:
                    return
                if ended.is_set():
                    return
                time.sleep(0.04)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def lost(socket: ClientConnection) -> bool:
    """Whether one of the answers so far says that the dead-man has to be pressed again."""
    codes = set()
    with suppress(TimeoutError):
        while True:
            codes.add(json.loads(socket.recv(timeout=0)).get("code"))
    return "reclutch" in codes


def drive_on(host: LiveHost, steps: int = 50) -> None:
    """Until so many steps of a person were made while it records."""
    done = host.live().recording.steps + steps
    until(lambda: host.live().recording.steps >= done and host.live().mode.value == "drive")


def test_a_person_drives_records_and_finds_the_episode_in_the_dataset(desk: Desk) -> None:
    with desk.host() as host:
        state = desk.record(host)
        assert state.recording is not None
        status, answer = host.post("/live/record", {"dataset_id": desk.dataset, "instruction": "Again."})
        assert (status, "already" in answer["error"]) == (409, True)
        until(lambda: (host.live().recording.steps or 0) > 20)
        with driving(host, linear=[0, 0, 0.15], gripper=1):
            until(lambda: host.live().mode.value == "drive")
            drive_on(host)
            before = host.live().recording.steps
            status, answer = host.post("/live/mark", None)
            assert (status, answer["recording"]["marks"]) == (200, 1), answer
            after = host.live().recording.steps
            drive_on(host)
        asked, shown = time.monotonic(), host.live().recording.steps
        status, answer = host.post("/live/save", {"success": True})
        assert status == 200, answer
        until(lambda: host.live().saved is not None)
        saved = host.live().saved
        assert saved.error is None, saved
        assert host.live().recording is None
        (row,) = desk.rows()
        assert (row.id, row.source, row.created_by) == (saved.episode_id, EpisodeSource.LIVE, desk.person)
        assert (row.instruction, row.success, row.fps) == ("Lift the cube.", True, 50.0)
        assert row.steps == saved.steps
        assert shown <= row.steps <= shown + 50 * (time.monotonic() - asked) + 5
        with desk.episode(row) as episode:
            (mark,) = episode.marks
            assert before <= mark <= after
            sources = set(episode.step_source)
            assert {StepSource.HUMAN, StepSource.HOLD} <= sources <= {StepSource.HUMAN, StepSource.HOLD}
            human = [index for index, source in enumerate(episode.step_source) if source is StepSource.HUMAN]
            lifted = episode.qpos[human[-1]] - episode.qpos[human[0]]
            assert abs(lifted[:3]).max() > 0.05
            assert lifted[6] > 0.5, "the gripper opened"
            clock = episode.host_timestamp
            assert abs(clock[-1] - time.time()) < 60
            assert (np.diff(clock) > 0).all()
            # A simulator's clock stands still where the machine was too slow for a step; the host's does not.
            assert clock[-1] - clock[0] > episode.timestamp[-1] - episode.timestamp[0] - 0.1
            for camera in ("cam_high", "cam_left_wrist", "cam_right_wrist"):
                shown = episode.image_timestamp(camera)
                assert (shown <= episode.timestamp).all()
                assert len(set(shown)) > 3, "it moves"
                assert (episode.frame(camera, 0) != episode.frame(camera, episode.steps - 1)).any()
        assert list(desk.recordings.glob("*")) == []


def test_who_looks_and_who_records_share_one_encoding() -> None:
    hub = CameraHub([CameraSpec(name="eye", height=48, width=64)])
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    hub.show_interest("eye")
    hub.bring({"eye": Frame(image=image, time=1.0)}, robot_time=1.0)
    until(lambda: hub.newest("eye") is not None, 5)
    assert hub.encoded("eye", image) is hub.newest("eye").data
    assert hub.encoded("eye", image.copy()) is not hub.newest("eye").data, "another frame, were it equal"
    hub.close()


def test_the_recording_goes_on_without_its_page_and_says_so(desk: Desk) -> None:
    with desk.host() as host:
        with driving(host):
            desk.record(host)
            until(lambda: host.live().recording.steps > 10)
            assert host.live().recording.note is None
        until(lambda: "nobody is at the controls" in (host.live().recording.note or ""))
        steps = host.live().recording.steps
        until(lambda: host.live().recording.steps > steps + 25)
        status, _ = host.post("/live/discard")
        assert status == 200
        assert host.live().recording is None
        status, answer = host.post("/live/save", {})
        assert (status, "nothing is being recorded" in answer["error"]) == (409, True)
        assert desk.rows() == []
        assert list(desk.recordings.glob("*")) == []


def test_a_killed_hosts_recording_is_in_the_dataset_after_its_next_start(desk: Desk) -> None:
    with desk.host() as host:
        desk.record(host)
        until(lambda: host.live().recording.steps > 60)
        seen = host.live().recording.steps
        os.kill(host.process.pid, signal.SIGKILL)
        host.process.wait()
    assert desk.rows() == []
    with desk.host():
        until(lambda: len(desk.rows()) == 1)
        (row,) = desk.rows()
        assert row.steps >= seen - 25, "half a second at most"
        assert (row.success, row.created_by) == (None, desk.person)
        until(lambda: list(desk.recordings.glob("*")) == [])


def test_a_host_that_is_asked_to_end_keeps_what_it_records(desk: Desk) -> None:
    with desk.host() as host:
        desk.record(host)
        until(lambda: host.live().recording.steps > 60)
        host.process.terminate()
        host.process.wait(30)
    assert len(list(desk.recordings.glob("*.partial"))) == 1
    with desk.host():
        until(lambda: len(desk.rows()) == 1)


def test_without_a_database_the_file_waits_and_is_listed_later(desk: Desk) -> None:
    with desk.host() as host:
        desk.record(host)
        until(lambda: host.live().recording.steps > 30)
        holder = sqlite3.connect(desk.settings.folder.database, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")  # nobody else can write now
        try:
            host.post("/live/save", {"success": False})
            until(lambda: host.live().saved is not None, 60)
            saved = host.live().saved
            assert "database" in saved.error
            assert "tried again" in saved.error
            assert saved.steps > 30
            assert len(list(desk.recordings.glob("*.hdf5"))) == 1
            assert host.state().tick_hz > 10
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        until(lambda: host.live().saved.error is None, 60)
        (row,) = desk.rows()
        assert (row.success, row.steps) == (False, saved.steps)


def test_a_dataset_that_does_not_fit_is_refused_before_and_one_that_is_gone_keeps_the_file(desk: Desk) -> None:
    other = new_id()
    with desk.studio.db.transaction() as db:
        db.add(Dataset(id=other, name="arm", cameras=["wrist"], vocabulary=[], action_dim=7, state_dim=7))
        db.add(
            EpisodeRow(
                id=new_id(),
                dataset_id=other,
                number=0,
                identity="0" * 64,
                steps=1,
                action_dim=7,
                state_dim=7,
                cameras=[],
                sim=False,
                size_bytes=1,
                source=EpisodeSource.UPLOADED,
                instruction="x",
            )
        )
    with desk.host() as host:
        status, answer = host.post("/live/record", {"dataset_id": other, "instruction": "Go."})
        assert (status, "action dimensions" in answer["error"]) == (422, True)
        status, answer = host.post("/live/record", {"dataset_id": "nothing", "instruction": "Go."})
        assert (status, "not there" in answer["error"]) == (422, True)
        desk.record(host)
        until(lambda: host.live().recording.steps > 20)
        with desk.studio.db.transaction() as db:
            db.delete(db.get(Dataset, desk.dataset))
        host.post("/live/save", {"success": True})
        until(lambda: host.live().saved is not None)
        error = host.live().saved.error
        assert "gone" in error
        (kept,) = (desk.recordings / "refused").iterdir()
        assert str(kept) in error
        with open_episode(kept) as episode:
            assert episode.steps > 20


def test_a_stop_ends_the_recording_which_waits_to_be_saved(desk: Desk) -> None:
    """Also when it is re-armed at once; and nothing is begun while the stop is latched."""
    with desk.host() as host:
        desk.record(host)
        until(lambda: (host.live().recording.steps or 0) > 20)
        assert not host.live().recording.ended
        for verb in ("stop", "arm"):
            assert host.post(f"/{verb}", {"by": "grace"})[0] == 200
        stopped = host.live().recording
        assert stopped.ended
        assert "stopped" in stopped.note
        step = host.live_until(lambda state: state.samples is not None)[-1].samples.step[-1]
        host.live_until(lambda state: state.samples is not None and state.samples.step[-1] > step + 50)
        assert host.live().recording.steps == stopped.steps
        assert host.post("/live/mark", None)[0] == 409
        host.post("/stop", {"by": "grace"})
        status, answer = host.post("/live/save", {"success": False})
        assert status == 200, answer
        until(lambda: host.live().saved is not None)
        saved = host.live().saved
        assert (saved.error, saved.steps) == (None, stopped.steps)
        status, answer = host.post("/live/record", {"dataset_id": desk.dataset, "instruction": "Again."})
        assert (status, "re-arm" in answer["error"]) == (409, True)

"""The host's video socket: one encoding for all, credits, cameras that rest. A real host of the simulated ALOHA."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from backend.core.settings import Settings
from backend.studio.context import Studio
from tests.support.databases import make_tables
from tests.support.live_studio import ReceivedFrame, Viewer
from tests.support.robot_hosts import LiveHost, broker, robot_host, until


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHost]:
    settings = Settings(data=tmp_path_factory.mktemp("video") / "studio")
    settings.folder.prepare()
    studio = Studio.open(settings)
    make_tables(studio.db)
    with broker(settings), robot_host(settings) as process:
        yield LiveHost(studio, process)
    studio.close()


def _fps(host: LiveHost, camera: str) -> float:
    return next(one.fps for one in host.state().cameras if one.name == camera)


def test_the_secret_is_asked_for(host: LiveHost) -> None:
    for headers in ({}, {"Authorization": "Bearer guess"}):
        with pytest.raises(InvalidStatus) as refused, connect(host.url("/live/video"), additional_headers=headers):
            pass
        assert refused.value.response.status_code == 403


def test_two_viewers_get_the_same_bytes(host: LiveHost) -> None:
    """A frame is encoded once, however many look."""
    with host.socket("/live/video") as one, host.socket("/live/video") as two:
        viewers = Viewer(one, "cam_high"), Viewer(two, "cam_high")
        seen: list[dict[int, bytes]] = [{}, {}]
        deadline = time.monotonic() + 30
        while len(seen[0].keys() & seen[1].keys()) < 5:
            assert time.monotonic() < deadline
            for viewer, frames in zip(viewers, seen, strict=True):
                frame = viewer.see()
                frames[frame.number] = frame.jpeg
        for number in seen[0].keys() & seen[1].keys():
            assert seen[0][number] == seen[1][number]


def test_no_more_than_two_are_under_way_and_the_next_one_is_the_newest(host: LiveHost) -> None:
    with host.socket("/live/video") as watched, host.socket("/live/video") as socket:
        lively, viewer = Viewer(watched, "cam_high"), Viewer(socket, "cam_high")
        first = [viewer.see(acknowledge=False) for _ in range(2)]
        newest = first[1]
        while newest.number < first[1].number + 10:
            newest = lively.see()
        with pytest.raises(TimeoutError):
            viewer.see(acknowledge=False, seconds=0.5)
        viewer.acknowledge(first[1])  # and with it the one before
        following = [viewer.see(acknowledge=False) for _ in range(2)]
        assert following[0].number >= newest.number
        assert following[1].number > following[0].number
        with pytest.raises(TimeoutError):
            viewer.see(acknowledge=False, seconds=0.5)


def test_a_camera_rests_for_who_acknowledges_nothing_and_is_back_at_once(host: LiveHost) -> None:
    with host.socket("/live/video") as socket:
        viewer = Viewer(socket, "cam_left_wrist")
        held = [viewer.see(acknowledge=False) for _ in range(2)]
        until(lambda: _fps(host, "cam_left_wrist") == 0)
        viewer.acknowledge(held[1])
        back = viewer.see()
        assert back.number > held[1].number
        assert back.age < 2500, "no frame from before the rest, which lasted longer"
    until(lambda: _fps(host, "cam_left_wrist") == 0)


def test_a_watch_replaces_the_one_before(host: LiveHost) -> None:
    with host.socket("/live/video") as socket:
        viewer = Viewer(socket, "cam_high", "cam_right_wrist")
        names = set[str]()
        while len(names) < 2:
            names.add(viewer.see().camera)
        viewer.watch("cam_right_wrist")
        later: list[ReceivedFrame] = [viewer.see() for _ in range(12)]
        assert {frame.camera for frame in later[4:]} == {"cam_right_wrist"}  # two credits may have been under way


def test_connections_are_not_delayed_by_nagle(tmp_path: Path) -> None:
    import socket

    from worker.robot.main import _listen as host_listens
    from worker.supervise.up import _listen as studio_listens

    listeners = [studio_listens(Settings(data=tmp_path, port=0))]
    with host_listens("127.0.0.1", 0) as listening:
        listening.listen()
        for listener in (*listeners, listening):
            listener.listen()
            with socket.create_connection(listener.getsockname()):
                accepted, _ = listener.accept()
                with accepted:
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    listeners[0].close()

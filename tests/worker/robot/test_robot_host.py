"""The robot host as a process: what it costs, how it ends, what it survives. The broker is away all the time."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from backend.core.errors import UnavailableError
from backend.core.settings import Settings
from backend.robots import service
from backend.robots.host_client import HostClient
from backend.robots.repository import by_name
from backend.robots.schemas import RobotOut
from backend.robots.token import host_token
from backend.studio.context import Studio
from dexvla.errors import RobotError, UserError
from dexvla.live.status import ArmIn, HostStatus, RobotState, StopIn
from tests.support.databases import make_tables
from tests.support.moody_robot import Moody
from tests.support.processes import children, cpu_seconds
from tests.support.robot_hosts import robot_host, until
from worker.robot.announcer import Announcer
from worker.robot.arbiter import Arbiter
from worker.robot.cameras import CameraHub
from worker.robot.control import ControlLoop
from worker.robot.latch import StopLatch
from worker.supervise.robot_host import StudioStore, run


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data=tmp_path / "studio", redis_url=f"unix://{tmp_path}/no-broker.sock")
    settings.folder.prepare()
    return settings


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    studio = Studio.open(settings)
    make_tables(studio.db)
    yield studio
    studio.close()


@pytest.fixture
def host(studio: Studio) -> Iterator[subprocess.Popen[bytes]]:
    with robot_host(studio.settings) as process:
        until(lambda: listed(studio) is not None and listed(studio).status.state is RobotState.HOLDING)
        yield process


def listed(studio: Studio) -> Any:
    with studio.db.transaction(write=False) as db:
        robots: list[RobotOut] = service.robots(db, studio)
    return robots[0] if robots else None


def reach(studio: Studio) -> HostClient:
    with studio.db.transaction(write=False) as db:
        row = by_name(db, "aloha-sim")
        assert row is not None
        return HostClient(
            name=row.name, address=row.address, token=host_token(studio.settings.folder.secrets, row.name)
        )


def test_an_unwatched_robot_costs_little_and_keeps_its_rate(
    studio: Studio, host: subprocess.Popen[bytes], record_property: Callable[[str, object], None]
) -> None:
    client = reach(studio)
    client.frame("cam_high")
    until(lambda: rates(client) == [0, 0, 0])  # after a while a camera that nobody asks for rests
    time.sleep(6.0)  # and a little later its time stands still
    used, since = cpu_seconds(host.pid), time.monotonic()
    time.sleep(4.0)
    share = (cpu_seconds(host.pid) - used) / (time.monotonic() - since)
    record_property("idle share of a core", share)
    assert share < 0.05
    until(lambda: 45 < client.state().tick_hz < 51)  # as soon as the machine lets it
    assert rates(client) == [0, 0, 0]
    client.frame("cam_left_wrist")  # one that rested is there within the patience of who asks

    def look() -> bool:
        client.frame("cam_left_wrist")
        return rates(client)[1] > 2

    until(look)
    assert rates(client)[0] == 0, "nobody looks through that one"


def rates(client: HostClient) -> list[float]:
    """Frames a second of cam_high, cam_left_wrist and cam_right_wrist."""
    return [camera.fps for camera in client.state().cameras]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(studio: Studio, host: subprocess.Popen[bytes], number: signal.Signals) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                reach(studio).frame("cam_high")
            except (UnavailableError, AssertionError):
                return

    thread = threading.Thread(target=look)
    thread.start()
    until(lambda: bool(children(host.pid)))  # the renderer
    left = children(host.pid)
    host.send_signal(number)
    assert host.wait(30) == 0  # 0.4 s on a quiet machine
    stop.set()
    thread.join()
    assert listed(studio) is None
    until(lambda: not any(psutil.pid_exists(child) for child in left))


def test_a_stop_outlives_the_host(studio: Studio) -> None:
    with robot_host(studio.settings) as host:
        until(lambda: listed(studio) is not None and listed(studio).status.state is RobotState.HOLDING)
        assert reach(studio).stop(StopIn(by="ada", reason="the cube is on the floor")).state is RobotState.STOPPED
        host.kill()
        host.wait()
    with robot_host(studio.settings) as host:
        until(lambda: listed(studio).status.pid == host.pid and listed(studio).status.state is not RobotState.STARTING)
        status = reach(studio).state()
        assert (status.state, status.stopped_by, status.reason) == (
            RobotState.STOPPED,
            "ada",
            "the cube is on the floor",
        )
        assert reach(studio).arm(ArmIn(by="grace")).state is RobotState.HOLDING


def test_it_holds_while_the_database_is_locked(studio: Studio, host: subprocess.Popen[bytes]) -> None:
    client = reach(studio)
    with studio.db.transaction() as db:
        db.connection()  # SQLite's write lock: the announcer waits for it
        time.sleep(4.0)  # longer than the announcer's turn
        until(lambda: (now := client.state()).state is RobotState.HOLDING and now.tick_hz > 10)
        assert client.stop(StopIn(by="ada")).state is RobotState.STOPPED
        assert not listed(studio).status.stopped_by
    until(lambda: listed(studio).status.stopped_by == "ada")


def test_a_host_that_returns_while_the_database_is_locked_is_reached_where_the_one_before_was(studio: Studio) -> None:
    with robot_host(studio.settings) as host:
        until(lambda: listed(studio) is not None and listed(studio).status.state is RobotState.HOLDING)
        client = reach(studio)
        host.kill()
        host.wait()
    with studio.db.transaction() as db:
        db.connection()  # SQLite's write lock: nothing can be announced
        with robot_host(studio.settings):
            until(lambda: answers(client))
            assert client.stop(StopIn(by="ada")).stopped_by == "ada"
            until(lambda: client.state().state is RobotState.STOPPED)


def test_a_port_that_another_program_took_meanwhile_is_left_to_it(studio: Studio) -> None:
    with robot_host(studio.settings) as host:
        until(lambda: listed(studio) is not None)
        before = reach(studio).address
        host.kill()
        host.wait()
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))), robot_host(studio.settings):
        until(lambda: reach(studio).address != before)
        until(lambda: answers(reach(studio)))


def answers(client: HostClient) -> bool:
    try:
        client.state()
    except UnavailableError:
        return False
    return True


def test_the_announcer_outlives_a_database_that_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.robot.announcer._EVERY_SECONDS", 0.1)
    studio = Studio.open(settings)  # no tables yet
    states = iter([RobotState.HOLDING] * 3)
    asked: list[RobotState] = []

    def status() -> HostStatus:
        asked.append(next(states, RobotState.STOPPED))
        return HostStatus(state=asked[-1])

    store, tokens = StudioStore(settings, name="arm"), list[str]()
    announcer = Announcer(store, kind="test", address="127.0.0.1:1", status=status, on_token=tokens.append)
    announcer.start()
    until(lambda: len(asked) > 4)
    make_tables(studio.db)
    until(lambda: listed(studio) is not None)
    assert listed(studio).status.state is RobotState.STOPPED
    announcer.close(5)
    assert listed(studio) is None
    assert set(tokens) == {host_token(settings.folder.secrets, "arm")}
    store.close()
    studio.close()


def test_two_hosts_do_not_share_a_name_or_a_port(studio: Studio, host: subprocess.Popen[bytes]) -> None:
    with pytest.raises(UserError, match="robot aloha-sim has a host already"):
        run(studio.settings, name="aloha-sim")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot be listened on"):
            run(studio.settings, name="other", port=taken.getsockname()[1])
    for name in ("../robot", "", "a b"):
        with pytest.raises(UserError, match="robot name"):
            run(studio.settings, name=name)


def test_a_host_in_another_container_is_reached_by_its_announced_address(studio: Studio) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = studio.settings.model_copy(update={"robot_address": f"localhost:{port}"})
    with robot_host(settings):
        until(lambda: listed(studio) is not None and listed(studio).status.state is RobotState.HOLDING)
        assert reach(studio).address == f"localhost:{port}"
        assert reach(studio).state().state is RobotState.HOLDING


def test_what_is_not_the_studio_is_refused(studio: Studio, host: subprocess.Popen[bytes]) -> None:
    import http.client

    client = reach(studio)
    for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {client.token}"}):
        connection = http.client.HTTPConnection(client.address, timeout=5)
        connection.request("POST", "/arm", body="{}", headers=header)
        assert connection.getresponse().status == 401
        connection.close()
    connection = http.client.HTTPConnection(client.address, timeout=5)
    connection.request("POST", "/stop", body="not json", headers={"Authorization": f"Bearer {client.token}"})
    assert connection.getresponse().status == 200, "a stop that is badly worded stops all the same"
    connection.close()
    assert client.state().stopped_by == "unknown"
    connection = http.client.HTTPConnection(client.address, timeout=5)
    connection.request("POST", "/arm", body="x" * 100_000, headers={"Authorization": f"Bearer {client.token}"})
    assert connection.getresponse().status == 422
    connection.close()
    assert client.state().state is RobotState.STOPPED


# --- parts, with a robot whose faults are at hand -----------------------------------------------------------------


@pytest.fixture
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Moody, ControlLoop, StopLatch, CameraHub]]:
    monkeypatch.setattr("worker.robot.control._RETRY_SECONDS", 0.2)
    robot = Moody()
    latch = StopLatch(tmp_path / "robot.latch")
    hub = CameraHub(robot.info.cameras)
    loop = ControlLoop(robot, latch=latch, arbiter=Arbiter(latch), hub=hub, task=None)
    loop.start()
    until(lambda: loop.status().state is RobotState.HOLDING)
    yield robot, loop, latch, hub
    robot.hangs.clear()
    hub.close()
    assert loop.close(2.0)


def test_a_robot_that_fails_is_tried_again_and_stays_stopped(
    moody: tuple[Moody, ControlLoop, StopLatch, CameraHub], tmp_path: Path
) -> None:
    robot, loop, latch, _ = moody
    robot.fails = RobotError("the left arm does not answer")
    until(lambda: loop.status().state is RobotState.FAULT)
    status = loop.status()
    assert status.reason == "the left arm does not answer"
    until(lambda: robot.connections > 2)
    robot.fails = None
    until(lambda: loop.status().state is RobotState.STOPPED)
    assert loop.status().stopped_by == "robot host"
    assert StopLatch(tmp_path / "robot.latch").now.stopped, "remembered"
    latch.arm()
    assert loop.status().state is RobotState.HOLDING


def test_a_loop_that_hangs_is_seen(moody: tuple[Moody, ControlLoop, StopLatch, CameraHub]) -> None:
    robot, loop, _, _ = moody
    robot.hangs.set()
    until(lambda: loop.status().state is RobotState.FAULT)
    assert "has not answered" in (loop.status().reason or "")
    robot.hangs.clear()
    until(lambda: loop.status().state is RobotState.HOLDING)


def test_holding_sends_the_same_target_at_a_steady_rate(
    moody: tuple[Moody, ControlLoop, StopLatch, CameraHub],
) -> None:
    robot, loop, latch, _ = moody
    robot.sent.clear()
    until(lambda: len(robot.sent) > 100)
    latch.stop(by="ada")
    stopped_at = len(robot.sent)
    until(lambda: len(robot.sent) > stopped_at + 50)
    assert all((action == np.float32(0.5)).all() for action in robot.sent)
    until(lambda: 80 < loop.status().tick_hz < 104)  # as soon as the machine lets it


def test_cameras_work_only_while_somebody_asks_and_are_mended(
    moody: tuple[Moody, ControlLoop, StopLatch, CameraHub],
) -> None:
    robot, loop, _, hub = moody
    assert robot.watched == ()
    hub.show_interest("eye")
    until(lambda: hub.newest("eye") is not None)
    assert robot.watched == ("eye",)
    until(lambda: hub.fps("eye") > 20)
    until(lambda: robot.watched == ())
    robot.camera_fault = "dark"
    until(lambda: robot.restarts > 0)
    assert loop.status().camera_fault == "dark"
    step, restarts = len(robot.sent), robot.restarts
    until(lambda: len(robot.sent) > step + 30)
    assert robot.restarts - restarts <= 1, "not at every step"


def test_cameras_that_do_not_start_again_stop_no_robot(
    moody: tuple[Moody, ControlLoop, StopLatch, CameraHub],
) -> None:
    robot, loop, _, hub = moody
    hub.show_interest("eye")
    robot.cameras_away, robot.camera_fault = True, "dark"
    until(lambda: robot.restarts > 0)
    step = len(robot.sent)
    until(lambda: len(robot.sent) > step + 30)
    assert (loop.status().state, loop.status().camera_fault) == (RobotState.HOLDING, "dark")
    assert robot.connections == 1


def test_a_robot_that_cannot_even_be_let_go_is_connected_again(
    moody: tuple[Moody, ControlLoop, StopLatch, CameraHub],
) -> None:
    """A plug-in whose cable was pulled: it must not raise there, and may."""
    robot, loop, latch, _ = moody
    robot.unplugged, robot.fails = True, RobotError("no answer on the bus")
    until(lambda: loop.status().state is RobotState.FAULT)
    robot.unplugged, robot.fails = False, None
    until(lambda: loop.status().state is RobotState.STOPPED)
    assert robot.connections > 1
    latch.arm()
    until(lambda: loop.status().state is RobotState.HOLDING)


def test_unknown_status_of_an_older_host_does_not_break_the_list(studio: Studio) -> None:
    with studio.db.transaction() as db:
        service.announce(db, studio, name="old", kind="x", address="127.0.0.1:1", status=HostStatus())
        row = by_name(db, "old")
        assert row is not None
        row.status = {}
        db.flush()
        assert service.robots(db, studio)[0].status.state is RobotState.STARTING

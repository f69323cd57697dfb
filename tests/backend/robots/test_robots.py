"""/api/robots against a real robot host with the simulated ALOHA: who may do what, frames, hosts that die."""

import io
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.core.settings import Settings
from backend.robots import service
from backend.studio.context import Studio
from backend.tables.audit_entry import AuditEntry
from dexvla.live.status import HostStatus, RobotState
from tests.support.robot_hosts import robot_host, until

pytestmark = pytest.mark.slow

SignIn = Callable[[str], TestClient]
URL = "/api/robots/aloha-sim"


def robot(browser: TestClient) -> dict[str, Any] | None:
    found = [robot for robot in browser.get("/api/robots").json() if robot["name"] == "aloha-sim"]
    return found[0] if found else None


def state(browser: TestClient) -> str | None:
    found = robot(browser)
    return found["status"]["state"] if found and found["present"] else None


@pytest.fixture
def host(settings: Settings, client: SignIn) -> Iterator[subprocess.Popen[bytes]]:
    with robot_host(settings) as process:
        until(lambda: state(client("viewer")) == "holding")
        yield process


def test_a_robot_from_its_host_to_the_page(host: subprocess.Popen[bytes], studio: Studio, client: SignIn) -> None:
    viewer, annotator, operator = client("viewer"), client("annotator"), client("operator")
    seen = robot(viewer)
    assert seen is not None
    assert seen["kind"] == "aloha_sim_live"
    cameras = seen["status"]["cameras"]
    assert [(c["name"], c["height"], c["width"]) for c in cameras] == [
        ("cam_high", 480, 640),
        ("cam_left_wrist", 480, 640),
        ("cam_right_wrist", 480, 640),
    ]
    frames = []
    for camera in cameras:
        answer = viewer.get(f"{URL}/picture/{camera['name']}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/jpeg"
        frames.append(np.asarray(Image.open(io.BytesIO(answer.content))).astype(int))
    assert {frame.shape for frame in frames} == {(480, 640, 3)}
    # the arms rest mirrored, so their cameras differ in the cube alone
    differ = [float((np.abs(one - other) > 20).mean()) for one, other in itertools.pairwise(frames)]
    assert min(differ) > 0.0005, f"shares of pixels in which cameras differ: {differ}"
    unknown = viewer.get(f"{URL}/picture/cam_rear")
    assert unknown.status_code == 404
    assert "cam_left_wrist" in unknown.json()["error"]["message"]

    stopped = viewer.post(f"{URL}/stop")
    assert stopped.json()["status"]["state"] == "stopped"
    assert stopped.json()["status"]["stopped_by"] == "viewer"
    until(lambda: state(viewer) == "stopped")
    for browser in (viewer, annotator):
        refused = browser.post(f"{URL}/arm")
        assert refused.status_code == 403
        assert "operator" in refused.json()["error"]["message"]
    assert state(viewer) == "stopped"
    armed = operator.post(f"{URL}/arm")
    assert armed.json()["status"]["state"] == "holding"
    assert armed.json()["status"]["epoch"] == stopped.json()["status"]["epoch"] + 1
    until(lambda: state(viewer) == "holding")
    with studio.db.transaction(write=False) as db:
        entries = db.query(AuditEntry).filter(AuditEntry.subject == "aloha-sim").order_by(AuditEntry.created_at).all()
        assert [(entry.user_name, entry.action) for entry in entries] == [
            ("viewer", "robot.stop"),
            ("operator", "robot.arm"),
        ]


def test_a_stop_is_not_delayed_by_a_locked_database(
    host: subprocess.Popen[bytes], studio: Studio, client: SignIn
) -> None:
    """Somebody writes for long: the stop reaches the robot at once, only the answer waits for the audit log."""
    import threading

    viewer = client("viewer")
    address, token = _address(studio)
    with studio.db.transaction() as db:
        db.connection()  # takes SQLite's write lock
        thread = threading.Thread(target=viewer.post, args=(f"{URL}/stop",))
        thread.start()
        took = until(lambda: _state(address, token) == "stopped", 5)
        assert took < 3, "the lock is waited for up to 15 s"
    thread.join(20)


def _address(studio: Studio) -> tuple[str, str]:
    from backend.robots.repository import by_name
    from backend.robots.token import host_token

    with studio.db.transaction(write=False) as db:
        row = by_name(db, "aloha-sim")
        assert row is not None
        return row.address, host_token(studio.settings.folder.secrets, row.name)


def _state(address: str, token: str) -> str:
    from backend.robots.host_client import HostClient

    return str(HostClient(name="aloha-sim", address=address, token=token).state().state)


def test_a_killed_host_is_missed_within_seconds(host: subprocess.Popen[bytes], client: SignIn) -> None:
    viewer = client("viewer")
    host.send_signal(signal.SIGKILL)
    host.wait()
    for answer in (viewer.post(f"{URL}/stop"), viewer.get(f"{URL}/picture/cam_high")):
        assert answer.status_code == 503
        assert "does not answer" in answer.json()["error"]["message"]
    assert "emergency stop" in viewer.post(f"{URL}/stop").json()["error"]["message"]
    until(lambda: not (robot(viewer) or {"present": True})["present"], 15)


def test_a_hung_host_gives_an_error_within_seconds(host: subprocess.Popen[bytes], client: SignIn) -> None:
    viewer = client("viewer")
    host.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    answer = viewer.get(f"{URL}/picture/cam_high")
    assert answer.status_code == 503
    assert time.monotonic() - started < 30
    host.send_signal(signal.SIGCONT)
    until(lambda: viewer.get(f"{URL}/picture/cam_high").status_code == 200)


def test_nobody_signed_in_sees_or_stops_nothing(anonymous: TestClient) -> None:
    assert anonymous.get("/api/robots").status_code == 401
    assert anonymous.post(f"{URL}/stop").status_code == 401
    assert anonymous.get(f"{URL}/picture/cam_high").status_code == 401


def test_a_robot_that_is_not_there(client: SignIn) -> None:
    assert client("viewer").get("/api/robots").json() == []
    for path in (f"{URL}/stop", f"{URL}/arm"):
        answer = client("operator").post(path)
        assert answer.status_code == 404
        assert "no robot aloha-sim" in answer.json()["error"]["message"]


def test_a_host_that_was_replaced_does_not_take_its_successor_off_the_list(studio: Studio) -> None:
    status = HostStatus(state=RobotState.HOLDING)
    with studio.db.transaction() as db:
        for address in ("127.0.0.1:1", "127.0.0.1:2"):
            service.announce(db, studio, name="arm", kind="test", address=address, status=status)
        service.withdraw(db, studio, name="arm", address="127.0.0.1:1")
        assert [robot.present for robot in service.robots(db, studio)] == [True]
        service.withdraw(db, studio, name="arm", address="127.0.0.1:2")
        db.flush()
        assert service.robots(db, studio) == []


def test_the_secret_is_private(studio: Studio, host: subprocess.Popen[bytes]) -> None:
    secret = studio.settings.folder.secrets / "robot-host"
    assert os.stat(secret).st_mode & 0o777 == 0o600
    address, token = _address(studio)
    assert len(token) > 30
    from backend.core.errors import UnavailableError

    with pytest.raises(UnavailableError, match="secret is missing or wrong"):
        _state(address, "guess")

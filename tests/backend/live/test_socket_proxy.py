"""/api/live/{robot}/...: who may open which socket, what goes through, and how each end learns that the other is gone.
Real processes: the API, the robot host of the simulated ALOHA, the broker."""

import io
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backend.accounts.ending import end_access, recheck_sockets
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.live.pace import Pace, pace_of
from backend.tables.login_session import LoginSession
from backend.tables.user import User
from dexvla.live.status import RobotState
from tests.support.live_studio import LiveStudio, Viewer, closing, live_studio, next_state
from tests.support.robot_hosts import robot_host, until

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

URL = "/api/live/aloha-sim"
KINDS = ("state", "video", "control")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[LiveStudio]:
    settings = Settings(data=tmp_path_factory.mktemp("live") / "studio", redis_url=broker_url)
    with live_studio(settings) as live, robot_host(settings):
        live.cookie("operator")
        until(lambda: _state(live, "aloha-sim") == "holding", 60)
        yield live


def _status(live: LiveStudio, robot: str) -> dict[str, Any]:
    found = [one for one in live.request("GET", "/api/robots", who="operator")[1] if one["name"] == robot]
    return found[0]["status"] if found and found[0]["present"] else {}


def _state(live: LiveStudio, robot: str) -> str | None:
    return _status(live, robot).get("state")


def _pid(live: LiveStudio, robot: str) -> int | None:
    return _status(live, robot).get("pid")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_is_told_to_sign_in(live: LiveStudio, kind: str) -> None:
    with live.socket(kind, None) as socket:
        assert closing(socket) == (4401, "Sign in first.")


@pytest.mark.parametrize("kind", KINDS)
def test_another_site_gets_no_socket(live: LiveStudio, kind: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        live.socket(kind, "operator", origin="https://evil.example")
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("who", ["viewer", "annotator"])
def test_only_an_operator_gets_the_controls(live: LiveStudio, who: str) -> None:
    with live.socket("control", who) as socket:
        code, reason = closing(socket)
    assert code == 4403
    assert "operator" in reason
    assert who in reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_robot_that_is_not_there(live: LiveStudio, kind: str) -> None:
    with live.socket(kind, "operator", robot="nobody") as socket:
        code, reason = closing(socket)
    assert code == 4404
    assert "no robot nobody" in reason


def test_the_state_comes_ten_times_a_second(live: LiveStudio) -> None:
    with live.socket("state", "viewer") as socket:
        first = next_state(socket)
        assert first.status.state is RobotState.HOLDING
        steps = []
        started = time.monotonic()
        for _ in range(20):
            state = next_state(socket)
            steps += state.samples.step if state.samples else []
        assert time.monotonic() - started < 10
    assert steps == list(range(steps[0], steps[0] + len(steps))), "telemetry without a gap"


def test_frames_are_the_cameras_frames_and_stop_without_acknowledgement(live: LiveStudio) -> None:
    with live.socket("video", "viewer") as socket:
        viewer = Viewer(socket, "cam_high", "cam_left_wrist")
        seen: dict[str, list[int]] = {"cam_high": [], "cam_left_wrist": []}
        while min(map(len, seen.values())) < 5:
            frame = viewer.see()
            seen[frame.camera].append(frame.number)
            assert 0 <= frame.age < 1000
        assert np.asarray(Image.open(io.BytesIO(frame.jpeg))).shape == (480, 640, 3)
        assert all(numbers == sorted(set(numbers)) for numbers in seen.values())
        viewer.watch("cam_high")
        held = []
        with suppress(TimeoutError):
            while True:
                held.append(viewer.see(acknowledge=False, seconds=1.0))
        assert sum(frame.camera == "cam_high" for frame in held) <= 3  # one may have been acknowledged and under way
        viewer.acknowledge(held[-1])
        assert viewer.see().number > held[-1].number


def test_commands_go_through_and_are_echoed(live: LiveStudio) -> None:
    with live.socket("state", "operator") as states, live.socket("control", "operator") as control:
        until(lambda: next_state(states).holder == "operator")
        epoch = next_state(states).status.epoch
        for seq in range(1, 6):
            control.send(json.dumps({"type": "pulse", "seq": seq, "sent": 20.0 * seq, "epoch": epoch}))
            echo = json.loads(control.recv(timeout=5))
            assert (echo["type"], echo["seq"], echo["sent"]) == ("echo", seq, 20.0 * seq)
    with live.socket("state", "operator") as states:
        until(lambda: next_state(states).holder is None)


def test_two_operators(live: LiveStudio) -> None:
    live.cookie("ada", Role.OPERATOR)
    with live.socket("control", "operator"), live.socket("state", "ada") as states:
        until(lambda: next_state(states).holder == "operator")
        with live.socket("control", "ada") as second:
            refusal = json.loads(second.recv(timeout=5))
            assert (refusal["type"], refusal["code"]) == ("refusal", "held_by_other")
            assert "operator" in refusal["message"]
            code, reason = closing(second)
    assert code == 4409
    assert "operator" in reason


def test_a_page_gets_the_robot_back_and_another_one_of_the_same_person_does_not(live: LiveStudio) -> None:
    with live.socket("control?page=one", "operator") as first, live.socket("state", "operator") as states:
        until(lambda: next_state(states).holder == "operator")
        with live.socket("control?page=two", "operator") as other:
            assert closing(other)[0] == 4409
        with live.socket("control?page=one", "operator") as again:
            again.send("{}")
            assert json.loads(again.recv(timeout=5))["code"] == "malformed"
            first.send("{}")
            assert closing(first)[0] == 4409
    # somebody else who says the same word is somebody else
    live.cookie("ada", Role.OPERATOR)
    with live.socket("control?page=one", "operator"), live.socket("state", "operator") as states:
        until(lambda: next_state(states).holder == "operator")
        with live.socket("control?page=one", "ada") as other:
            assert closing(other)[0] == 4409


NONSENSE: tuple[str | bytes, ...] = ("", "{", "[]", "null", '{"type": "stop"}', b"\x00\xff", '{"type": "ack"}')


@pytest.mark.parametrize("message", NONSENSE)
def test_nonsense_on_the_control_socket_is_refused_and_the_socket_stays(live: LiveStudio, message: str | bytes) -> None:
    with live.socket("control", "operator") as socket:
        socket.send(message)
        assert json.loads(socket.recv(timeout=5))["code"] == "malformed"
        socket.send(json.dumps({"type": "pulse", "seq": 1, "sent": 1.0, "epoch": -1}))
        assert json.loads(socket.recv(timeout=5))["code"] == "epoch"


@pytest.mark.parametrize("message", [*NONSENSE, '{"type": "watch", "cameras": "cam_high"}'])
def test_nonsense_on_the_video_socket_ends_it(live: LiveStudio, message: str | bytes) -> None:
    with live.socket("video", "viewer") as socket:
        socket.send(message)
        code, reason = closing(socket)
    assert code == 4400
    assert reason


def test_what_is_well_formed_and_wrong_on_the_video_socket_does_no_harm(live: LiveStudio) -> None:
    with live.socket("video", "viewer") as socket:
        viewer = Viewer(socket, "cam_of_somebody_else")
        socket.send(json.dumps({"type": "ack", "camera": "cam_high", "number": 2**40}))
        viewer.watch("cam_high")
        socket.send(json.dumps({"type": "ack", "camera": "cam_high", "number": 2**40}))
        numbers = [viewer.see().number for _ in range(4)]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("message", ["hello", b"\x00"])
def test_the_state_socket_only_tells(live: LiveStudio, message: str | bytes) -> None:
    with live.socket("state", "viewer") as socket:
        socket.send(message)
        code, reason = closing(socket)
    assert code == 1003
    assert "/live/control" in reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_huge_message_ends_the_socket(live: LiveStudio, kind: str) -> None:
    with live.socket(kind, "operator") as socket:
        socket.send("x" * 20_000)
        assert closing(socket)[0] == 1009
    with live.socket(kind, "operator") as socket:  # fewer letters than the limit has bytes
        socket.send("\u20ac" * 10_000)
        assert closing(socket)[0] == 1009
    assert live.request("GET", "/api/health")[1]["robots"] == 1


def test_a_flood_of_small_messages_ends_its_sockets_and_holds_up_no_stop(live: LiveStudio) -> None:
    """Three sockets of one person share what they may say; the host was busy with answering them for seconds."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(live.socket(kind, "operator")) for kind in ("control", "video", "video")]
        ack = json.dumps({"type": "ack", "camera": "cam_high", "number": 1}).ljust(5000)  # weighs as much as ten
        for socket in sockets:
            with suppress(ConnectionClosed):
                for _ in range(5_000):
                    socket.send(ack)
        assert live.request("POST", "/api/robots/aloha-sim/stop", who="operator")[1]["status"]["state"] == "stopped"
        assert {closing(socket)[0] for socket in sockets} == {4429}
    assert live.request("POST", "/api/robots/aloha-sim/arm", who="operator")[0] == 200


def test_what_a_page_says_is_weighed() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert all(pace.allows(100) for _ in range(6000)), "what has waited comes at once"
    assert not pace.allows(100)
    now = 1.0
    assert [pace.allows(100) for _ in range(3001)] == [True] * 3000 + [False]
    now = 2.0
    assert [pace.allows(16_000) for _ in range(94)] == [True] * 93 + [False], "large ones weigh more"
    now = 1000.0
    assert sum(pace.allows(0) for _ in range(7000)) == 6000
    assert pace_of("ada") is not pace_of("bob")
    mine = pace_of("ada")
    assert pace_of("ada") is mine, "one for all of a person's sockets"


def test_a_stalled_viewer_slows_nobody(live: LiveStudio) -> None:
    """Neither one that acknowledges nothing nor one that does not even read."""
    with live.socket("video", "viewer") as silent, live.socket("video", "operator") as lively:
        alone = _ages(Viewer(lively, "cam_high"), 3.0)
        Viewer(silent, "cam_high")
        beside = _ages(Viewer(lively, "cam_high"), 6.0)
        assert len(beside) > 1.4 * len(alone)  # twice the time
        # Its age is no more than that of the newest frame a camera can have made.
        half = len(beside) // 2
        assert np.median(beside[half:]) < np.median(beside[:half]) + 60
        assert np.median(beside) < np.median(alone) + 100


def _ages(viewer: Viewer, seconds: float) -> list[float]:
    ages = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ages.append(viewer.see().age)
    return ages


def test_signing_out_ends_the_sockets(live: LiveStudio) -> None:
    live.cookie("eve", Role.OPERATOR)
    with live.socket("state", "eve") as states, live.socket("control", "eve") as control:
        until(lambda: next_state(states).holder == "eve")
        with live.parts.db.transaction() as db:
            for session in db.query(LoginSession).filter(LoginSession.user.has(name="eve")):
                db.delete(session)
        ended: dict[str, tuple[int | None, str]] = {}
        waiting = threading.Thread(target=lambda: ended.update(state=closing(states, 30)))
        waiting.start()
        ended["control"] = closing(control, 30)
        waiting.join()
    assert {code for code, _ in ended.values()} == {4401}


def test_who_is_disabled_loses_every_socket_at_once(live: LiveStudio) -> None:
    """Long before each socket would look by itself; here it is another process that takes the access away."""
    live.cookie("fay", Role.OPERATOR)
    with ExitStack() as opened:
        sockets = [opened.enter_context(live.socket(kind, "fay")) for kind in KINDS]
        until(lambda: next_state(sockets[0]).holder == "fay")
        Viewer(sockets[1], "cam_high").see()
        with live.parts.db.transaction() as db:
            fay = db.query(User).filter_by(name="fay").one()
            fay.disabled = True
            end_access(db, live.parts, fay)
        assert [closing(socket, 5) for socket in reversed(sockets)] == [(4401, "Sign in first.")] * 3


def test_a_lower_role_loses_the_controls_at_once_and_goes_on_looking(live: LiveStudio) -> None:
    live.cookie("gus", Role.OPERATOR)
    with live.socket("state", "gus") as states, live.socket("control", "gus") as control:
        until(lambda: next_state(states).holder == "gus")
        with live.parts.db.transaction() as db:
            gus = db.query(User).filter_by(name="gus").one()
            gus.role = Role.VIEWER
            recheck_sockets(db, live.parts, gus.id)
        assert closing(control, 5)[0] == 4403
        until(lambda: next_state(states).holder is None)


def test_a_host_that_dies_ends_every_socket_at_once_and_is_there_again_after_its_restart(live: LiveStudio) -> None:
    settings = live.parts.settings
    with robot_host(settings, "mortal") as host:
        until(lambda: _state(live, "mortal") == "holding", 60)
        with ExitStack() as opened:
            sockets = [opened.enter_context(live.socket(kind, "operator", robot="mortal")) for kind in KINDS]
            next_state(sockets[0])
            Viewer(sockets[1], "cam_high").see()
            host.kill()
            killed = time.monotonic()
            for socket in sockets:
                code, reason = closing(socket)
                assert code == 1013
                assert "robot host of mortal" in reason
            assert time.monotonic() - killed < 15
        for kind in KINDS:
            with live.socket(kind, "operator", robot="mortal") as socket:
                code, reason = closing(socket)
                assert code == 1013
                assert "does not answer" in reason
    with robot_host(settings, "mortal") as host:
        until(lambda: _pid(live, "mortal") == host.pid, 60)
        until(lambda: _state(live, "mortal") == "holding", 60)
        with live.socket("state", "operator", robot="mortal") as socket:
            assert next_state(socket).status.state is RobotState.HOLDING


def test_a_host_that_hangs_is_given_up_within_seconds(live: LiveStudio) -> None:
    with robot_host(live.parts.settings, "sleepy") as host:
        until(lambda: _state(live, "sleepy") == "holding", 60)
        with live.socket("state", "operator", robot="sleepy") as socket:
            next_state(socket)
            host.send_signal(signal.SIGSTOP)
            code, reason = closing(socket, 20)
        host.send_signal(signal.SIGCONT)
    assert code == 1013
    assert "sleepy" in reason


def test_an_api_that_is_killed_lets_go_of_the_robot(tmp_path: Path, broker_url: str) -> None:
    """Who has the controls by way of the one that is killed has them no more: the next one finds the robot free."""
    settings = Settings(data=tmp_path / "studio", redis_url=broker_url)
    with robot_host(settings):
        with live_studio(settings) as doomed:
            doomed.cookie("mallory", Role.OPERATOR)
            until(lambda: "aloha-sim" in str(doomed.request("GET", "/api/robots", who="mallory")[1]), 60)
            with doomed.socket("state", "mallory") as states, doomed.socket("control", "mallory"):
                until(lambda: next_state(states).holder == "mallory")
                doomed.process.kill()
        with live_studio(settings) as next_one:
            next_one.cookie("operator")
            with next_one.socket("state", "operator") as states:
                assert next_state(states).holder is None

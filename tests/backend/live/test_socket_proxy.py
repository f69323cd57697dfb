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
from websockets.sync.client import ClientConnection

from backend.accounts.ending import end_access, recheck_sockets
from backend.checkpoints.names import checkpoint_folder
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.live.demo import demo
from backend.live.pace import Pace, pace_of
from backend.tables.audit_entry import AuditEntry
from backend.tables.checkpoint import Checkpoint
from backend.tables.job import Job, JobKind, JobState
from backend.tables.login_session import LoginSession
from backend.tables.run import Run
from backend.tables.user import User
from dexvla.live.messages import LiveState, Mode
from dexvla.live.status import RobotState
from tests.support.live_studio import LiveStudio, Viewer, closing, live_studio, next_state
from tests.support.robot_hosts import robot_host, until
from tests.support.tiny_policies import tiny_checkpoint

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


def test_verbs_are_carried_out_by_the_host_refused_in_words_and_written_down(live: LiveStudio) -> None:
    status, answer = live.request("POST", f"{URL}/resume", who="operator")
    assert status == 409
    assert answer["error"]["code"] == "conflict"
    assert "aloha-sim" in answer["error"]["message"]
    status, answer = live.request("POST", f"{URL}/pause", who="operator")
    assert status in {200, 409}
    for body, word in (
        ({"instruction": "lift it"}, "exactly one"),
        ({"instruction": "lift it", "demo": True, "url": "ws://127.0.0.1:1"}, "exactly one"),
        ({"instruction": "lift it", "path": "/etc"}, "path"),
        ({"instruction": "lift it", "url": "http://127.0.0.1"}, "url"),
        ({"instruction": "lift it", "url": "ws://127.0.0.1:1"}, "policy servers: none. STUDIO_POLICY_SERVERS lists"),
        ({"instruction": "lift it", "checkpoint_id": "none"}, "no such checkpoint"),
        ({"demo": True, "instruction": " "}, "empty"),
    ):
        status, answer = live.request("POST", f"{URL}/rollout", body, who="operator")
        assert status == 422, (body, answer)
        assert word in json.dumps(answer), (body, answer)
    status, answer = live.request("POST", f"{URL}/record", {"dataset_id": "x", "instruction": "y"}, who="operator")
    assert status == 422
    assert "dataset_id" in answer["error"]["fields"]
    status, answer = live.request("POST", "/api/live/nobody/pause", who="operator")
    assert status == 404


@pytest.fixture(scope="module")
def checkpoint(live: LiveStudio, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Id and folder of an untrained policy for the simulated ALOHA, as one of the studio's checkpoints."""
    with live.parts.db.transaction() as db:
        job = Job(kind=JobKind.TRAIN, title="run", payload={}, state=JobState.DONE)
        db.add(job)
        db.flush()
        run = Run(name="tiny", stage=2, spec={}, sources=[], job_id=job.id)
        db.add(run)
        db.flush()
        row = Checkpoint(
            run_id=run.id, step=7, stage=2, attempt=1, sha256="0" * 64, size_bytes=1, files=[], archive_sha256="0" * 64
        )
        db.add(row)
        db.flush()
        found, folder = row.id, checkpoint_folder(live.parts, row)
    folder.parent.mkdir(parents=True)
    tiny_checkpoint(tmp_path_factory.mktemp("policy")).rename(folder)
    return found, folder


def test_a_checkpoint_of_the_studio_acts_under_a_watching_page(live: LiveStudio, checkpoint: tuple[str, Path]) -> None:
    """From the page's request to chunks, all through the API; who may not is refused; the audit log names who did."""
    asked = {"checkpoint_id": checkpoint[0], "instruction": "Pick up the red cube"}
    for who in ("viewer", "annotator"):
        live.cookie(who)
        assert live.request("POST", f"{URL}/rollout", asked, who=who)[0] == 403
    with (
        live.socket("control?page=watching", "operator") as control,
        live.socket("state", "viewer") as states,
        Pulses(control, states) as page,
    ):
        status, answer = live.request("POST", f"{URL}/rollout", asked, who="operator")
        assert status == 200, answer
        assert (answer["mode"], answer["policy"]["checkpoint_id"]) == ("policy", checkpoint[0])
        until(lambda: page.state is not None and page.state.policy is not None and page.state.policy.chunks > 0, 90)
        status, answer = live.request("POST", f"{URL}/instruction", {"instruction": "the blue one"}, who="operator")
        assert (status, answer["policy"]["instruction"]) == (200, "the blue one")
        status, answer = live.request("POST", f"{URL}/scene", {"task": "transfer_cube", "seed": 1}, who="operator")
        assert status == 409, "something commands the robot"
        assert live.request("POST", f"{URL}/end", who="operator")[0] == 200
        until(lambda: page.state is not None and page.state.mode is Mode.IDLE)
    with live.parts.db.transaction(write=False) as db:
        written = db.query(AuditEntry).filter(AuditEntry.action.like("live.%")).order_by(AuditEntry.created_at)
        actions = {entry.action: entry for entry in written}
        assert actions["live.rollout"].detail["checkpoint_id"] == checkpoint[0]
        assert "path" not in actions["live.rollout"].detail
        assert actions["live.instruction"].detail == {"instruction": "the blue one"}
        assert {entry.user_name for entry in actions.values()} == {"operator"}


def test_a_checkpoint_of_other_dimensions_is_refused_before_the_robot_hears_of_it(
    live: LiveStudio, checkpoint: tuple[str, Path]
) -> None:
    file = checkpoint[1] / "config.json"
    config = file.read_text()
    changed = json.loads(config)
    changed["policy"] |= {"action_dim": 10, "state_dim": 7}
    file.write_text(json.dumps(changed))
    try:
        asked = {"checkpoint_id": checkpoint[0], "instruction": "Pick up the red cube"}
        status, answer = live.request("POST", f"{URL}/rollout", asked, who="operator")
    finally:
        file.write_text(config)
    assert status == 422
    assert "trained with 10 and 7" in answer["error"]["fields"]["checkpoint_id"]


class Pulses:
    """A page that watches: pulses every 40 ms by the newest epoch, and keeps the newest state."""

    def __init__(self, control: ClientConnection, states: ClientConnection) -> None:
        self.state: LiveState | None = None
        self._ended = threading.Event()
        self._control, self._states = control, states
        self._threads = [threading.Thread(target=self._pulse), threading.Thread(target=self._look)]

    def __enter__(self) -> "Pulses":
        for thread in self._threads:
            thread.start()
        until(lambda: self.state is not None and self.state.holder is not None)
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _pulse(self) -> None:
        seq = 0
        while not self._ended.wait(0.04):
            seq += 1
            epoch = 0 if self.state is None else self.state.status.epoch
            pulse = {"type": "pulse", "seq": seq, "sent": 1000 * time.monotonic(), "epoch": epoch}
            self._control.send(json.dumps(pulse))
            self._control.recv(timeout=5)

    def _look(self) -> None:
        while not self._ended.is_set():
            self.state = next_state(self._states)


def test_the_demo_says_what_it_was_trained_to_do(live: LiveStudio, tmp_path: Path) -> None:
    assert live.request("GET", "/api/live/demo", who="viewer")[0] == 200
    assert demo(tmp_path).available is False
    (tmp_path / "config.json").write_text("{}")
    assert demo(tmp_path).model_dump() == {"available": True, "task": None, "options": {}, "instructions": []}
    said = {"task": "pick_colour", "level": "spots", "instructions": ["Pick up the red cube", "Pick up the blue cube"]}
    (tmp_path / "manifest.json").write_text(json.dumps({"run": "x", "demo": said}))
    level = said.pop("level")
    assert demo(tmp_path).model_dump() == {"available": True, "options": {"level": level}, **said}
    (tmp_path / "manifest.json").write_text('{"demo": {"task": 3}}')
    assert demo(tmp_path).task is None

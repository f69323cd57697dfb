"""The control socket: one page at a time, and only messages that are new, in order and of this epoch count."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from backend.core.settings import Settings
from dexvla.live.messages import Drive, Pulse
from tests.support.robot_hosts import LiveHost, live_host, opened, until
from worker.robot.heartbeat import Heartbeat, Holder
from worker.robot.latch import StopLatch

# --- the rules, without a socket ----------------------------------------------------------------------------------


def pulse(seq: int, sent_ms: float, *, epoch: int = 0) -> Pulse:
    return Pulse(seq=seq, sent=sent_ms, epoch=epoch)


@pytest.fixture
def heartbeat(tmp_path: Path) -> Heartbeat:
    return Heartbeat(StopLatch(tmp_path / "stop.json"))


@pytest.fixture
def page(heartbeat: Heartbeat) -> Holder:
    page = Holder(by="ada", session="one")
    assert heartbeat.enter(page) is None
    return page


def test_messages_in_order_are_signs_of_life(heartbeat: Heartbeat, page: Holder) -> None:
    assert heartbeat.silence(100.0) == float("inf")
    for step in range(5):
        assert heartbeat.accept(page, pulse(step + 1, 1000 + 50 * step), received=200 + 0.05 * step) is None
    assert heartbeat.silence(200.3) == pytest.approx(0.1)


def test_old_numbers_and_times_that_run_backwards_do_not_count(heartbeat: Heartbeat, page: Holder) -> None:
    assert heartbeat.accept(page, pulse(5, 1000), received=10.0) is None
    for again in (pulse(5, 1050), pulse(4, 1050), pulse(6, 900)):
        refusal = heartbeat.accept(page, again, received=11.0)
        assert refusal is not None
        assert refusal.code == "out_of_order"
    assert heartbeat.silence(11.0) == 1.0


def test_what_was_long_under_way_is_stale_even_in_order(heartbeat: Heartbeat, page: Holder) -> None:
    for step in range(10):
        assert heartbeat.accept(page, pulse(step + 1, 50.0 * step), received=10 + 0.05 * step) is None
    # the network stalls for a second, then everything arrives at once
    codes = []
    for step in range(10, 30):
        refusal = heartbeat.accept(page, pulse(step + 1, 50.0 * step), received=11.5)
        codes.append(None if refusal is None else refusal.code)
    assert codes[0] == "stale"
    assert codes[-1] is None, "the newest is fresh"
    assert codes == sorted(codes, key=lambda code: code is None)


def test_clocks_that_drift_or_sleep_do_not_lock_a_page_out(heartbeat: Heartbeat, page: Holder) -> None:
    refusals = 0
    for step in range(20 * 60 * 60):  # an hour at 20 Hz; the page's clock loses 100 millionths
        refusals += heartbeat.accept(page, pulse(step + 1, 50.0 * step * (1 - 1e-4)), received=0.05 * step) is not None
    assert refusals == 0
    slept, start = 90.0, 0.05 * 20 * 60 * 60
    late = [
        heartbeat.accept(page, pulse(100_000 + step, 50.0 * (72_000 + step)), received=start + slept + 0.05 * step)
        for step in range(300)
    ]
    assert late[-1] is None


def test_an_epoch_of_before_the_stop_does_not_count(tmp_path: Path) -> None:
    latch = StopLatch(tmp_path / "stop.json")
    heartbeat, page = Heartbeat(latch), Holder(by="ada", session="one")
    heartbeat.enter(page)
    assert heartbeat.accept(page, pulse(1, 0), received=1.0) is None
    latch.stop(by="grace")
    refusal = heartbeat.accept(page, pulse(2, 50), received=1.05)
    assert refusal is not None
    assert refusal.code == "epoch"
    drive = Drive(seq=3, sent=100, epoch=1, deadman=True)
    refusal = heartbeat.accept(page, drive, received=1.1)
    assert refusal is not None
    assert (refusal.code, "grace" in refusal.message) == ("stopped", True)
    assert heartbeat.accept(page, pulse(4, 150, epoch=1), received=1.15) is None


def test_the_place_is_one_and_a_sessions_new_connection_takes_it(heartbeat: Heartbeat, page: Holder) -> None:
    assert heartbeat.enter(Holder(by="grace", session="two")) == "ada"
    again = Holder(by="ada", session="one")
    assert heartbeat.enter(again) is None
    assert not heartbeat.leave(page), "the old connection's end frees nothing"
    refusal = heartbeat.accept(page, pulse(1, 0), received=1.0)
    assert refusal is not None
    assert refusal.code == "held_by_other"
    assert heartbeat.leave(again)
    assert heartbeat.enter(Holder(by="grace", session="two")) is None


# --- the socket of a real host ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHost]:
    folder = tmp_path_factory.mktemp("control")
    settings = Settings(data=folder / "studio", redis_url=f"unix://{folder}/no-broker.sock")
    with opened(settings) as studio, live_host(studio, with_broker=False) as host:
        yield host


def control(host: LiveHost, by: str, session: str) -> ClientConnection:
    return host.socket("/live/control", **{"X-Studio-By": by, "X-Studio-Session": session})


def ask(socket: ClientConnection, message: dict[str, Any] | str) -> dict[str, Any]:
    socket.send(message if isinstance(message, str) else json.dumps(message))
    answer: dict[str, Any] = json.loads(socket.recv(timeout=30))
    return answer


def test_a_pulse_is_echoed_and_a_second_page_is_told_who_has_it(host: LiveHost) -> None:
    epoch = host.state().epoch
    with control(host, "ada", "a") as first:
        assert ask(first, {"type": "pulse", "seq": 1, "sent": 5.5, "epoch": epoch}) == {
            "type": "echo", "seq": 1, "sent": 5.5, "applied": None,
        }  # fmt: skip
        assert host.live().holder == "ada"
        with control(host, "grace", "b") as second:
            refusal = json.loads(second.recv(timeout=30))
            assert (refusal["type"], refusal["code"]) == ("refusal", "held_by_other")
            assert "ada" in refusal["message"]
            with pytest.raises(ConnectionClosed) as closed:
                second.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4409
        assert ask(first, {"type": "pulse", "seq": 2, "sent": 55.5, "epoch": epoch})["type"] == "echo"
    until(lambda: host.live().holder is None)
    with control(host, "grace", "b") as second:
        assert ask(second, {"type": "pulse", "seq": 1, "sent": 1.0, "epoch": epoch})["type"] == "echo"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "not json",
        "[]",
        '{"type": "launch"}',
        '{"type": "pulse", "seq": 0, "sent": 1, "epoch": 0}',
        '{"type": "pulse", "seq": 1, "sent": NaN, "epoch": 0}',
        '{"type": "pulse", "seq": 1, "sent": 1, "epoch": 0, "extra": true}',
        '{"type": "drive", "seq": 1, "sent": 1, "epoch": 0, "deadman": true, "left": {"linear": [1, 2]}}',
        '{"type": "drive", "seq": 1, "sent": 1, "epoch": 0, "deadman": true, "left": {"gripper": 7}}',
        "\x00\x01",
    ],
)
def test_malformed_messages_are_refused_and_the_socket_stays(host: LiveHost, bad: str) -> None:
    epoch = host.state().epoch
    with control(host, "ada", "a") as socket:
        refusal = ask(socket, bad)
        assert (refusal["type"], refusal["code"], refusal["seq"]) == ("refusal", "malformed", None)
        assert refusal["message"]
        assert ask(socket, {"type": "pulse", "seq": 1, "sent": 1.0, "epoch": epoch})["type"] == "echo"
    assert host.state().tick_hz > 10


def test_a_message_that_is_far_too_long_closes_the_socket_and_frees_the_place(host: LiveHost) -> None:
    with control(host, "ada", "a") as socket:
        socket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with control(host, "grace", "b") as socket:
        assert ask(socket, "x")["code"] == "malformed", "the place is free again"


def test_a_flood_is_answered_or_dropped_and_the_loop_never_notices(host: LiveHost) -> None:
    epoch = host.state().epoch
    with control(host, "ada", "a") as socket:
        for seq in itertools.islice(itertools.count(1), 3000):
            socket.send(json.dumps({"type": "pulse", "seq": seq, "sent": float(seq), "epoch": epoch}))
        until(lambda: host.state().tick_hz > 10)
    assert host.state().state.value == "holding"

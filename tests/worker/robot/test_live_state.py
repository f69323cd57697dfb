"""The state socket and the verbs of a host, as a process."""

from collections.abc import Iterator

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from backend.core.settings import Settings
from dexvla.live.messages import Mode
from dexvla.live.status import RobotState
from tests.support.robot_hosts import LiveHost, live_host, opened


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHost]:
    folder = tmp_path_factory.mktemp("live")
    settings = Settings(data=folder / "studio", redis_url=f"unix://{folder}/no-broker.sock")
    with opened(settings) as studio, live_host(studio, with_broker=False) as host:
        yield host


def test_the_state_comes_at_once_and_ten_times_a_second(host: LiveHost) -> None:
    with host.socket("/live/state") as socket:
        first = host.next_state(socket)
        assert first.status.state is RobotState.HOLDING
        assert (first.mode, first.policy, first.recording) == (Mode.IDLE, None, None)
        assert len(first.joint_names) == 14
        states = [first, *(host.next_state(socket) for _ in range(30))]
    steps = [step for state in states if state.samples for step in state.samples.step]
    assert steps == list(range(steps[0], steps[0] + len(steps))), "every step once, in order"
    # Counted in steps of the loop, 50 a second: what makes the machine slow slows both down.
    told = [len(state.samples.step) for state in states[1:] if state.samples]
    assert np.median(told) <= 6
    row = states[-1].samples
    assert row is not None
    assert len(row.state[0]) == len(row.action[0]) == 14


def test_a_stop_is_told_at_once(host: LiveHost) -> None:
    with host.socket("/live/state") as socket:
        host.next_state(socket)
        host.post("/stop", {"by": "ada", "reason": "smoke"})
        while (state := host.next_state(socket)).status.state is not RobotState.STOPPED:
            pass
        assert state.status.stopped_by == "ada"
        status, _ = host.post("/live/resume")
        assert status == 409
        host.post("/arm", {"by": "grace"})
        while host.next_state(socket).status.state is not RobotState.HOLDING:
            pass


def listen_on(socket: ClientConnection) -> None:
    while True:
        socket.recv(timeout=30)


def test_strangers_and_noise(host: LiveHost) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}):
        with pytest.raises(InvalidStatus) as refused, connect(host.url("/live/state"), additional_headers=headers):
            pass
        assert refused.value.response.status_code == 403
    with host.socket("/live/state") as socket:
        socket.send("{'not': json")
        with pytest.raises(ConnectionClosed) as closed:
            listen_on(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003
        assert "commands go to" in closed.value.rcvd.reason
    with host.socket("/live/state") as socket:
        socket.send(b"\x00" * 100_000)
        with pytest.raises(ConnectionClosed):
            listen_on(socket)
    for verb, body, status in (
        ("resume", None, 409),
        ("nonsense", None, 404),
        ("pause", None, 200),
    ):
        assert host.post(f"/live/{verb}", body)[0] == status, verb
    assert host.state().tick_hz > 10, "the loop never noticed"

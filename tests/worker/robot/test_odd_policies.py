"""Policy servers elsewhere that answer nonsense, late or not at all: the robot holds, and says why."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from backend.core.settings import Settings
from dexvla.act.protocol import decode, encode
from dexvla.live.messages import LiveState, Mode
from tests.support.robot_hosts import LiveHost, Page, live_host, opened, until

METADATA = {
    "cameras": [{"name": "cam_high", "height": 48, "width": 64}],
    "recorded_cameras": [{"name": "cam_high", "height": 480, "width": 640}],
    "action_dim": 14,
    "state_dim": 14,
    "chunk_size": 25,
    "fps": 50.0,
    "robot": "aloha_sim",
    "render_profile": "fast",
    "checkpoint": "odd",
}


def reply(actions: Any) -> dict[str, Any]:
    return {
        "actions": actions,
        "normalised_actions": actions,
        "reasoning": "Reach.",
        "policy_timing": {"infer_ms": 1.0},
    }


def good(observation: dict[str, Any]) -> dict[str, Any]:
    """Stay where you are, a little to one side."""
    return reply((np.tile(observation["state"], (25, 1)) + 0.02).astype(np.float32))


Answer = Callable[[dict[str, Any]], Any]


class OddServer:
    """Speaks the protocol of docs/decisions/serving.md; `answer` decides what it says."""

    def __init__(self) -> None:
        self.answer: Answer = good
        self.delay = 0.0
        self.metadata: dict[str, Any] = dict(METADATA)
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        async with serve(self._converse, "127.0.0.1", 0, compression=None, max_size=None) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            ready.set()
            await stop.wait()

    async def _converse(self, connection: ServerConnection) -> None:
        await connection.send(encode(self.metadata))
        async for message in connection:
            assert isinstance(message, bytes)
            self.asked.append(decode(message))
            await asyncio.sleep(self.delay)
            said = self.answer(self.asked[-1])
            if said is None:
                await connection.close()
            else:
                await connection.send(said if isinstance(said, bytes | str) else encode(said))


@contextmanager
def odd_server() -> Iterator[OddServer]:
    server, ready = OddServer(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve(ready, stop)))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHost]:
    settings = Settings(data=tmp_path_factory.mktemp("odd") / "studio", policy_servers=("127.0.0.1:*",))
    with opened(settings) as studio, live_host(studio) as host:
        yield host


@pytest.fixture
def server(host: LiveHost) -> Iterator[OddServer]:
    """A server whose policy acts on the watched robot."""
    with odd_server() as server, Page(host) as page:
        until(lambda: bool(page.answers))
        assert host.post("/live/rollout", {"url": server.url, "instruction": "Pick up the red cube."})[0] == 200
        host.acts_until(acting)
        yield server
        host.post("/live/end")
        host.live_until(lambda state: state.mode is Mode.IDLE)


def acting(state: LiveState) -> bool:
    return state.policy is not None and state.policy.chunks > 1


def still(states: list[LiveState]) -> bool:
    """Nothing moved in the last ten steps."""
    rows = [row for state in states if state.samples for row in state.samples.action]
    return bool(np.ptp(np.array(rows[-10:]), axis=0).max() < 1e-6)


def test_it_is_asked_with_the_newest_frame_the_state_that_belongs_to_it_and_the_words(server: OddServer) -> None:
    until(lambda: len(server.asked) > 3)
    asked = server.asked[-1]
    assert asked["prompt"] == "Pick up the red cube."
    assert asked["stream_reasoning"] is True
    assert asked["images"]["cam_high"].shape == (480, 640, 3)
    assert asked["images"]["cam_high"].std() > 5
    assert asked["state"].shape == (14,)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: reply(np.full((25, 14), np.nan, np.float32)), "non-finite"),
        (lambda _: reply(np.full((25, 14), np.inf, np.float32)), "non-finite"),
        (lambda _: reply(np.zeros((25, 7), np.float32)), "(25, 7)"),
        (lambda _: reply(np.zeros((2, 14), np.float32)), "(2, 14)"),
        (lambda _: reply("up"), "str"),
        (lambda _: {"reasoning": "no actions at all"}, "actions"),
        (lambda _: b"\xc1\xff\x00", "msgpack"),
        (lambda _: "I would rather not", "I would rather not"),
        (lambda _: {"partial_reasoning": 7}, "no text"),
    ],
)
def test_answers_that_cannot_be_used_hold_the_robot_and_pause_it(
    host: LiveHost, server: OddServer, answer: Answer, reason: str
) -> None:
    server.answer = answer
    states = host.live_until(lambda state: state.mode is Mode.PAUSED)
    assert reason in (states[-1].why or ""), states[-1].why
    refusals = [state.policy.refused for state in states if state.policy and state.policy.refused]
    assert reason in refusals[0]
    paused_at = max(step for state in states if state.samples for step in state.samples.step)
    assert still(host.live_until(lambda state: state.samples is not None and state.samples.step[-1] > paused_at + 15))
    assert np.isfinite([row for state in states if state.samples for row in state.samples.action]).all()
    server.answer = good
    before = states[-1].policy.chunks if states[-1].policy else 0
    assert host.post("/live/resume")[0] == 200
    host.acts_until(lambda state: state.policy is not None and state.policy.chunks > before)
    state = host.live()
    assert state.mode is Mode.POLICY
    assert state.policy is not None
    assert state.policy.refused is None


def test_one_bad_answer_among_good_ones_is_told_and_survived(host: LiveHost, server: OddServer) -> None:
    def once(observation: dict[str, Any]) -> dict[str, Any]:
        server.answer = good
        return reply(np.full((25, 14), np.nan, np.float32))

    before = host.live().policy
    assert before is not None
    server.answer = once
    states = host.live_until(
        lambda state: state.policy is not None and state.policy.chunks > before.chunks + 2 and not state.policy.refused
    )
    assert all(state.mode is Mode.POLICY for state in states)


def test_a_simulated_robot_waits_for_a_policy_slower_than_its_chunks(host: LiveHost, server: OddServer) -> None:
    server.delay = 3.0  # a chunk lasts half a second
    before = host.live().policy
    assert before is not None
    states = host.live_until(lambda state: state.policy is not None and state.policy.chunks > before.chunks + 3)
    assert all(state.mode is Mode.POLICY for state in states)
    assert any("the simulation waits for the policy, for 2 s now" in (state.why or "") for state in states)
    assert not any(state.policy.refused or state.policy.late_steps for state in states if state.policy)
    paces = [state.real_time for state in states if state.real_time is not None]
    assert min(paces) < 0.3, "told: a third of a second in more than three"


def test_a_server_that_closes_is_gone_and_found_again(host: LiveHost, server: OddServer) -> None:
    server.answer = lambda _: None
    state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
    assert "closed the connection" in (state.why or "")
    server.answer = good
    assert host.post("/live/resume")[0] == 200
    host.acts_until(acting)


def test_another_policy_behind_the_same_address_has_to_be_resumed(host: LiveHost, server: OddServer) -> None:
    server.metadata = {**METADATA, "checkpoint": "other"}
    server.answer = lambda _: "restarting"
    state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
    assert "another policy" in (state.why or "")
    server.answer = good
    assert host.post("/live/resume")[0] == 200
    state = host.acts_until(acting)[-1]
    assert state.policy is not None
    assert state.policy.name == "other"


def test_metadata_that_does_not_fit_is_refused(host: LiveHost) -> None:
    with odd_server() as server:
        for change, reason in (
            ({"render_profile": "crayon"}, "crayon"),
            ({"robot": "my_arm"}, "my_arm"),
            ({"action_dim": 0}, "does not describe"),
            ({"recorded_cameras": [], "cameras": [{"name": "cam_moon", "height": 48, "width": 64}]}, "cam_moon"),
        ):
            server.metadata = {**METADATA, **change}
            assert host.post("/live/rollout", {"url": server.url, "instruction": "go"})[0] == 200
            state = host.live_until(lambda state: state.mode is Mode.IDLE)[-1]
            assert reason in (state.why or ""), state.why
            until(lambda: host.state().tick_hz > 40)


def test_the_execute_steps_must_fit_the_chunk(host: LiveHost) -> None:
    with odd_server() as server:
        asked = {"url": server.url, "instruction": "go", "execute_steps": 26}
        assert host.post("/live/rollout", asked)[0] == 200
        state = host.live_until(lambda state: state.mode is Mode.IDLE)[-1]
        assert "expected 1 .. 25" in (state.why or "")


def test_a_slow_server_can_be_left_at_once(host: LiveHost) -> None:
    with odd_server() as server, Page(host):
        server.delay = 9.0
        host.post("/live/rollout", {"url": server.url, "instruction": "go"})
        until(lambda: bool(server.asked))
        asked = time.monotonic()
        assert host.post("/live/end")[0] == 200
        assert time.monotonic() - asked < server.delay / 2, "it does not wait for the answer"
        assert host.live().mode is Mode.IDLE
        assert host.post("/live/rollout", {"url": server.url, "instruction": "go"})[0] == 200, "the next may begin"
        host.post("/live/end")

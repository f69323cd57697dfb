"""A click on the demo policy, whatever it meets: it ends in a policy that acts, or in a sentence that says why not."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from backend.core.settings import Settings
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from dexvla.live.messages import LiveState, Mode
from tests.support.processes import alive, children
from tests.support.robot_hosts import LiveHost, Page, live_host, opened, until, watching

SCENE = {"task": "pick_colour", "seed": 7, "options": {"level": "spots"}}
CLICK = {"demo": True, "instruction": "Pick up a cube", "scene": SCENE, "instead": True}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(Settings(data=tmp_path_factory.mktemp("click") / "studio")) as studio:
        yield studio


@pytest.fixture(scope="module")
def host(studio: Studio) -> Iterator[LiveHost]:
    with live_host(studio) as host:
        yield host


@pytest.fixture(autouse=True)
def at_rest(host: LiveHost) -> Iterator[None]:
    yield
    host.post("/arm", {"by": "ada"})
    host.post("/live/discard")
    host.post("/live/end")
    host.live_until(lambda state: state.mode is Mode.IDLE)


@pytest.fixture
def page(host: LiveHost) -> Iterator[Page]:
    with watching(host) as page:
        yield page


def click(host: LiveHost, **change: object) -> None:
    status, answer = host.post("/live/rollout", {**CLICK, **change})
    assert status == 200, answer
    assert (answer["mode"], answer["policy"]["name"]) == ("policy", "demo")


def acts(host: LiveHost, *, chunks: int = 3) -> list[LiveState]:
    """Until it does; the states from the request on."""
    return host.acts_until(lambda state: state.policy is not None and state.policy.chunks >= chunks)


def demo_processes(host: LiveHost) -> list[int]:
    return children(host.process.pid, "serve")


def kill_those_that_wait(host: LiveHost) -> None:
    for process in demo_processes(host):
        os.kill(process, signal.SIGKILL)
        until(lambda process=process: not alive(process))  # type: ignore[misc]
    assert not demo_processes(host)


def test_the_scene_stands_the_demo_acts_and_no_chunk_is_lost(host: LiveHost, page: Page) -> None:
    click(host)
    states = acts(host, chunks=6)
    phases = [state.policy.loading.phase for state in states if state.policy and state.policy.loading]
    scene, process = {"Setting up the scene"}, {"Starting the policy's process", "Loading the policy's weights"}
    assert scene < set(phases) <= scene | process | {"First frames", "First chunk"}
    assert phases[-1] == "First chunk"
    seconds = [state.policy.loading.seconds for state in states if state.policy and state.policy.loading]
    assert seconds == sorted(seconds)
    last = states[-1]
    assert last.scene is not None
    assert (last.scene.task, last.scene.seed) == ("pick_colour", 7)
    assert last.policy is not None
    assert last.policy.instruction == last.scene.instruction, "it acts on what the scene asks for"
    assert last.policy.loading is None
    assert (last.policy.late_steps, last.policy.refused) == (0, None)
    assert not any(state.policy.refused for state in states if state.policy), "every chunk was used"
    assert last.real_time is not None
    assert 0 < last.real_time < 1.5
    assert last.failure is None


def test_many_clicks_at_once_end_in_one_policy_that_acts(host: LiveHost, page: Page) -> None:
    with ThreadPoolExecutor(8) as people:
        for answer in [people.submit(click, host) for _ in range(8)]:
            answer.result()
    states = acts(host)
    assert all(state.mode is Mode.POLICY and state.policy is not None for state in states), "one leaves as one comes"
    assert "failed" not in " ".join(state.why or "" for state in states)
    assert len(demo_processes(host)) == 1


def test_a_simulated_robot_takes_no_step_that_its_policy_has_not_answered_for(host: LiveHost, page: Page) -> None:
    click(host)
    acts(host)
    (process,) = demo_processes(host)
    os.kill(process, signal.SIGSTOP)
    waiting: list[LiveState] = []

    def for_half_a_second(state: LiveState) -> bool:
        if state.mode is Mode.POLICY and "the simulation waits for the policy" in (state.why or ""):
            waiting.append(state)
        else:
            waiting.clear()
        return len(waiting) > 6

    try:
        host.acts_until(for_half_a_second)  # a robot that did not wait would take 25 steps in it
    finally:
        os.kill(process, signal.SIGCONT)
    assert all(state.samples is None for state in waiting[1:]), "no step is taken meanwhile"
    later = waiting[-1]
    assert later.status.state == "holding"
    before = later.policy.chunks if later.policy else 0
    state = acts(host, chunks=before + 2)[-1]
    assert state.policy is not None
    assert (state.policy.late_steps, state.policy.refused) == (0, None), "the answer was used when it came"


def test_a_stop_is_heeded_while_time_stands_still(host: LiveHost, page: Page) -> None:
    click(host)
    acts(host)
    (process,) = demo_processes(host)
    os.kill(process, signal.SIGSTOP)
    try:
        host.acts_until(lambda state: "the simulation waits" in (state.why or ""))
        host.post("/stop", {"by": "grace"})
        state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
        assert state.why == "stopped by grace"
        assert host.rests(), "its time goes on, and it rests"
    finally:
        os.kill(process, signal.SIGCONT)


def test_after_the_tab_was_closed_the_next_click_acts_again_with_the_process_that_is_there(host: LiveHost) -> None:
    with Page(host) as page:
        until(lambda: bool(page.answers))
        click(host)
        acts(host)
        (process,) = demo_processes(host)
    state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
    assert "not heard" in (state.why or "")
    with Page(host, by="grace") as page:
        until(lambda: bool(page.answers))
        click(host, scene={**SCENE, "seed": 8})
        state = acts(host)[-1]
        assert state.scene is not None
        assert state.scene.seed == 8
        assert demo_processes(host) == [process], "it did not have to be loaded again"


def test_a_page_that_opens_beside_a_paused_demo_loads_no_second_one(host: LiveHost) -> None:
    with Page(host) as page:
        until(lambda: bool(page.answers))
        click(host)
        acts(host)
    host.live_until(lambda state: state.mode is Mode.PAUSED)
    before = demo_processes(host)
    assert host.post("/live/prepare")[0] == 200
    assert demo_processes(host) == before


def test_a_second_click_begins_afresh_while_the_first_one_loads_acts_or_is_paused(host: LiveHost, page: Page) -> None:
    click(host)
    click(host)
    acts(host)
    click(host)
    state = acts(host)[-1]
    assert state.policy is not None
    assert state.policy.refused is None
    host.post("/live/pause")
    host.live_until(lambda state: state.mode is Mode.PAUSED)
    click(host)
    acts(host)
    assert len(demo_processes(host)) == 1


def test_a_page_that_fell_silent_has_no_claim_on_the_robot(host: LiveHost) -> None:
    with Page(host, by="ada") as left_behind:
        until(lambda: bool(left_behind.answers))
        left_behind.silent.set()
        grace = {"X-Studio-By": "grace", "X-Studio-Session": "grace"}
        with host.socket("/live/control", **grace) as early:
            assert "ada has the controls" in str(early.recv(timeout=10))

        def gets_them() -> bool:
            pulse = {"type": "pulse", "seq": 1, "sent": 1.0, "epoch": host.live().status.epoch}
            with suppress(ConnectionClosed), host.socket("/live/control", **grace) as control:
                control.send(json.dumps(pulse))
                return '"echo"' in str(control.recv(timeout=10))
            return False  # ada had them still

        until(gets_them)


def test_what_is_in_the_way_is_said_and_nothing_is_ended_for_a_click_that_fails(host: LiveHost, studio: Studio) -> None:
    with Page(host) as page:
        until(lambda: bool(page.answers))
        host.post("/stop", {"by": "grace"})
        status, answer = host.post("/live/rollout", CLICK)
        assert (status, "stopped by grace" in answer["error"]) == (409, True), answer
        host.post("/arm", {"by": "ada"})
        with studio.db.transaction() as db:
            dataset = Dataset(name="kept")
            db.add(dataset)
            db.flush()
            record = {"dataset_id": dataset.id, "instruction": "Pick up the cube."}
        assert host.post("/live/record", record)[0] == 200
        status, answer = host.post("/live/rollout", CLICK)
        assert (status, "save or discard it" in answer["error"]) == (409, True), answer
        assert host.live().recording is not None, "the recording goes on"
        assert host.post("/live/discard")[0] == 200
        click(host)
        acts(host)


def test_a_process_that_dies_while_it_loads_is_tried_a_second_time_and_then_told(host: LiveHost, page: Page) -> None:
    def kill_the_next(seen: set[int]) -> None:
        new: set[int] = set()
        until(lambda: bool(new.update(set(demo_processes(host)) - seen) or new))
        process = new.pop()  # one alone: the next attempt's may be there by now
        seen.add(process)
        os.kill(process, signal.SIGKILL)

    kill_those_that_wait(host)
    killed: set[int] = set()
    click(host)
    kill_the_next(killed)
    second = host.live_until(
        lambda s: s.policy is not None and s.policy.loading is not None and s.policy.loading.attempt == 2
    )
    loading = second[-1].policy.loading if second[-1].policy else None
    assert loading is not None
    assert "SIGKILL" in (loading.trouble or "")
    kill_the_next(killed)
    state = host.live_until(lambda state: state.mode is Mode.IDLE)[-1]
    assert state.failure is not None
    assert state.failure.demo
    assert "SIGKILL" in state.failure.reason
    assert "tried twice" in state.failure.reason
    click(host)
    assert acts(host)[-1].failure is None, "trying again is a click"
    host.post("/live/end")
    kill_those_that_wait(host)
    click(host)
    kill_the_next(killed)
    assert acts(host)[-1].failure is None, "once is made good"


def test_a_prepared_demo_waits_loaded(host: LiveHost, page: Page) -> None:
    kill_those_that_wait(host)
    for _ in range(2):
        assert host.post("/live/prepare")[0] == 200
    until(lambda: len(demo_processes(host)) == 1)
    (process,) = demo_processes(host)
    click(host)
    acts(host)
    assert demo_processes(host) == [process]

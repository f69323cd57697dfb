"""A real checkpoint in a process of its own commands the simulated robot of a real host."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backend.core.settings import Settings
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from dexvla.live.messages import HOLD_MS, LiveState, Mode
from dexvla.robots.aloha_sim.options import PickColourOptions
from dexvla.robots.aloha_sim.pick_colour import draw_scene
from tests.support.processes import children
from tests.support.robot_hosts import BRAKING_STEPS, LiveHost, Page, live_host, motion, opened, until, watching
from tests.support.tiny_policies import CAMERAS, tiny_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    settings = Settings(data=tmp_path_factory.mktemp("rollout") / "studio", policy_servers=("127.0.0.1:9",))
    with opened(settings) as studio:
        yield studio


@pytest.fixture(scope="module")
def host(studio: Studio) -> Iterator[LiveHost]:
    with live_host(studio) as host:
        yield host


@pytest.fixture(autouse=True)
def at_rest(host: LiveHost) -> Iterator[None]:
    yield
    host.post("/live/end")
    host.live_until(lambda state: state.mode is Mode.IDLE)


@pytest.fixture
def page(host: LiveHost) -> Iterator[Page]:
    with watching(host) as page:
        yield page


def begin(host: LiveHost, checkpoint: Path, instruction: str = "Pick up the red cube.") -> None:
    status, answer = host.post("/live/rollout", {"path": str(checkpoint), "instruction": instruction})
    assert status == 200, answer
    assert answer["mode"] == "policy"
    assert answer["policy"]["ready"] is False


def acting(state: LiveState) -> bool:
    return state.policy is not None and state.policy.chunks > 1


def sent(states: list[LiveState]) -> np.ndarray:
    """(N, 14)"""
    return np.array([row for state in states if state.samples for row in state.samples.action])


def test_a_checkpoint_acts_on_its_own_frames_and_says_what_it_thinks(
    host: LiveHost, checkpoint: Path, page: Page
) -> None:
    begin(host, checkpoint)
    loading = host.live_until(lambda state: state.policy is not None and state.policy.ready)
    assert loading[0].why == "the policy is being loaded"
    assert np.abs(np.diff(sent(loading), axis=0)).max() < 1e-3, "nothing moves before"
    states = host.acts_until(lambda state: state.policy is not None and state.policy.chunks > 4)
    last = states[-1].policy
    assert last is not None
    assert last.name == "tiny-step-7"
    assert last.refused is None
    assert last.latency_ms is not None
    assert last.latency_ms > 1
    said = [state.policy.reasoning for state in states if state.policy and state.policy.reasoning]
    assert any(not one.done for one in said), "the reasoning is seen while it grows"
    assert any(one.done for one in said)
    assert np.abs(sent(states) - sent(states)[0]).max() > 0.01, "the robot moves"
    chunks = [state.samples for state in states if state.samples and state.samples.chunk is not None]
    assert len(chunks) >= 3
    assert all(len(one.chunk) == 50 and len(one.chunk[0]) == 14 for one in chunks)
    assert {one.chunk_steps for one in chunks} == {50}
    starts = [one.chunk_step for one in chunks]
    assert starts == sorted(set(starts)), "each chunk once"
    cameras = {camera.name: (camera.height, camera.width) for camera in states[-1].status.cameras}
    assert all(cameras[camera.name] == (camera.height, camera.width) for camera in CAMERAS)
    assert cameras["cam_high"] == (480, 640), "the page keeps its own"


def test_what_was_sent_is_what_was_predicted(host: LiveHost, checkpoint: Path, page: Page) -> None:
    begin(host, checkpoint)
    chunks: list[tuple[int, np.ndarray]] = []
    exact: set[int] = set()

    def compare(state: LiveState) -> bool:
        """Chunks tremble in 14 joints at every step: no action is that of another step by chance."""
        if (told := state.samples) is not None:
            if told.chunk is not None and told.chunk_step is not None:
                chunks.append((told.chunk_step, np.array(told.chunk)))
            for step, action in zip(told.step, told.action, strict=True):
                rows = [rows[step - first] for first, rows in chunks if 0 <= step - first < 50]
                if any(np.abs(np.array(action) - row).max() < 1e-3 for row in rows):
                    exact.add(step)
        return len(exact) > 100

    host.acts_until(compare)
    assert len(chunks) >= 2


def test_the_instruction_changes_while_it_runs(host: LiveHost, checkpoint: Path, page: Page) -> None:
    begin(host, checkpoint)
    host.acts_until(acting)
    assert host.post("/live/instruction", {"instruction": "Pick up the blue cube."})[0] == 200
    state = host.live()
    assert state.policy is not None
    assert state.policy.instruction == "Pick up the blue cube."
    before = state.policy.chunks
    host.acts_until(lambda state: state.policy is not None and state.policy.chunks > before)
    assert host.post("/live/instruction", {"instruction": ""})[0] == 422


def test_pause_resume_and_end(host: LiveHost, checkpoint: Path, page: Page) -> None:
    assert host.post("/live/resume")[0] == 409
    assert host.post("/live/end")[0] == 409
    begin(host, checkpoint)
    assert host.post("/live/rollout", {"path": str(checkpoint), "instruction": "again"})[0] == 409
    host.acts_until(acting)
    host.post("/live/pause", by="grace")
    state = host.live()
    assert (state.mode, state.why) == (Mode.PAUSED, "paused by grace")
    assert host.rests()
    chunks = state.policy.chunks if state.policy else 0
    host.post("/live/resume")
    host.acts_until(lambda state: state.policy is not None and state.policy.chunks > chunks + 1)
    status, answer = host.post("/live/end")
    assert (status, answer["mode"], answer["policy"]) == (200, "idle", None)
    until(lambda: not children(host.process.pid, "serve"))


def test_a_stop_holds_at_once_and_rearming_is_not_resuming(host: LiveHost, checkpoint: Path, page: Page) -> None:
    begin(host, checkpoint)
    host.acts_until(acting)
    host.post("/stop", {"by": "grace", "reason": "smoke"})
    state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
    assert state.why == "stopped by grace"
    assert host.post("/live/resume")[0] == 409
    host.post("/arm", {"by": "ada"})
    time.sleep(0.3)
    assert host.live().mode is Mode.PAUSED
    assert host.post("/live/resume")[0] == 200
    chunks = host.live().policy.chunks  # type: ignore[union-attr]
    host.acts_until(lambda state: state.policy is not None and state.policy.chunks > chunks)


def test_a_page_that_falls_silent_holds_the_robot_then_pauses_it(host: LiveHost, checkpoint: Path, page: Page) -> None:
    begin(host, checkpoint)
    host.acts_until(acting)
    with host.socket("/live/state") as states:
        host.next_state(states)
        page.silent.set()
        silent = time.monotonic()
        heard = [host.next_state(states)]
        while (state := heard[-1]).mode is not Mode.PAUSED:
            heard.append(host.next_state(states))
            assert time.monotonic() - silent < 30
    assert "not heard" in (state.why or "")
    moving = motion(heard, silent + 2 * HOLD_MS / 1000)  # the last pulse may have been under way for HOLD_MS
    assert len(moving) > BRAKING_STEPS
    assert not any(moving[BRAKING_STEPS:]), "counted in steps, which a busy machine makes longer"
    page.silent.clear()
    time.sleep(0.3)
    assert host.live().mode is Mode.PAUSED, "a pulse alone does not resume it"
    assert host.post("/live/resume")[0] == 200
    chunks = state.policy.chunks if state.policy else 0
    host.acts_until(lambda state: state.policy is not None and state.policy.chunks > chunks)


def test_a_policy_without_a_page_does_not_act(host: LiveHost, checkpoint: Path) -> None:
    begin(host, checkpoint)
    state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
    assert "not heard" in (state.why or "")
    assert state.policy is not None
    assert state.policy.chunks == 0


def test_a_policy_that_dies_or_hangs_is_paused_and_resuming_starts_a_new_one(
    host: LiveHost, checkpoint: Path, page: Page
) -> None:
    begin(host, checkpoint)
    host.acts_until(acting)
    (process,) = children(host.process.pid, "serve")
    os.kill(process, signal.SIGKILL)
    state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
    assert "SIGKILL" in (state.why or "")
    assert state.policy is not None
    assert not state.policy.ready
    assert host.post("/live/resume")[0] == 200
    host.acts_until(acting)
    (process,) = children(host.process.pid, "serve")
    os.kill(process, signal.SIGSTOP)
    states = host.live_until(lambda state: state.mode is Mode.PAUSED, 120)
    assert any("the simulation waits for the policy" in (state.why or "") for state in states), (
        "told before it is given up"
    )
    assert "no answer within 30 s" in (states[-1].why or ""), [
        state.policy.refused for state in states if state.policy and state.policy.refused
    ][:1]
    until(lambda: process not in children(host.process.pid, "serve"))
    assert max(state.policy.late_steps for state in states if state.policy) == 0, "it waited: no step was late"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"instruction": "go"}, 422, "exactly one of path, url and demo"),
        ({"instruction": "go", "url": "http://x"}, 422, "ws://HOST:PORT"),
        ({"instruction": "go", "url": "ws://127.0.0.1:10"}, 422, "is not one of STUDIO_POLICY_SERVERS"),
        ({"instruction": "go", "url": "ws://127.0.0.1:9@localhost:80"}, 422, "is not one of STUDIO_POLICY_SERVERS"),
        ({"instruction": "", "path": "/x"}, 422, "instruction"),
        ({"instruction": "go", "path": "/x", "extra": 1}, 422, "extra"),
        ("no object", 422, "the message"),
        ({"instruction": "go" * 10_000, "path": "/x"}, 413, "bytes"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(host: LiveHost, body: object, status: int, reason: str) -> None:
    found, answer = host.post("/live/rollout", body)
    assert (found, reason in answer["error"]) == (status, True), answer


def test_what_cannot_be_loaded_or_reached_ends_with_its_reason(host: LiveHost, page: Page, tmp_path: Path) -> None:
    for body, reason in (
        ({"path": str(tmp_path / "nothing")}, "no such folder"),
        ({"url": "ws://127.0.0.1:9"}, "cannot connect"),
    ):
        assert host.post("/live/rollout", {"instruction": "go", **body})[0] == 200
        state = host.live_until(lambda state: state.mode is Mode.IDLE)[-1]
        assert reason in (state.why or "")
        assert state.policy is None


def test_a_checkpoint_of_another_robot_is_refused_with_every_reason(host: LiveHost, page: Page, tmp_path: Path) -> None:
    other = tiny_checkpoint(tmp_path, action_dim=7, state_dim=6, fps=30, robot="my_arm")
    assert host.post("/live/rollout", {"instruction": "go", "path": str(other)})[0] == 200
    state = host.live_until(lambda state: state.mode is Mode.IDLE)[-1]
    for reason in (
        "trained on the robot my_arm",
        "7 action values, the robot 14",
        "6 state values",
        "30 Hz",
    ):
        assert reason in (state.why or "")


def test_the_scene_stays_as_it_is_while_it_is_recorded(host: LiveHost, studio: Studio) -> None:
    with studio.db.transaction() as db:
        dataset = Dataset(name="kept")
        db.add(dataset)
        db.flush()
        wanted = {"dataset_id": dataset.id, "instruction": "Pick up the cube."}
    with Page(host) as page:
        until(lambda: bool(page.answers))
        status, answer = host.post("/live/record", wanted)
        assert status == 200, answer
        status, answer = host.post("/live/scene", {"task": "transfer_cube", "seed": 9})
        assert (status, "save or discard it" in answer["error"]) == (409, True)
        assert host.post("/live/discard")[0] == 200
        assert host.post("/live/scene", {"task": "transfer_cube", "seed": 9})[0] == 200


def test_the_scene_is_reset_by_task_and_seed_and_not_while_a_policy_acts(
    host: LiveHost, checkpoint: Path, page: Page
) -> None:
    status, answer = host.post("/live/scene", {"task": "insertion", "seed": 4})
    assert (status, answer["scene"]["task"], answer["scene"]["seed"]) == (200, "insertion", 4)
    assert answer["scene"]["reward"] == 0
    assert answer["scene"]["success"] is False
    assert "peg" in answer["scene"]["instruction"]
    assert answer["status"]["task"] == "insertion"
    assert answer["scene"]["options"] == {}
    pick = {"level": "jitter", "split": "held_out", "swapped": False}
    status, answer = host.post("/live/scene", {"task": "pick_colour", "seed": 2, "options": pick})
    assert (status, answer["scene"]["options"], answer["scene"]["wrong"]) == (200, pick, False)
    assert answer["scene"]["instruction"] == draw_scene(2, PickColourOptions.model_validate(pick)).instruction
    scenes = [host.post("/live/scene", {"task": "pick_colour", "seed": s, "options": pick})[1] for s in range(3, 9)]
    words = {answer["scene"]["instruction"] for answer in scenes}
    assert len(words) > 1, "another seed names another cube"
    pick["swapped"] = True
    other = host.post("/live/scene", {"task": "pick_colour", "seed": 8, "options": pick})[1]["scene"]["instruction"]
    assert other == draw_scene(8, PickColourOptions.model_validate(pick)).instruction
    assert other != scenes[-1]["scene"]["instruction"], "swapped names the other cube"
    plain = host.post("/live/scene", {"task": "pick_colour", "seed": 2})[1]["scene"]["options"]
    assert plain == {"level": "spots", "split": "any", "swapped": False}
    for bad in ({"task": "pick_colour", "options": {"level": "moon"}}, {"task": "insertion", "options": pick}):
        assert host.post("/live/scene", {"seed": 1, **bad})[0] == 422
    assert host.post("/live/scene", {"task": "insertion", "seed": -1})[0] == 422
    assert host.post("/live/scene", {"task": "juggling", "seed": 1})[0] == 422
    begin(host, checkpoint)
    host.acts_until(acting)
    status, answer = host.post("/live/scene", {"task": "transfer_cube", "seed": 1})
    assert (status, "pause it" in answer["error"]) == (409, True)
    host.post("/live/pause")
    status, answer = host.post("/live/scene", {"task": "transfer_cube", "seed": 1})
    assert (status, answer["scene"]["task"]) == (200, "transfer_cube")
    host.post("/live/resume")
    chunks = host.live().policy.chunks  # type: ignore[union-attr]
    host.acts_until(lambda state: state.policy is not None and state.policy.chunks > chunks)

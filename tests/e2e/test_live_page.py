"""The live page in a real browser: a policy acts and is stopped, a person drives and records, the demo is watched."""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Playwright, TimeoutError, expect

from dexvla.demo import demo_checkpoint
from dexvla.episodes.reader import open_episode
from dexvla.errors import CheckpointError
from dexvla.robots.aloha_sim.options import PickColourOptions
from dexvla.robots.aloha_sim.pick_colour import draw_scene
from dexvla.robots.aloha_sim.scene import START_POSE, joint_positions
from dexvla.robots.aloha_sim.teleop import AlohaTeleop
from tests.support.browser import FLAGS, browser_path
from tests.support.browser_studio import JOB_MS, Person, running_studio, train_tiny
from tests.support.desktop import Desktop

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
RIGHT_GRIPPER = 13
RECORD_SECONDS = 10.0
NUMBER = re.compile(r"\d+")
COLOURS = ("red", "green", "blue", "yellow")

# A checksum of what a camera's canvas shows, "" before its first frame.
FRAME = """camera => {
  const canvas = camera.querySelector("canvas");
  if (camera.dataset.frames === "0") return "";
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let one = 1, two = 0;
  for (let i = 0; i < data.length; i += 1) { one = (one + data[i]) % 65521; two = (two + one) % 65521; }
  return `${canvas.width} x ${canvas.height}: ${one} ${two}`;
}"""

# The newest measured joints, as the state socket tells them.
JOINTS = """() => new Promise((done, fail) => {
  const robot = location.pathname.split("/")[2];
  const socket = new WebSocket(`ws://${location.host}/api/live/${robot}/state`);
  socket.onerror = () => fail(new Error("no state"));
  socket.onmessage = ({ data }) => {
    const { samples } = JSON.parse(data);
    if (!samples) return;
    socket.close();
    done(samples.state.at(-1));
  };
})"""


@pytest.mark.timeout(1500)
def test_a_policy_acts_and_a_person_takes_over(
    windowed: Browser, hand: Desktop, tmp_path: Path, screenshots: Path | None
) -> None:
    data = tmp_path / "data"
    with running_studio(data) as address:
        person = Person(windowed, address, screenshots, windowed=True)
        person.sign_up(address)
        dataset_id = tiny_checkpoint(person)
        open_live_page(person)
        start_policy(person)
        frames_move(person)
        stop_and_rearm(person)
        drive_right_arm(person, hand)
        record(person, hand, data, dataset_id)
        assert person.complaints == []


@pytest.mark.timeout(900)
def test_the_demo_policy_does_what_it_is_told(browser: Browser, tmp_path: Path, screenshots: Path | None) -> None:
    try:
        demo_checkpoint()
    except CheckpointError as error:
        pytest.skip(str(error))
    with running_studio(tmp_path / "data") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        watch_demo(person)
        assert person.complaints == []


@pytest.mark.timeout(900)
def test_a_killed_browser_leaves_a_robot_that_holds(
    playwright: Playwright, browser: Browser, tmp_path: Path, screenshots: Path | None
) -> None:
    mark = f"--studio-victim={tmp_path}"
    victim = playwright.chromium.launch(executable_path=browser_path(), headless=True, args=[*FLAGS, mark])
    with running_studio(tmp_path / "data") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        open_live_page(person)
        operator = Person(victim, address, screenshots)
        operator.context.add_cookies(person.context.cookies())  # type: ignore[arg-type]
        operator.go("/")
        operator.at("watch-demo").click()
        state_is(person, "policy", seconds=JOB_MS / 1000)
        kill_process(mark)
        state_is(person, "paused")
        until(person, lambda: at_rest(person), "the arms do not come to rest")
        assert at_rest(person)
        assert person.complaints == []


def kill_process(mark: str) -> None:
    """SIGKILL for the process that was started with this argument."""
    pids = [one.pid for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or [])]
    assert pids, "no such process"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


# --- before -------------------------------------------------------------------------------------------------------


def tiny_checkpoint(person: Person) -> str:
    """One demonstration, a tiny base model and a few steps of training; returns the dataset's id."""
    person.wait_for(person.post("/datasets/demo", {"episodes": 1}))
    (dataset,) = person.get("/datasets")
    found: str = dataset["id"]
    train_tiny(person, found)
    return found


# --- the policy ---------------------------------------------------------------------------------------------------


def open_live_page(person: Person) -> None:
    person.go("/robots")
    person.at("robot-live").click()
    state_is(person, "holding")


def start_policy(person: Person) -> None:
    expect(person.at("live-checkpoint")).to_have_value("cube, step 4")
    person.at("live-start").click()
    state_is(person, "policy", seconds=120)
    reasoning = person.at("live-reasoning")
    expect(reasoning).to_have_attribute("data-step", NUMBER, timeout=60_000)
    acts_until(person, lambda: int(person.at("live-chunks").inner_text()) > 1, "the policy predicts nothing")
    assert reasoning.inner_text().strip()
    expect(person.at("live-latency")).to_have_text(re.compile(r"\d+ ms"))


def frames_move(person: Person) -> None:
    """Each camera shows something new, and something else than the others."""
    shown: dict[str, str] = {}
    for name in CAMERAS:
        camera = person.at(f"live-camera-{name}")
        before = frame(camera)

        def fresh(camera: Locator = camera, before: str = before) -> bool:
            return frame(camera) not in {"", before}

        until(person, fresh, f"{name} shows nothing new")
        shown[name] = frame(camera)
        expect(camera).not_to_have_attribute("data-stale", NUMBER)
    assert len(set(shown.values())) == len(CAMERAS), shown
    person.look("live-policy")


def at_rest(person: Person) -> bool:
    """No joint goes anywhere for 0.7 s, twice in a row: a busy machine's simulation may take no step in one of them."""
    seen = [joints(person)]
    for _ in range(2):
        person.page.wait_for_timeout(700)
        seen.append(joints(person))
    return bool(np.ptp(seen, axis=0).max() < 0.01)


def stop_and_rearm(person: Person) -> None:
    """A key stops it from wherever the focus is, here from the field in which one types; nothing goes on by itself."""
    for _ in range(5):  # at one of them the machine is not busy with something else
        person.at("live-instruction").click()
        began = time.monotonic()
        person.page.keyboard.press("Escape")
        state_is(person, "stopped")
        if (took := time.monotonic() - began) < 1.0:
            break
        person.at("live-arm").click()
        state_is(person, "paused")
    assert took < 1.0
    until(person, lambda: stopped_by(person) == "ada", "the list of robots does not say who stopped it", every_ms=500)
    expect(person.at("live-resume")).to_have_attribute("aria-disabled", "true")
    until(person, lambda: at_rest(person), "the arms do not come to rest")  # a busy machine simulates slowly
    assert at_rest(person)
    person.look("live-stopped")
    person.at("live-arm").click()
    state_is(person, "paused")
    person.at("live-end").click()
    state_is(person, "holding")


def stopped_by(person: Person) -> str | None:
    (robot,) = person.get("/robots")
    by: str | None = robot["status"]["stopped_by"]
    return by if robot["status"]["state"] == "stopped" else None


# --- the person ---------------------------------------------------------------------------------------------------


def drive_right_arm(person: Person, hand: Desktop) -> None:
    """Only while Shift is held, and the chosen arm alone. With real keys, which the system repeats while they are."""
    person.at("live-tab-drive").click()
    person.at("live-drive").check()
    expect(person.at("live-drive-state")).to_have_text("Hold Shift")
    until(person, lambda: at_rest(person), "the arms do not come to rest")
    before = joints(person)
    # Where the policy left the arm, up may end at the edge of the workspace, and the gripper may be open.
    vertical = "e" if AlohaTeleop().pinch_points(before)[1, 2] < 0.4 else "q"
    gripper, way = ("m", 1) if before[RIGHT_GRIPPER] < 0.5 else ("n", -1)
    hand.tap("2")
    hand.press(vertical)
    person.page.wait_for_timeout(400)
    assert np.abs(joints(person) - before).max() < 0.01, "a key without the dead-man moves it"
    person.page.wait_for_timeout(600)  # the system repeats it by now, also while and after Shift goes down
    hold_shift(person, hand)
    person.page.wait_for_timeout(400)
    assert np.abs(joints(person) - before).max() < 0.01, "a key from before the dead-man moves it"
    hand.lift(vertical)
    hand.press(vertical, gripper)
    state_is(person, "drive")

    def moves() -> bool:
        let_go = person.at("live-drive-state").get_attribute("data-deadman") == "false"
        if let_go or person.at("live-drive-refused").count():  # the machine was too busy for the page: press again
            hand.lift_all()
            hold_shift(person, hand)
            hand.press(vertical, gripper)
        return bool(way * (joints(person) - before)[RIGHT_GRIPPER] > 0.2)

    until(person, moves, "the gripper does not move", every_ms=200)
    person.look("live-drive")
    look_elsewhere(person)
    hand.lift_all()
    state_is(person, "holding")
    moved = np.abs(joints(person) - before)
    assert moved[7:13].max() > 0.03, f"the right arm did not follow {vertical}"
    assert moved[:7].max() < 0.02, "the left arm moved"


def look_elsewhere(person: Person) -> None:
    """Another tab takes the keyboard while keys are held: the robot holds, and goes on only if one asks it to."""
    window = person.context.new_cdp_session(person.page)
    window.send("Emulation.setFocusEmulationEnabled", {"enabled": False})  # else every page believes to have it
    other = person.context.new_page()
    other.bring_to_front()
    expect(person.at("live-drive-state")).to_have_attribute("data-deadman", "false")
    state_is(person, "holding")
    until(person, lambda: at_rest(person), "the arms do not come to rest")
    person.page.bring_to_front()
    person.page.wait_for_function("document.hasFocus()")
    expect(person.at("live-drive-state")).to_have_attribute("data-deadman", "false")
    assert at_rest(person)
    other.close()
    window.send("Emulation.setFocusEmulationEnabled", {"enabled": True})


def record(person: Person, hand: Desktop, data: Path, dataset_id: str) -> None:
    """Ten seconds with some driving in them; the episode stands in the dataset with its steps and their times."""
    person.at("live-record-instruction").fill("Wave the right arm")
    person.at("live-record").click()
    expect(person.at("live-recording")).to_be_visible()
    began = time.monotonic()
    wave(person, hand, RECORD_SECONDS)
    recorded = time.monotonic() - began
    person.look("live-recording")
    person.at("live-save-success").click()
    expect(person.at("live-saved")).to_have_attribute("data-state", "saved")
    longest = time.monotonic() - began
    person.at("live-saved-episode").click()
    expect(person.at("segment-row").first).to_be_visible()
    person.look("live-episode")
    episode = person.get(f"/episodes/{person.page.url.rpartition('/')[2]}")
    assert episode["dataset_id"] == dataset_id
    assert episode["steps"] < 50 * (longest + 1)
    draft = person.get(f"/episodes/{episode['id']}/draft")
    assert (draft["instruction"], draft["success"]) == ("Wave the right arm", True)
    check_file(data, episode["steps"], recorded, longest)


def wave(person: Person, hand: Desktop, seconds: float) -> None:
    end = time.monotonic() + seconds
    hold_shift(person, hand)
    while time.monotonic() < end:
        for key in ("q", "e"):
            hand.press(key)
            person.page.wait_for_timeout(300)
            hand.lift(key)
        if person.at("live-drive-state").get_attribute("data-deadman") == "false":  # a busy machine: press again
            hand.lift_all()
            hold_shift(person, hand)
    hand.lift_all()


def check_file(data: Path, steps: int, shortest: float, longest: float) -> None:
    """The recorded file: the control loop's own times, the seconds that went by, every camera, and motion."""
    for path in sorted(data.rglob("*.hdf5")):
        with open_episode(path) as episode:
            if episode.steps != steps or episode.timestamp is None or episode.host_timestamp is None:
                continue
            # A busy machine makes fewer steps in that time, never another time.
            assert shortest - 0.5 < episode.host_timestamp[-1] - episode.host_timestamp[0] < longest + 0.5
            assert set(CAMERAS) <= set(episode.cameras)
            gaps = np.diff(episode.timestamp)
            assert gaps.min() > 0
            assert np.median(gaps) == pytest.approx(0.02, abs=0.002)
            assert episode.timestamp[-1] - episode.timestamp[0] == pytest.approx((steps - 1) * 0.02, rel=0.1)
            assert np.ptp(episode.action[:, 7:13], axis=0).max() > 0.03
            return
    raise AssertionError(f"no file of {steps} steps with times below {data}")


# --- the demo -----------------------------------------------------------------------------------------------------


def watch_demo(person: Person) -> None:
    """From the home page to a policy that acts; typing another colour changes what it says."""
    person.go("/")
    person.at("watch-demo").click()
    state_is(person, "policy", seconds=JOB_MS / 1000)
    start = joint_positions(START_POSE)
    moved = "the demo policy does not move"
    acts_until(person, lambda: np.abs(joints(person) - start).max() > 0.3, moved, every_ms=1000)
    reasoning = person.at("live-reasoning")
    told = person.at("live-instruction").input_value().lower()
    colour = next(colour for colour in COLOURS if colour in told)
    acts_until(person, lambda: colour in reasoning.inner_text(), f"it says nothing of {colour}")
    person.look("live-demo")
    other = other_colour(person.get("/live/demo")["instructions"], colour)
    person.at("live-instruction").fill(told.replace(colour, other).capitalize())
    person.at("live-instruction").press("Enter")
    acts_until(person, lambda: other in reasoning.inner_text(), f"it says nothing of {other}")
    expect(reasoning).not_to_contain_text(colour)
    person.look("live-demo-other")
    next_scene(person)


def next_scene(person: Person) -> None:
    """One press while it acts: the scene is another one, the policy is told what that asks for, and goes on."""
    now = person.at("live-scene-now")
    seed = int(now.get_attribute("data-seed") or "")
    person.at("live-next-scene").click()
    expect(now).to_have_attribute("data-seed", str(seed + 1))
    expect(person.at("live-next-scene")).not_to_have_attribute("data-loading", "true")
    acts_until(
        person, lambda: person.at("live-state").get_attribute("data-state") == "policy", "the policy does not go on"
    )
    pick = PickColourOptions.model_validate(person.get("/live/demo")["options"])
    expect(person.at("live-instruction")).to_have_value(draw_scene(seed + 1, pick).instruction)
    expect(person.at("live-outcome")).to_have_text("Not done yet.")


def other_colour(instructions: list[str], colour: str) -> str:
    told = " ".join(instructions).lower()
    return next(other for other in COLOURS if other != colour and other in told)


# --- what one sees ------------------------------------------------------------------------------------------------


def state_is(person: Person, state: str, *, seconds: float = 30.0) -> None:
    expect(person.at("live-state")).to_have_attribute("data-state", state, timeout=seconds * 1000)


def frame(camera: Locator) -> str:
    shown: str = camera.evaluate(FRAME)
    return shown


def joints(person: Person) -> NDArray[np.float64]:
    """(14,) measured joint positions."""
    return np.asarray(person.page.evaluate(JOINTS))


def hold_shift(person: Person, hand: Desktop) -> None:
    """With the focus where nothing is typed."""
    person.page.evaluate("document.activeElement.blur()")
    hand.press("Shift_L")
    expect(person.at("live-drive-state")).to_have_attribute("data-deadman", "true")


def until(
    person: Person, condition: Callable[[], Any], otherwise: str, *, seconds: float = 90.0, every_ms: float = 50
) -> None:
    """every_ms: asked so often. What opens sockets had better be asked seldom while the page has to keep its pulse."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        person.page.wait_for_timeout(every_ms)


def acts_until(person: Person, condition: Callable[[], Any], otherwise: str, *, every_ms: float = 200) -> None:
    """As `until`, for a policy: where the machine was too busy for the page's pulse, it is resumed."""

    def look() -> bool:
        if person.at("live-state").get_attribute("data-state") == "paused":
            with suppress(TimeoutError):
                person.at("live-resume").click(timeout=5_000)
        return bool(condition())

    until(person, look, otherwise, seconds=180.0, every_ms=every_ms)

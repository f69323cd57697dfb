"""The first click of a newcomer: the demo policy acts, no chunk is lost, and after the tab was closed it acts again."""

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.browser_studio import JOB_MS, Person, running_studio

SOME_CHUNKS = re.compile(r"^([5-9]|[1-9][\d,]+)$")
# The page's policy forbids eval, which Playwright's own waiting needs.
MODE = """async (robot) => {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/live/${robot}/state`);
  const state = await new Promise((told) => (socket.onmessage = ({ data }) => told(JSON.parse(data))));
  socket.close();
  return state.mode;
}"""


def test_a_click_ends_in_a_policy_that_acts_whatever_it_meets(
    browser: Browser, tmp_path: Path, screenshots: Path | None
) -> None:
    with running_studio(tmp_path / "data") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        expect(person.at("watch-demo")).not_to_have_attribute("aria-disabled", "true", timeout=JOB_MS)
        person.at("watch-demo").click()
        expect(person.at("live-loading-phase")).to_have_text(re.compile(r": \d+ s"))
        person.look("first-click-loading")
        acts(person)
        person.look("first-click-acting")
        after_the_tab_was_closed(person)
        a_double_click_is_one(person)
        a_stop_is_told_and_undone_by_its_name(person)
        a_recording_is_in_the_way(person)
        assert person.complaints == []


def acts(person: Person) -> None:
    expect(person.at("live-state")).to_have_attribute("data-state", "policy", timeout=JOB_MS)
    expect(person.at("live-chunks")).to_have_text(SOME_CHUNKS, timeout=JOB_MS)
    expect(person.at("live-late")).to_have_text("0")
    expect(person.at("live-refused")).to_have_count(0)
    expect(person.at("live-real-time")).to_have_text(re.compile(r"^(1|0\.\d)x real time$"))
    expect(person.at("live-camera-overview")).to_be_visible()


def new_tab(person: Person) -> None:
    person.page.close()
    person.page = person.context.new_page()
    person.page.on("pageerror", lambda error: person.complaints.append(str(error)))
    person.go("/")


def after_the_tab_was_closed(person: Person) -> None:
    new_tab(person)
    for _ in range(JOB_MS // 500):
        if person.page.evaluate(MODE, "aloha-sim") == "paused":
            break
        person.page.wait_for_timeout(500)
    else:
        raise AssertionError("the policy that nobody watches is not paused")
    person.at("watch-demo").click()
    acts(person)


def a_double_click_is_one(person: Person) -> None:
    person.at("live-end").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    person.at("live-watch-demo").dblclick()
    acts(person)
    person.at("live-pause").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "paused")
    person.at("live-watch-demo").click()
    acts(person)


def a_stop_is_told_and_undone_by_its_name(person: Person) -> None:
    person.at("live-stop").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "stopped")
    new_tab(person)
    person.at("watch-demo").click()
    expect(person.at("live-demo-waits")).to_contain_text("stopped by ada")
    expect(person.at("live-watch-demo")).to_have_text("Re-arm and watch the demo")
    person.look("first-click-stopped")
    person.at("live-watch-demo").click()
    acts(person)


def a_recording_is_in_the_way(person: Person) -> None:
    """It goes on, and the page says what to do."""
    dataset = person.post("/datasets", {"name": "kept"})
    person.at("live-end").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    person.post("/live/aloha-sim/record", {"dataset_id": dataset["id"], "instruction": "Pick up the cube"})
    new_tab(person)
    person.at("watch-demo").click()
    expect(person.at("live-demo-waits")).to_contain_text("Save or discard it first")
    expect(person.at("live-watch-demo")).to_have_text("Show the recording")
    person.at("live-watch-demo").click()
    expect(person.at("live-discard")).to_be_in_viewport()
    person.at("live-discard").click()
    acts(person)

"""A browser that calls itself offline, rightly or not: no command waits for that to change, least of all a stop."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser_studio import Person, running_studio
from tests.support.robot_hosts import until

pytestmark = pytest.mark.clockless


@pytest.mark.timeout(600)
def test_no_command_waits_for_the_network(browser: Browser, tmp_path: Path, screenshots: Path | None) -> None:
    with running_studio(tmp_path / "data") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        person.go("/robots")
        person.at("robot-live").click()
        expect(person.at("live-state")).to_have_attribute("data-state", "holding")
        a_studio_that_is_there_all_the_same(person)
        a_stop_that_does_not_arrive(person)


def a_studio_that_is_there_all_the_same(person: Person) -> None:
    """The cable is out, and the studio is on this machine."""
    person.page.evaluate("window.dispatchEvent(new Event('offline'))")
    person.at("live-stop").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "stopped")
    until(lambda: robot(person)["stopped_by"] == "ada")  # the list is up to one announcement behind
    person.at("live-arm").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    person.page.evaluate("window.dispatchEvent(new Event('online'))")


def a_stop_that_does_not_arrive(person: Person) -> None:
    """It is told, and it is not carried out later, when nobody thinks of it."""
    failed: list[str] = []
    person.page.on("requestfailed", lambda request: failed.append(request.url))
    person.context.set_offline(True)
    person.at("live-stop").click()
    note = person.at("error-note").filter(has_text="The stop did not arrive")
    expect(note).to_be_visible()
    expect(person.at("connection")).to_have_text("Not connected")
    while sum(url.endswith("/stop") for url in failed) < 3:  # the last try
        person.page.wait_for_event("requestfailed")
    expect(note).to_be_visible()
    person.look("stop-did-not-arrive")
    person.context.set_offline(False)
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    expect(person.at("connection")).to_have_text("Live")
    assert robot(person)["state"] == "holding"


def robot(person: Person) -> dict[str, Any]:
    (found,) = person.get("/robots")
    status: dict[str, Any] = found["status"]
    return status

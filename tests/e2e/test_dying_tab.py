"""Tabs that die at any moment while somebody labels: the next tab has every edit."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import Person, running_studio

pytestmark = pytest.mark.clockless

KILLS = 20
STEPS = 600


def test_no_edit_is_lost_with_a_tab(browser: Browser, tmp_path: Path, screenshots: Path | None) -> None:
    """The page's process is killed at a random moment after an edit: before its save, during it or afterwards."""
    moments = random.Random(5)
    with running_studio(tmp_path / "data") as address:
        ada = Person(browser, address, screenshots)
        ada.sign_up(address)
        dataset = ada.post("/datasets", {"name": "Barcodes"})["id"]
        write_barcode_episode(tmp_path / "one.hdf5", steps=STEPS, size=(64, 136))
        episode = ada.upload(dataset, tmp_path / "one.hdf5")
        acknowledged = 0
        for kill in range(KILLS):
            ada.go(f"/episodes/{episode}")
            expect(ada.at("segment-row")).to_have_count(kill + 1)
            cut(ada, 25 * (kill + 1))
            expect(ada.at("segment-row")).to_have_count(kill + 2)
            ada.page.wait_for_timeout(moments.uniform(0, 1000))
            acknowledged += ada.at("save-status").get_attribute("data-state") == "saved"
            die(ada)
        assert 0 < acknowledged < KILLS, "every kill came at the same moment"
        ada.go(f"/episodes/{episode}")
        expect(ada.at("segment-row")).to_have_count(KILLS + 1)
        expect(ada.at("save-status")).to_have_attribute("data-state", "saved")
        stored = ada.get(f"/episodes/{episode}/draft")["segments"]
        assert [one["start"] for one in stored] == [25 * number for number in range(KILLS + 1)]


def cut(person: Person, step: int) -> None:
    for key in ("g", *str(step), "Enter", "s"):
        person.page.keyboard.press(key)


def die(person: Person) -> None:
    """The tab's process ends at once: no handler runs, nothing is sent any more. Another tab takes its place."""
    page = person.page
    person.page = person.context.new_page()
    with page.expect_event("crash"), suppress(Error):  # the dead do not answer
        page.goto("chrome://crash")
    page.close()

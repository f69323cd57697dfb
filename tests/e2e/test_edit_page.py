"""Edits in a real browser: a split at the playhead with its preview, what it made, and its undo."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe
from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import JOB_MS, Person, running_studio

pytestmark = pytest.mark.clockless


@pytest.fixture(scope="module")
def ada(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("edit")
    with running_studio(folder / "studio") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        yield person
        assert person.complaints == []


def test_episodes_are_split_and_brought_back(ada: Person, tmp_path: Path) -> None:
    dataset = ada.post("/datasets", {"name": "Cubes"})["id"]
    ids = []
    for number in range(2):
        file = tmp_path / f"{number}.hdf5"
        write_barcode_episode(file, steps=40, size=(32, 68), seed=number)
        ids.append(ada.upload(dataset, file))
    ada.go(f"/datasets/{dataset}")
    ada.at("select-page").click()  # the server is asked for all of the list
    expect(ada.at("selection")).to_have_attribute("data-count", "2")
    ada.at("selection-edit").click()
    ada.choose("edit-action", "Keep a part")
    ada.at("edit-first").fill("5")
    ada.at("edit-last").fill("99")
    expect(ada.at("edit-item").first).to_contain_text("steps 5..99 are none of this episode; it has 0..39")
    expect(ada.at("edit-start")).to_be_disabled()
    ada.choose("edit-action", "Split")
    ada.at("edit-at").fill("10, 30")
    expect(ada.at("edit-count")).to_have_attribute("data-items", "6")
    expect(ada.at("edit-item").first).to_have_attribute("data-steps", "10")
    assert axe(ada.page) == []
    ada.look("edit-form")
    ada.page.set_viewport_size({"width": 390, "height": 844})
    ada.look("edit-phone")
    ada.page.set_viewport_size({"width": 1366, "height": 768})
    ada.at("edit-start").click()
    expect(ada.at("edit-done")).to_be_visible(timeout=JOB_MS)
    ada.at("edit-close").click()
    expect(ada.at("episode-row")).to_have_count(6)
    ada.at("tab-history").click()
    row = ada.at("edit-row")
    expect(row).to_contain_text("Split episodes 0, 1: now 2, 3, 4, 5, 6 and 1 more")
    assert axe(ada.page) == []
    ada.look("edit-history")
    row.get_by_test_id("edit-undo").click()
    ada.at("confirm-yes").click()
    expect(row).to_have_attribute("data-state", "undone")
    ada.at("tab-episodes").click()
    expect(ada.at("episode-row")).to_have_count(2)
    ada.go(f"/datasets/{dataset}?edit={ids[0]}&step=12")  # where the annotator's menu leads
    expect(ada.at("edit-at")).to_have_value("12")
    expect(ada.at("edit-count")).to_have_attribute("data-items", "2")

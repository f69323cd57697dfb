"""Edits in a real browser: a split at the playhead with its preview, what it made, and its undo."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def test_each_action_makes_what_its_preview_says(ada: Person, tmp_path: Path) -> None:
    dataset = ada.post("/datasets", {"name": "Spoons"})["id"]
    for number, steps in enumerate((40, 30, 20)):
        file = tmp_path / f"{number}.hdf5"
        write_barcode_episode(file, steps=steps, size=(32, 68), seed=number)
        ada.upload(dataset, file)
    assert lengths(ada, dataset) == [40, 30, 20]

    begin(ada, dataset, "Keep a part", 1)
    ada.at("edit-first").fill("5")
    ada.at("edit-last").fill("24")
    expect(ada.at("edit-item")).to_have_attribute("data-steps", "20")
    carry_out(ada)
    assert lengths(ada, dataset) == [30, 20, 20]

    begin(ada, dataset, "Cut a part out", 1)
    ada.at("edit-first").fill("10")
    ada.at("edit-last").fill("14")
    expect(ada.at("edit-item")).to_have_attribute("data-steps", "25")
    carry_out(ada)
    assert lengths(ada, dataset) == [20, 20, 25]

    begin(ada, dataset, "Join", 2)
    ada.at("edit-instruction").fill("Stir the soup")
    expect(ada.at("edit-item")).to_have_attribute("data-steps", "40")
    ada.look("edit-join")
    carry_out(ada)
    assert lengths(ada, dataset) == [25, 40]
    assert episodes(ada, dataset)[1]["instruction"] == "Stir the soup"

    begin(ada, dataset, "Rename cameras", 2)
    ada.at("edit-camera-cam_high").fill("cam_top")
    ada.look("edit-rename")
    carry_out(ada)
    assert set(ada.get(f"/datasets/{dataset}")["cameras"]) == {"cam_top", "cam_left_wrist", "cam_right_wrist"}
    assert lengths(ada, dataset) == [25, 40]

    begin(ada, dataset, "Instruction or outcome", 1)
    ada.choose("edit-outcome", "Success")
    carry_out(ada, "edit-done")
    assert [one["success"] for one in episodes(ada, dataset)] == [True, None]

    begin(ada, dataset, "Copy to another", 1)
    ada.choose("edit-target", "A new dataset")
    ada.at("edit-target-name").fill("Ladles")
    carry_out(ada)
    begin(ada, dataset, "Move to another", 2)
    ada.choose("edit-target", "Ladles")
    expect(ada.at("edit-item").first).to_contain_text("it is in Ladles already, as episode 0; leave it out")
    expect(ada.at("edit-start")).to_be_disabled()
    ada.look("edit-move")
    ada.at("edit-item").first.get_by_role("checkbox").click()
    carry_out(ada)
    ladles = next(one["id"] for one in ada.get("/datasets") if one["name"] == "Ladles")
    assert lengths(ada, dataset) == [25]
    assert lengths(ada, ladles) == [25, 40]

    ada.go(f"/datasets/{dataset}")
    ada.at("tab-history").click()
    ada.look("edit-history-long")
    ada.at("edit-row").first.get_by_test_id("edit-undo").click()
    ada.at("confirm-yes").click()
    expect(ada.at("edit-row").first).to_have_attribute("data-state", "undone")
    assert lengths(ada, dataset) == [25, 40]
    assert lengths(ada, ladles) == [25]


def begin(ada: Person, dataset: str, action: str, count: int) -> None:
    """Select the first `count` episodes of the list and say what to make of them."""
    ada.go(f"/datasets/{dataset}")
    for number in range(count):
        ada.at("episode-select").nth(number).click()
    expect(ada.at("selection")).to_have_attribute("data-count", str(count))
    ada.at("selection-edit").click()
    ada.choose("edit-action", action)


def carry_out(ada: Person, done: str = "edit-done") -> None:
    ada.at("edit-start").click()
    expect(ada.at(done)).to_be_visible(timeout=JOB_MS)
    ada.at("edit-close").click()


def episodes(ada: Person, dataset: str) -> list[Any]:
    found: list[Any] = ada.get(f"/datasets/{dataset}/episodes")["items"]
    return sorted(found, key=lambda one: int(one["number"]))


def lengths(ada: Person, dataset: str) -> list[int]:
    return [one["steps"] for one in episodes(ada, dataset)]

"""Uploads in a real browser: files and folders, what becomes of each, and a page that is closed in the middle."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe
from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import JOB_MS, Person, running_studio

pytestmark = pytest.mark.clockless

LARGE = 40 * 2**20


@pytest.fixture(scope="module")
def ada(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("upload")
    with running_studio(folder / "studio") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        yield person
        assert person.complaints == []


def test_files_and_folders_are_taken_and_a_closed_page_goes_on(ada: Person, tmp_path: Path) -> None:
    dataset = ada.post("/datasets", {"name": "Cubes"})["id"]
    good, bad, large, folder = (tmp_path / name for name in ("good.hdf5", "bad.hdf5", "large.hdf5", "set"))
    write_barcode_episode(good, steps=20, size=(32, 68), seed=0)
    bad.write_bytes(b"no episode")
    large.write_bytes(os.urandom(LARGE))
    (folder / "meta").mkdir(parents=True)
    write_barcode_episode(folder / "one.hdf5", steps=20, size=(32, 68), seed=1)
    (folder / "meta" / "info.json").write_text("{}")
    tab = f"/datasets/{dataset}?tab=import"
    ada.go(tab)
    assert axe(ada.page) == []

    ada.at("upload-input").set_input_files([good, bad])
    rows = ada.at("upload-row")
    expect(rows.filter(has_text="good.hdf5")).to_have_attribute("data-state", "accepted", timeout=JOB_MS)
    expect(rows.filter(has_text="bad.hdf5")).to_have_attribute("data-state", "refused", timeout=JOB_MS)
    expect(ada.at("upload-total")).to_have_text("2 files, 1 accepted, 1 not accepted")
    assert axe(ada.page) == []
    ada.look("upload-done")
    ada.at("upload-clear").click()
    ada.at("upload-input").set_input_files(good)
    expect(rows).to_have_attribute("data-state", "known", timeout=JOB_MS)
    ada.at("upload-clear").click()

    ada.at("upload-folder-input").set_input_files(folder)
    left = ada.at("upload-left")
    expect(left).to_have_attribute("data-state", "folder", timeout=JOB_MS)
    expect(left).to_contain_text("A folder of 2 files is here")
    assert axe(ada.page) == []
    ada.look("upload-folder")
    ada.at("upload-take-episodes").click()
    ada.at("confirm-yes").click()
    expect(left).to_have_count(0, timeout=JOB_MS)
    expect(rows).to_have_attribute("data-state", "accepted", timeout=JOB_MS)  # the other file of the folder is gone
    assert {one["original_name"] for one in _episodes(ada, dataset)} == {"good.hdf5", "one.hdf5"}

    slow = ada.context.new_cdp_session(ada.page)
    slow.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8 * 2**20},
    )
    ada.at("upload-input").set_input_files(large)
    expect(ada.at("upload-pace")).to_contain_text("/s", timeout=JOB_MS)
    ada.look("upload-under-way")
    ada.page.wait_for_function(
        "id => fetch(`/api/datasets/${id}/uploads`).then(answer => answer.json())"
        ".then(all => all.some(one => one.counts.uploading && one.received_bytes > 0))",
        arg=dataset,
        timeout=JOB_MS,
    )
    ada.page.close()
    ada.page = ada.context.new_page()
    ada.go(tab)
    expect(ada.at("upload-left")).to_contain_text("1 file unfinished")
    expect(ada.at("upload-left")).to_contain_text("large.hdf5")
    ada.page.emulate_media(color_scheme="dark")
    ada.look("upload-unfinished-dark")
    ada.page.set_viewport_size({"width": 390, "height": 844})
    ada.at("upload-left").scroll_into_view_if_needed()
    ada.look("upload-unfinished-phone")
    assert axe(ada.page) == []
    ada.at("upload-input").set_input_files(large)
    row = ada.at("upload-row")
    expect(row).to_have_attribute("data-state", "refused", timeout=JOB_MS)
    expect(ada.at("upload-errors")).to_contain_text("large.hdf5 was not accepted")  # and not: is not what was sent
    expect(ada.at("upload-left")).to_have_count(0)


def _episodes(ada: Person, dataset: str) -> list[dict[str, object]]:
    listed = ada.get(f"/datasets/{dataset}/episodes")["items"]
    return [ada.get(f"/episodes/{one['id']}") for one in listed]

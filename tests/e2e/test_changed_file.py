"""An episode's file changes, or goes away, under somebody who labels it: they are told, and their work stays."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import Person, running_studio

pytestmark = pytest.mark.clockless

STEPS = 600
SIZE = (64, 136)
TEXT = "Reach for the cube"


def test_labels_outlive_their_file(browser: Browser, tmp_path: Path, screenshots: Path | None) -> None:
    with running_studio(tmp_path / "data") as address:
        ada = Person(browser, address, screenshots)
        ada.sign_up(address)
        dataset = ada.post("/datasets", {"name": "Barcodes"})["id"]
        write_barcode_episode(tmp_path / "one.hdf5", steps=STEPS, size=SIZE, seed=1)
        episode = ada.upload(dataset, tmp_path / "one.hdf5")
        (file,) = (tmp_path / "data").rglob(f"{episode}.hdf5")
        kept = file.rename(tmp_path / "kept.hdf5")

        # the file is gone: no frames, and one can label on
        ada.go(f"/episodes/{episode}")
        expect(ada.at("picture-error")).to_contain_text("restore it from a backup")
        ada.page.keyboard.press("Enter")
        ada.at("segment-text").fill(TEXT)
        ada.at("segment-text").press("Enter")
        expect(ada.at("save-status")).to_have_attribute("data-state", "saved")
        ada.look("file-gone")
        publish(ada, refused="is gone; restore it from a backup")

        # another recording in its place
        write_barcode_episode(file, steps=STEPS, size=SIZE, seed=2)
        publish(ada, refused="another motion or other images than when it was taken in")
        assert texts(ada, episode) == [TEXT]

        # as it was: what was labelled meanwhile is published
        kept.replace(file)
        ada.page.reload()
        expect(ada.at("segment-row").first).to_contain_text(TEXT)
        expect(ada.at("picture-error")).to_have_count(0)
        ada.at("publish").click()
        expect(ada.at("revisions-open")).to_contain_text("Revision 1")
        (revision,) = ada.get(f"/episodes/{episode}/revisions")
        assert [one["text"] for one in revision["segments"]] == texts(ada, episode) == [TEXT]


def publish(ada: Person, *, refused: str) -> None:
    ada.at("publish").click()
    said = ada.page.get_by_role("alert").filter(has_text=refused)
    expect(said.first).to_be_visible()
    expect(ada.at("publish")).not_to_have_attribute("data-current", "true")
    expect(ada.at("save-status")).to_have_attribute("data-state", "saved")


def texts(ada: Person, episode: str) -> list[str]:
    return [one["text"] for one in ada.get(f"/episodes/{episode}/draft")["segments"]]

"""An annotator asks a vision-language model; a local server stands in for it, spoken to as to a real one."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import Person, running_studio
from tests.support.vision_server import images, said, vision_server

pytestmark = pytest.mark.clockless

TEXTS = ["Reach for the cube", "Grasp the cube"]
SUBSTEPS = [{"start": 0, "text": TEXTS[0], "confidence": 0.9}, {"start": 70, "text": TEXTS[1], "confidence": 0.4}]


def test_a_model_is_asked_in_the_annotator(
    browser: Browser, tmp_path: Path, screenshots: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vision_server(lambda body: said(json.dumps({"substeps": SUBSTEPS}))) as server:
        monkeypatch.setenv("STUDIO_VISION_URL", server.url)
        monkeypatch.setenv("STUDIO_VISION_MODEL", "looker-7b")
        with running_studio(tmp_path / "data") as address:
            ada = Person(browser, address, screenshots)
            ada.sign_up(address)
            dataset = ada.post("/datasets", {"name": "Barcodes"})["id"]
            answer = ada.context.request.patch(
                f"{ada.base}/api/datasets/{dataset}", data={"vocabulary": TEXTS}, headers={"Origin": ada.base}
            )
            assert answer.ok
            write_barcode_episode(tmp_path / "one.hdf5", steps=150, size=(64, 136))
            episode = ada.upload(dataset, tmp_path / "one.hdf5")
            ada.go(f"/episodes/{episode}")
            expect(ada.at("segment-row")).to_have_count(1)

            ada.at("annotator-menu").click()
            ada.look("propose-menu")
            ada.at("propose-ask-model").click()
            expect(ada.page.get_by_role("dialog")).to_contain_text(server.url.split("/")[2])
            assert not server.requests, "frames left before anybody agreed"
            ada.at("confirm-yes").click()
            expect(ada.at("proposals")).to_have_attribute("data-count", "2")
            (request,) = server.requests
            assert images(request[2])
            ada.look("proposed")
            ada.at("publish").click()
            expect(ada.at("publish-problems")).to_be_visible()  # nobody has looked at them
            ada.page.evaluate("document.activeElement.blur()")
            ada.page.keyboard.press("Escape")
            expect(ada.at("publish-problems")).to_be_hidden()  # else the next keys are its own

            ada.page.keyboard.press("Home")
            ada.page.keyboard.press("a")
            ada.page.keyboard.press("End")
            ada.page.keyboard.press("a")
            expect(ada.at("save-status")).to_have_attribute("data-state", "saved")
            stored = ada.get(f"/episodes/{episode}/draft")["segments"]
            assert [(one["start"], one["text"], one["provenance"], one["source"]) for one in stored] == [
                (0, TEXTS[0], "machine_accepted", "vision"),
                (70, TEXTS[1], "machine_accepted", "vision"),
            ]
            ada.at("publish").click()
            expect(ada.at("revisions-open")).to_contain_text("Revision 1")
            ada.go("/settings/studio")
            expect(ada.at("vision-model")).to_contain_text("looker-7b")
            ada.look("settings-studio")
            sources = ada.get(f"/datasets/{dataset}/proposal-statistics")["sources"]
            assert [(one["source"], one["accepted"]) for one in sources if one["accepted"]] == [("vision", 2)]
            assert ada.complaints == []

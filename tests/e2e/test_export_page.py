"""Exports in a real browser: what a choice comes to, the job, the archive that is downloaded, and its deletion."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe
from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import JOB_MS, Person, running_studio

pytestmark = pytest.mark.clockless

EPISODES = 3


@pytest.fixture(scope="module")
def ada(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("export")
    with running_studio(folder / "studio") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        yield person
        assert person.complaints == []


def test_an_export_is_made_downloaded_and_deleted(ada: Person, tmp_path: Path) -> None:
    dataset = ada.post("/datasets", {"name": "Cubes"})["id"]
    for number in range(EPISODES):
        file = tmp_path / f"{number}.hdf5"
        write_barcode_episode(file, steps=40, size=(32, 68), seed=number)
        episode = ada.upload(dataset, file)
        if number == 0:
            draft = ada.get(f"/episodes/{episode}/draft")
            segments = [{"start": 0, "end": 40, "text": "Lift the cube"}]
            body = {"edit": draft["edit"], "segments": segments}
            answer = ada.context.request.put(
                f"{ada.base}/api/episodes/{episode}/draft", data=body, headers={"Origin": ada.base}
            )
            ada.post(f"/episodes/{episode}/publish", {"edit": answer.json()["edit"]})
    ada.go(f"/datasets/{dataset}")
    ada.at("export-open").click()
    count = ada.at("export-count")
    expect(count).to_have_attribute("data-episodes", str(EPISODES))
    ada.choose("export-labels", "With published labels")
    expect(count).to_have_attribute("data-episodes", "1")
    expect(ada.at("export-start")).to_be_disabled()
    ada.at("export-format-episodes").check()
    assert axe(ada.page) == []
    ada.look("export-form")
    ada.at("export-start").click()
    row = ada.at("export-row")
    expect(row).to_have_attribute("data-state", "made", timeout=JOB_MS)
    expect(row).to_contain_text("labelled")
    row.scroll_into_view_if_needed()
    ada.look("export-made")
    ada.page.set_viewport_size({"width": 390, "height": 844})
    row.scroll_into_view_if_needed()
    ada.look("export-phone")
    ada.page.set_viewport_size({"width": 1366, "height": 768})
    with ada.page.expect_download() as started:
        row.get_by_test_id("export-download").click()
    assert started.value.suggested_filename == "Cubes-episodes.tar"
    content = Path(started.value.path()).read_bytes()
    (made,) = ada.get(f"/datasets/{dataset}/exports")
    assert hashlib.sha256(content).hexdigest() == made["sha256"]
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert "Cubes-episodes/episode_0.hdf5" in archive.getnames()
    row.get_by_test_id("export-delete").click()
    ada.at("confirm-yes").click()
    expect(ada.at("export-row")).to_have_count(0)
    ada.at("export-close").click()
    expect(ada.at("export-form")).to_have_count(0)

"""Importing in a real browser: a folder is looked at, asked about and imported, and its labels are accepted in bulk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe
from tests.support.browser_studio import JOB_MS, Person, running_studio
from tests.support.foreign_files import STEPS, drop, foreign_file, opencv_jpeg, put, rows_of

pytestmark = pytest.mark.clockless

GOOD = 6
READY = "[data-testid=import-wizard][data-ready]"


@pytest.fixture(scope="module")
def ada(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Person]:
    """Beside a folder of labelled episodes that say neither instruction nor rate, and one that is none."""
    folder = tmp_path_factory.mktemp("import")
    source = folder / "roots" / "fold_the_shirt"
    rng = np.random.default_rng(5)
    for number in range(GOOD):
        foreign_file(
            source / f"episode_{number}.hdf5",
            drop("language_raw"),
            rows_of(opencv_jpeg),
            put("observations/images/cam_wrist", np.full((STEPS, 48, 64, 3), 40 * number, np.uint8)),
            put("observations/qpos", rng.normal(size=(STEPS, 7)).astype(np.float32)),
            put("timestamp", np.arange(STEPS) / 50),
            put("substep_reasonings", ["Reach for the sleeve"] * 6 + ["Fold it"] * 6),
        )
    (source / "episode_9.hdf5").write_bytes(b"no HDF5 at all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_IMPORT_ROOTS", str(folder / "roots"))
        with running_studio(folder / "studio") as address:
            person = Person(browser, address, screenshots)
            person.sign_up(address)
            yield person
            assert person.complaints == []


def test_a_folder_is_looked_at_asked_about_imported_and_accepted(ada: Person) -> None:
    dataset = ada.post("/datasets", {"name": "Shirts"})["id"]
    ada.go(f"/datasets/{dataset}?tab=import")
    ada.choose("import-folder", "fold_the_shirt")
    expect(ada.at("import-found")).to_have_attribute("data-format", "act", timeout=120_000)
    expect(ada.at("import-refusals")).to_contain_text("it has no instruction")
    expect(ada.at("import-guesses")).to_contain_text("colours of cam_high")
    expect(ada.at("import-fps-found")).to_contain_text("50 Hz, guessed from its time stamps")
    ada.at("import-instruction-from").get_by_text("The folder's name").click()
    expect(ada.at("import-instruction-found")).to_contain_text('"fold the shirt"', timeout=60_000)
    high = ada.page.locator("[data-testid=import-camera][data-camera=cam_high]")
    # in the right reading the left half is red
    assert "data:image/jpeg" in (
        high.get_by_test_id("import-colours-bgr").locator("img").first.get_attribute("src") or ""
    )
    ada.at("import-colours-together").uncheck()
    high.get_by_test_id("import-colours-bgr").click()
    expect(high.get_by_test_id("import-colours-bgr")).to_have_attribute("aria-checked", "true")
    wrist = ada.page.locator("[data-testid=import-camera][data-camera=cam_wrist]")
    wrist.get_by_test_id("import-camera-name").fill("wrist")
    ada.fill("import-fps", 50)
    ada.page.wait_for_selector(READY)
    expect(ada.at("import-guesses")).to_have_count(0)
    expect(ada.at("import-refusals")).to_have_count(0)
    assert axe(ada.page) == []
    ada.look("import-wizard")
    ada.at("import-profile-save-as").click()
    ada.at("import-profile-name").fill("Shirts of the lab")
    ada.at("import-profile-create").click()
    expect(ada.at("import-profile-download")).to_be_visible()
    ada.fits_a_phone()
    ada.at("import-found").scroll_into_view_if_needed()
    ada.look("import-phone")
    ada.page.set_viewport_size({"width": 1366, "height": 768})
    expect(ada.at("import-start")).to_contain_text(f"Import {GOOD + 1} episodes")
    ada.at("import-start").focus()
    ada.page.keyboard.press("Enter")
    expect(ada.at("import-job")).to_have_attribute("data-state", "done", timeout=JOB_MS)
    expect(ada.at("import-refused")).to_contain_text("episode_9.hdf5")
    ada.at("import-job").scroll_into_view_if_needed()
    ada.look("import-report")
    stored = ada.get(f"/datasets/{dataset}")
    assert (stored["episodes"], stored["cameras"], stored["labelled"]) == (GOOD, ["cam_high", "wrist"], 0)
    ada.at("imported-labels-open").click()
    episodes = ada.at("imported-labels-episode")
    expect(episodes).to_have_count(GOOD)
    for number in range(5):
        episodes.nth(number).click()
    expect(ada.page.get_by_text("Fold it (6 to 11)").first).to_be_visible()
    expect(ada.at("imported-labels-seen")).to_contain_text("You have looked at 5")
    assert axe(ada.page) == []
    ada.look("import-accept")
    ada.at("imported-labels-accept").click()
    expect(ada.at("imported-labels-dialog")).to_have_count(0)
    expect(ada.at("imported-labels")).to_have_count(0)
    assert ada.get(f"/datasets/{dataset}")["labelled"] == GOOD

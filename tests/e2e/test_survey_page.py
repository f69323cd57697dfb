"""A dataset at one look: measured on a click, what stands out leads to its episode and step, a bar to its episodes."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from playwright.sync_api import Browser, expect

from dexvla.robots.record import record
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RecordSpec
from tests.support.axe import axe
from tests.support.browser_studio import Person, running_studio

pytestmark = pytest.mark.clockless

EPISODES = 6
SIZES = tuple(CameraSpec(name=name, height=96, width=128) for name in ALOHA_CAMERAS[:2])


@pytest.fixture(scope="module")
def person(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Person]:
    with running_studio(tmp_path_factory.mktemp("survey") / "data") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        yield person


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Demonstrations, of which the last shows one frame for half a second while the robot moves."""
    folder = tmp_path_factory.mktemp("recorded")
    record(RecordSpec(episodes=EPISODES, seed=0, cameras=SIZES, keep_failures=True), folder)
    files = sorted(folder.glob("*.hdf5"))
    with h5py.File(files[-1], "r+") as file:
        frames = file["observations/images/cam_high"]
        frames[100:126] = frames[100][None]
    return files


def test_what_stands_out_leads_to_its_episode(person: Person, files: list[Path]) -> None:
    dataset = person.post("/datasets", {"name": "Cubes"})["id"]
    ids = [person.upload(dataset, file) for file in files]
    person.go(f"/datasets/{dataset}?tab=survey")
    expect(person.at("survey-measure")).to_contain_text(f"Measure {EPISODES} episodes")
    person.at("survey-measure").click()
    expect(person.at("survey-tiles")).to_contain_text(f"{EPISODES}", timeout=120_000)
    expect(person.at("survey-measure")).to_have_count(0)
    frozen = person.at("survey-odd").filter(has_text="same frame for 25 steps")
    expect(frozen).to_contain_text("cam_high")
    expect(person.page.locator("[data-testid=survey-sheet] img")).to_have_count(EPISODES)
    expect(person.page.locator("[data-testid=survey-starts] circle")).to_have_count(EPISODES)
    assert axe(person.page) == []
    person.look("survey")
    person.fits_a_phone()
    person.look("survey-phone")
    person.page.set_viewport_size({"width": 1366, "height": 768})
    bar = person.page.locator("[data-testid=survey-lengths] button:not([disabled])").first
    bar.click()
    expect(person.at("survey-length-episodes").get_by_role("link").first).to_be_visible()
    frozen.get_by_role("link").click()
    expect(person.page).to_have_url(f"{person.base}/episodes/{ids[-1]}?step=100")
    assert person.complaints == []

"""The annotator by keys alone in a real browser: frames, labels, own keys, proposals, and what axe finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe
from tests.support.barcodes import READ_BARCODE, write_barcode_episode
from tests.support.browser_studio import Person, running_studio

pytestmark = pytest.mark.clockless

VERBS = ("Reach", "Grasp", "Lift", "Carry", "Turn", "Place", "Drop", "Push", "Pull", "Wipe", "Leave")
TEXTS = [f"{verb} the cube" for verb in VERBS]
LENGTHS = (1, 150, 20_000)


class Annotator(Person):
    """Ada in front of the episodes, by their lengths."""

    episodes: dict[int, str]

    def prepare(self, address: str, folder: Path) -> None:
        self.sign_up(address)
        dataset = self.post("/datasets", {"name": "Barcodes"})["id"]
        self.context.request.patch(
            f"{self.base}/api/datasets/{dataset}", data={"vocabulary": TEXTS}, headers={"Origin": self.base}
        )
        self.episodes = {}
        for steps in LENGTHS:
            file = folder / f"{steps}.hdf5"
            write_barcode_episode(file, steps=steps, size=(64, 136), seed=steps)
            self.episodes[steps] = self.upload(dataset, file)
            file.unlink()

    def open(self, steps: int) -> None:
        self.go(f"/episodes/{self.episodes[steps]}")
        expect(self.at("segment-row").first).to_be_visible()
        self.frames_show(0)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def frames_show(self, step: int) -> None:
        """Every camera's frame is that of the step, by its own account and by what is in it."""
        expect(self.at("camera-canvas")).to_have_count(3)
        for canvas in self.at("camera-canvas").all():
            expect(canvas).to_have_attribute("data-step", str(step))
        assert [canvas.evaluate(READ_BARCODE) for canvas in self.at("camera-canvas").all()] == [step] * 3

    def go_to(self, step: int) -> None:
        self.press("g")
        self.page.keyboard.insert_text(str(step))
        self.press("Enter")
        self.frames_show(step)

    def segments(self, steps: int) -> list[list[Any]]:
        """As the server has them, once everything is saved."""
        expect(self.at("save-status")).to_have_attribute("data-state", "saved")
        stored = self.get(f"/episodes/{self.episodes[steps]}/draft")["segments"]
        return [[one["start"], one["end"], one["text"]] for one in stored]


@pytest.fixture(scope="module")
def ada(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Annotator]:
    folder = tmp_path_factory.mktemp("annotator")
    with running_studio(folder / "data") as address:
        person = Annotator(browser, address, screenshots)
        person.prepare(address, folder)
        yield person
        assert person.complaints == []


@pytest.mark.timeout(900)
def test_an_episode_of_one_step(ada: Annotator) -> None:
    ada.open(1)
    ada.press("ArrowRight", "Control+ArrowRight", "End", "Space", "s", "2")
    ada.frames_show(0)
    assert ada.segments(1) == [[0, 1, TEXTS[1]]]


@pytest.mark.timeout(900)
def test_an_episode_of_twenty_thousand_steps(ada: Annotator) -> None:
    ada.open(20_000)
    for step in (19_999, 12_345, 0, 7, 16_383, 16_384):
        ada.go_to(step)
    ada.press("Shift+0")
    shown = ada.at("minimap")
    width = int(shown.get_attribute("data-to") or 0) - int(shown.get_attribute("data-from") or 0)
    assert abs(width - (ada.at("timeline").bounding_box() or {"width": 0})["width"]) < 60  # less its gutter
    assert int(shown.get_attribute("data-from") or 0) < 16_384 < int(shown.get_attribute("data-to") or 0)
    ada.press("2", "End", "3")
    assert ada.segments(20_000) == [[0, 16_384, TEXTS[1]], [16_384, 20_000, TEXTS[2]]]
    ada.press("Control+z", "Control+z")
    assert ada.segments(20_000) == [[0, 20_000, ""]]


@pytest.mark.timeout(900)
def test_labelling_finding_copying_and_reviewing_by_keys(ada: Annotator) -> None:
    ada.open(150)
    ada.go_to(60)
    ada.press("1")
    ada.press("/")
    expect(ada.at("find-text")).to_be_focused()
    ada.page.keyboard.type("wip")
    ada.press("Shift+Enter")
    assert ada.segments(150) == [[0, 60, TEXTS[0]], [60, 150, "Wipe the cube"]]
    ada.open(20_000)
    ada.press("c")
    expect(ada.at("proposals")).to_have_attribute("data-count", "2")
    first, last = ada.segments(20_000)
    boundary = first[1]
    assert abs(boundary - 8_000) <= 25  # as far into the episode as in the other one, or at a candidate nearby
    assert (first, last) == ([0, boundary, TEXTS[0]], [boundary, 20_000, "Wipe the cube"])
    ada.press("a")
    expect(ada.at("step")).to_have_text(f"{boundary:,}")
    ada.press("x")
    expect(ada.at("proposals")).to_have_count(0)
    assert ada.segments(20_000) == [[0, boundary, TEXTS[0]], [boundary, 20_000, ""]]
    ada.press("Control+z", "Control+z", "Control+z")
    assert ada.segments(20_000) == [[0, 20_000, ""]]


@pytest.mark.timeout(900)
def test_keys_of_ones_own_stay(ada: Annotator) -> None:
    ada.open(150)
    ada.press("?")
    ada.at("keys-change").check(force=True)
    ada.at("rebind-cut").click()
    with ada.page.expect_response(lambda answer: "preferences" in answer.url and answer.request.method == "PUT"):
        ada.press("k")
    expect(ada.at("help-dialog")).to_contain_text("K")
    ada.press("Escape")
    expect(ada.at("help-dialog")).to_have_count(0)
    ada.open(150)
    before = ada.at("segment-row").count()
    ada.go_to(100)
    ada.press("k")
    expect(ada.at("segment-row")).to_have_count(before + 1)
    ada.press("Control+z")
    expect(ada.at("segment-row")).to_have_count(before)
    ada.press("?")
    ada.at("keys-reset").click()
    ada.press("Escape")


@pytest.mark.timeout(900)
def test_layouts_and_one_camera_alone(ada: Annotator) -> None:
    ada.open(150)
    ada.press("v", "v")
    ada.go_to(77)
    ada.press("z")
    expect(ada.at("camera-canvas")).to_have_count(1)
    expect(ada.at("camera-canvas")).to_have_attribute("data-step", "77")
    ada.press("Shift+Z")
    assert "scale(2)" in (ada.at("camera-canvas").get_attribute("style") or "")
    ada.press("z", "z", "z", "v")
    ada.frames_show(77)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("width", "height"), [(1366, 768), (3840, 2160)])
def test_nothing_serious_for_axe_in_light_and_dark(ada: Annotator, width: int, height: int) -> None:
    ada.page.set_viewport_size({"width": width, "height": height})
    ada.page.emulate_media(reduced_motion="reduce")  # what fades in has the contrast of what is half there
    found: dict[str, list[str]] = {}
    for scheme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        ada.open(150)
        found[f"{scheme} page"] = axe(ada.page)
        if width > 3000:  # what opens over it is as large on any screen
            continue
        ada.press("?")
        expect(ada.at("help-dialog")).to_be_visible()
        found[f"{scheme} keys"] = axe(ada.page)
        ada.press("Escape")
        expect(ada.at("help-dialog")).to_have_count(0)
        ada.press("t")
        expect(ada.at("find-text")).to_be_visible()
        found[f"{scheme} find"] = axe(ada.page)
        ada.press("Escape")
        expect(ada.at("find-text")).to_have_count(0)
        ada.press("w")
        expect(ada.at("picture-settings-panel")).to_be_visible()
        found[f"{scheme} frames"] = axe(ada.page)
    ada.look(f"annotator-{width}")
    serious = [f"{place}: {each}" for place, findings in found.items() for each in findings]
    assert not serious, "\n".join(serious)

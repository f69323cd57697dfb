"""The labelling pages of a dataset in a real browser: work, bulk edits, finding, dashboard, guideline, files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe
from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import Person, running_studio

pytestmark = pytest.mark.clockless

TEXTS = ["Reach for the cube", "Grasp the cube", "Lift the cube"]
STEPS = 60
EPISODES = 5
PAGES = ("work", "assign", "coverage", "people", "guideline", "find", "batch", "exchange", "settings")


class Team(Person):
    """Ada, who runs a dataset."""

    dataset: str
    episodes: list[str]

    def prepare(self, address: str, folder: Path) -> None:
        self.sign_up(address)
        self.dataset = self.post("/datasets", {"name": "Cubes"})["id"]
        self.send("PATCH", f"/datasets/{self.dataset}", {"vocabulary": TEXTS})
        self.episodes = []
        for number in range(EPISODES):
            file = folder / f"{number}.hdf5"
            write_barcode_episode(file, steps=STEPS, size=(32, 68), seed=number)
            self.episodes.append(self.upload(self.dataset, file))
            file.unlink()

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        answer = self.context.request.fetch(
            f"{self.base}/api{path}", method=method, data=body, headers={"Origin": self.base}
        )
        assert answer.ok, f"{path}: {answer.status} {answer.text()}"
        return answer.json()

    def label(self, number: int, *segments: tuple[int, int, str], publish: bool = True, **more: Any) -> None:
        """Put labels in by the API, over whatever is there."""
        episode = f"/episodes/{self.episodes[number]}"
        edit = self.get(f"{episode}/draft")["edit"]
        parts = [{"start": start, "end": end, "text": text} for start, end, text in segments]
        saved = self.send("PUT", f"{episode}/draft", {"edit": edit, "segments": parts, **more})
        if publish:
            self.post(f"{episode}/publish", {"edit": saved["edit"]})

    def texts(self, number: int, tier: str = "substep") -> list[str]:
        found = self.get(f"/episodes/{self.episodes[number]}/draft?tier={tier}")
        return [one["text"] for one in found["segments"]]

    def open(self, page: str) -> None:
        self.go(f"/datasets/{self.dataset}/labels/{page}")
        expect(self.page.get_by_role("tab", selected=True).first).to_be_visible()

    def annotate(self, number: int, query: str = "") -> None:
        self.go(f"/episodes/{self.episodes[number]}{query}")
        self.annotator_shows(number)

    def annotator_shows(self, number: int) -> None:
        expect(self.at("annotator")).to_have_attribute("data-episode", self.episodes[number])
        expect(self.at("segment-row").first).to_be_visible()

    def saved(self) -> None:
        expect(self.at("save-status")).to_have_attribute("data-state", "saved")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="module")
def ada(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("labelling")
    with running_studio(folder / "data") as address:
        person = Team(browser, address, screenshots)
        person.prepare(address, folder)
        yield person
        assert person.complaints == []


@pytest.mark.timeout(900)
def test_work_is_taken_done_one_after_the_other_and_given_back(ada: Team) -> None:
    ada.open("work")
    expect(ada.at("empty-state")).to_be_visible()
    ada.fill("work-count", 3)
    ada.at("work-take").focus()
    ada.press("Enter")
    expect(ada.at("work-row")).to_have_count(3)
    expect(ada.at("work-state").first).to_have_attribute("data-state", "claimed")

    ada.at("work-start").focus()
    ada.press("Enter")
    ada.annotator_shows(0)
    expect(ada.at("trail")).to_have_attribute("data-count", "3")
    ada.press("Shift+Digit1", "Control+Enter")  # all of it is the first text; publish, and on to the next
    ada.annotator_shows(1)
    expect(ada.at("trail")).to_have_attribute("data-at", "1")
    ada.page.reload()
    ada.annotator_shows(1)
    ada.press("Shift+N")
    ada.annotator_shows(2)
    ada.press("Shift+P")
    ada.annotator_shows(1)
    ada.press("Shift+N")
    ada.annotator_shows(2)
    ada.press("Shift+N")  # behind the last one is the list of what is left
    expect(ada.at("work-row")).to_have_count(2)
    assert ada.texts(0) == [TEXTS[0]]

    ada.at("work-release").first.focus()
    ada.press("Enter")
    expect(ada.at("work-row")).to_have_count(1)
    assert [one["number"] for one in ada.get(f"/work?dataset_id={ada.dataset}")["items"]] == [2]


@pytest.mark.timeout(900)
def test_episodes_are_given_to_somebody_and_taken_back(ada: Team) -> None:
    ada.label(0, (0, 60, TEXTS[0]))
    ada.open("assign")
    expect(ada.at("assign-row")).to_have_count(EPISODES)
    ada.at("assign-all").check()
    expect(ada.at("assign-count")).to_have_attribute("data-count", str(EPISODES))
    ada.at("assign-check").nth(4).uncheck()
    ada.choose("assign-person", "ada")
    ada.at("assign-give").click()
    expect(ada.at("skipped")).to_contain_text("it is submitted")
    assert [one["number"] for one in ada.get(f"/work?dataset_id={ada.dataset}")["items"]] == [1, 2, 3]
    ada.look("assign")

    ada.choose("assign-who", "ada")
    expect(ada.at("assign-row")).to_have_count(4)  # with the one that she submitted
    ada.at("assign-check").nth(1).check()
    ada.at("assign-take-back").click()
    expect(ada.at("assign-row")).to_have_count(3)
    assert [one["number"] for one in ada.get(f"/work?dataset_id={ada.dataset}")["items"]] == [2, 3]


@pytest.mark.timeout(900)
def test_a_text_is_renamed_everywhere_and_back(ada: Team) -> None:
    ada.label(0, (0, 20, TEXTS[0]), (20, 60, "Grasp teh cube"))
    ada.label(1, (0, 60, "Grasp teh cube"), publish=False)
    ada.open("batch")
    ada.choose("rename-old", "Grasp teh cube")
    ada.at("rename-new").fill(TEXTS[1])
    ada.press("Escape")
    ada.at("rename-preview").click()
    expect(ada.at("rename-affected")).to_have_attribute("data-count", "2")
    expect(ada.at("rename-merges")).to_be_visible()
    assert ada.texts(1) == ["Grasp teh cube"]  # so far it was only looked at
    ada.at("rename-apply").click()
    expect(ada.at("rename-done")).to_be_visible()
    assert (ada.texts(0), ada.texts(1)) == ([TEXTS[0], TEXTS[1]], [TEXTS[1]])
    ada.at("change-undo").first.click()
    ada.at("confirm-yes").click()
    expect(ada.at("change-row").first).to_have_attribute("data-undone", "true")
    assert (ada.texts(0), ada.texts(1)) == ([TEXTS[0], "Grasp teh cube"], ["Grasp teh cube"])


@pytest.mark.timeout(900)
def test_a_template_goes_to_those_without_labels(ada: Team) -> None:
    ada.open("batch")
    ada.at("template-texts").fill("\n".join(TEXTS))
    ada.at("template-preview").click()
    expect(ada.at("template-fit")).to_have_attribute("data-changed", "3")
    expect(ada.at("template-episode")).to_have_count(3)
    expect(ada.at("template-fit").get_by_test_id("skipped")).to_have_attribute("data-count", "2")
    odd = [one for one in ada.at("template-episode").all() if "motion shows" in one.inner_text()]
    assert ada.at("template-fit").get_attribute("data-mismatches") == str(len(odd))
    ada.at("template-apply").click()
    expect(ada.at("template-done")).to_be_visible()
    assert [ada.texts(number) for number in (2, 3, 4)] == [TEXTS] * 3
    ada.at("change-undo").first.click()
    ada.at("confirm-yes").click()
    expect(ada.at("change-row").first).to_have_attribute("data-undone", "true")
    assert ada.texts(3) == [""]


@pytest.mark.timeout(900)
def test_hits_are_gone_through_in_the_annotator(ada: Team) -> None:
    ada.label(0, (0, 20, TEXTS[0]), (20, 40, TEXTS[1]), (40, 60, TEXTS[0]))
    ada.label(1, (0, 30, TEXTS[1]), (30, 50, TEXTS[0]), (50, 60, TEXTS[2]))
    ada.open("find")
    ada.at("find-text-filter").fill("reach for")
    expect(ada.at("find-hits")).to_have_attribute("data-count", "3")
    ada.press("Escape")
    ada.at("find-go").focus()
    ada.press("Enter")
    for number, step in ((0, 0), (0, 40), (1, 30)):
        ada.annotator_shows(number)
        expect(ada.at("now")).to_have_attribute("data-step", str(step))
        ada.press("Shift+N")
    ada.press("Shift+P")
    ada.annotator_shows(0)
    expect(ada.at("now")).to_have_attribute("data-step", "40")
    ada.at("trail-from").click()
    expect(ada.at("find-hits")).to_have_attribute("data-count", "3")
    ada.at("find-clear").click()
    ada.fill("find-to", "0.3")  # 15 steps of 50 a second
    expect(ada.at("find-row")).to_have_count(1)
    expect(ada.at("find-row")).to_contain_text(TEXTS[2])
    ada.at("find-clear").click()
    ada.choose("find-warning", "Short")
    expect(ada.at("find-row").first).to_contain_text("Short")


@pytest.mark.timeout(900)
def test_the_dashboard_counts_what_is_there(ada: Team) -> None:
    ada.label(0, (0, 20, TEXTS[0]), (20, 60, TEXTS[1]))
    ada.label(1, (0, 60, TEXTS[2]))
    ada.open("coverage")
    labelled = 2 / EPISODES
    expect(ada.at("share-labelled")).to_have_attribute("data-share", f"{labelled:.4f}")
    expect(ada.at("share-published")).to_have_attribute("data-share", f"{labelled:.4f}")
    row = ada.page.locator(f"[data-testid=text-count][data-id='{TEXTS[1]}']")
    expect(row).to_contain_text("0.8 s")
    row.get_by_role("link").click()
    expect(ada.at("find-row")).to_have_count(1)
    ada.open("people")
    expect(ada.at("person-row")).to_contain_text("ada")
    expect(ada.at("agreement")).to_have_attribute("data-pairs", "0")


@pytest.mark.timeout(900)
def test_the_guideline_stands_beside_the_annotator(ada: Team) -> None:
    ada.open("guideline")
    ada.at("guideline-edit").click()
    ada.at("guideline-description").nth(1).fill("Begins when the fingers\nclose.")
    ada.at("guideline-save").click()
    expect(ada.at("guideline-editor")).to_have_count(0)
    entry = ada.page.locator(f"[data-testid=guideline-entry][data-text='{TEXTS[1]}']")
    expect(entry).to_contain_text("Begins when the fingers")

    ada.annotate(0, "?step=25")
    expect(ada.at("now")).to_have_attribute("data-step", "25")
    ada.press("Shift+G")
    beside = ada.page.locator(f"[data-testid=guideline-panel-entry][data-text='{TEXTS[1]}']")
    expect(beside).to_contain_text("Begins when the fingers")
    expect(beside).to_have_attribute("data-current", "true")
    beside.get_by_test_id("example-add").click()
    expect(beside.get_by_test_id("example")).to_have_count(1)
    frame = beside.get_by_role("img").first
    expect(frame).to_have_js_property("complete", True)
    assert frame.evaluate("(image) => image.naturalWidth") == 68
    ada.press("Shift+G")
    expect(ada.at("vocabulary-panel")).to_be_visible()
    ada.open("guideline")
    expect(entry.get_by_test_id("example")).to_contain_text("step 25")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["JSON", "CSV", "ELAN text"])
def test_labels_leave_as_a_file_and_come_back(ada: Team, tmp_path: Path, name: str) -> None:
    segments = [(0, 20, TEXTS[0]), (20, 60, 'Say "抓住", please')]
    ada.label(0, *segments)
    ada.label(1, (0, 60, TEXTS[2]))
    ada.open("exchange")
    ada.page.get_by_text(name, exact=True).first.click()
    with ada.page.expect_download() as download:
        ada.at("export-download").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)

    ada.label(0, (0, 60, "Something else"), publish=False)
    with ada.page.expect_file_chooser() as chooser:
        ada.at("labels-import-choose").click()
    chooser.value.set_files(file)
    expect(ada.at("labels-import-choose")).to_contain_text(file.name)
    ada.at("labels-import-preview").click()
    expect(ada.at("labels-import-fit")).to_have_attribute("data-changed", "0")
    expect(ada.at("labels-import-fit").get_by_test_id("skipped")).to_have_attribute("data-count", "2")
    ada.at("labels-import-overwrite").check(force=True)
    ada.at("labels-import-preview").click()
    expect(ada.at("labels-import-fit")).to_have_attribute("data-changed", "2")
    assert ada.texts(0) == ["Something else"]
    ada.at("labels-import-apply").click()
    expect(ada.at("labels-import-done")).to_be_visible()
    stored = ada.get(f"/episodes/{ada.episodes[0]}/draft")["segments"]
    assert [(one["start"], one["end"], one["text"]) for one in stored] == segments


@pytest.mark.timeout(900)
def test_an_older_revision_is_published_again(ada: Team) -> None:
    ada.label(3, (0, 60, TEXTS[0]))
    ada.label(3, (0, 60, TEXTS[1]))
    ada.annotate(3)
    ada.at("revisions-open").click()
    ada.at("revision-roll-back").first.click()
    ada.at("confirm-yes").click()
    expect(ada.at("revisions-open")).to_contain_text("Revision 3")
    assert ada.texts(3) == [TEXTS[0]]
    expect(ada.at("segment-row")).to_contain_text(TEXTS[0])


@pytest.mark.timeout(900)
def test_the_episode_as_a_whole_and_its_plan_go_into_a_version(ada: Team) -> None:
    ada.label(4, (0, 60, TEXTS[0]), publish=False)
    ada.open("settings")
    ada.at("settings-plan").check(force=True)
    ada.at("settings-save").click()
    expect(ada.at("settings-save")).to_be_disabled()

    ada.annotate(4, "?step=33")
    ada.press("i")
    ada.at("details-paraphrases").fill("Pick it up\n\n  Raise   the cube ")
    ada.at("details-outcome").get_by_text("Failure").click()
    ada.at("details-failure-here").click()
    ada.at("details-quality").get_by_text("Doubtful").click()
    ada.at("details-tags").fill("regrasp")
    ada.press("Enter")
    ada.page.get_by_role("dialog").get_by_role("button", name="Close").press("Enter")
    expect(ada.at("details-tags")).to_have_count(0)
    ada.saved()
    stored = ada.get(f"/episodes/{ada.episodes[4]}/draft")
    assert stored["paraphrases"] == ["Pick it up", "Raise the cube"]
    assert (stored["success"], stored["failure_step"]) == (False, 33)
    assert (stored["quality"], stored["tags"]) == ("doubtful", ["regrasp"])
    ada.at("publish").click()
    expect(ada.at("publish")).to_have_attribute("data-current", "true")

    ada.at("annotator-tier").get_by_text("Plan").click()
    expect(ada.at("segment-row")).to_contain_text("no text yet")
    ada.press("Enter")
    ada.at("segment-text").fill("Bring the cube")
    ada.press("Enter")
    ada.saved()
    assert (ada.texts(4, "plan"), ada.texts(4)) == (["Bring the cube"], [TEXTS[0]])
    ada.at("publish").click()
    expect(ada.at("publish")).to_have_attribute("data-current", "true")
    version = ada.post(f"/datasets/{ada.dataset}/versions", {"episode_ids": [ada.episodes[4]]})
    (entry,) = ada.get(f"/versions/{version['id']}/manifest")["episodes"]
    assert [one["text"] for one in entry["plan"]] == ["Bring the cube"]
    assert (entry["paraphrases"], entry["success"]) == (["Pick it up", "Raise the cube"], False)


@pytest.mark.timeout(900)
def test_nothing_serious_for_axe_on_the_labelling_pages(ada: Team) -> None:
    ada.page.emulate_media(reduced_motion="reduce")
    found: list[str] = []
    for scheme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for page in PAGES:
            ada.open(page)
            expect(ada.page.locator("main [aria-busy=true]")).to_have_count(0)
            found += [f"{scheme} {page}: {each}" for each in axe(ada.page)]
        ada.annotate(0)
        ada.press("Shift+G")
        expect(ada.at("guideline-panel-entry").first).to_be_visible()
        found += [f"{scheme} guideline beside: {each}" for each in axe(ada.page)]
        ada.press("i")
        expect(ada.at("details-paraphrases")).to_be_visible()
        found += [f"{scheme} details: {each}" for each in axe(ada.page)]
    assert not found, "\n".join(found)

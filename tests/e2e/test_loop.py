"""The whole loop as a newcomer walks it, in a real browser: record, label, publish, train twice, evaluate, download."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.archives import unpack
from tests.support.browser_studio import JOB_MS, PASSWORD, Person, running_studio

pytestmark = pytest.mark.clockless

CLICK_AND_COUNT_DIALOGS = """button => {
  button.click();
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
    done(document.querySelectorAll("[role=dialog]").length))));
}"""


@pytest.mark.timeout(1500)
def test_the_whole_loop(browser: Browser, tmp_path: Path, screenshots: Path | None) -> None:
    with running_studio(tmp_path / "data") as address:
        person = Person(browser, address, screenshots)
        set_up(person, address)
        dataset_id = record(person)
        label_and_publish(person, dataset_id)
        make_version(person, dataset_id)
        make_base_model(person)
        second = train(person, stage=2, name="cube-stage2", steps=6)
        third = train(person, stage=3, name="cube-stage3", steps=4)
        assert person.get(f"/runs/{third}")["parent_name"].startswith("cube-stage2")
        assert person.get(f"/runs/{second}")["job"]["state"] == "done"
        checkpoint = next(one for one in person.get("/checkpoints") if one["run_id"] == third and one["step"] == 4)
        evaluate_closed_loop(person, checkpoint)
        evaluate_open_loop(person, checkpoint)
        download(person, checkpoint, tmp_path)
        look_around(person)
        assert person.complaints == []


def set_up(person: Person, address: str) -> None:
    person.page.goto(address)
    person.at("account-name").fill("ada")
    person.at("account-password").fill(PASSWORD)
    person.look("setup")
    person.at("account-submit").click()
    expect(person.at("first-steps")).to_be_visible()
    expect(person.at("connection")).to_have_attribute("data-state", "live")
    person.look("home")


def record(person: Person) -> str:
    """Two demonstrations, watched; returns the dataset's id."""
    person.at("first-steps").get_by_role("button", name="Create a demo dataset").click()
    person.fill("demo-episodes", 2)
    person.look("demo")
    person.at("demo-start").click()
    expect(person.at("demo-progress")).to_be_visible()
    person.page.reload()  # nothing is lost by it
    (dataset,) = person.get("/datasets")
    person.go(f"/datasets/{dataset['id']}")
    expect(person.at("episode-link")).to_have_count(2, timeout=JOB_MS)
    expect(person.at("job-state")).to_have_count(0, timeout=JOB_MS)
    person.look("dataset")
    found: str = dataset["id"]
    return found


def label_and_publish(person: Person, dataset_id: str) -> None:
    """The first episode partly anew by keys, the second as the script proposed it; for what is the script's the person
    has to say that they looked."""
    first, second = person.get(f"/datasets/{dataset_id}/episodes")["items"]
    person.at("episode-link").first.click()
    expect(person.at("segment-row").first).to_be_visible()
    expect(person.at("save-status")).to_have_attribute("data-state", "saved")
    before = person.at("segment-row").count()
    keys = person.page.keyboard
    for _ in range(3):
        keys.press("Control+ArrowRight")
    expect(person.at("step")).to_contain_text("150")
    keys.press("s")
    expect(person.at("segment-row")).to_have_count(before + 1)
    keys.press("Control+z")
    expect(person.at("segment-row")).to_have_count(before)
    keys.press("Control+Shift+z")
    expect(person.at("segment-row")).to_have_count(before + 1)
    keys.press("Enter")
    text = person.at("segment-text")
    text.fill("Carry the cube on")
    text.press("Enter")
    expect(person.at("save-status")).to_have_attribute("data-state", "saved")
    person.look("annotate")
    person.page.reload()
    expect(person.at("segment-row")).to_have_count(before + 1)
    stored = person.get(f"/episodes/{first['id']}/draft")
    assert "Carry the cube on" in [segment["text"] for segment in stored["segments"]]
    assert stored["segments"][-1]["end"] == first["steps"]
    person.at("publish").click()
    # a dialog that fades away would take the N that follows
    assert person.at("confirm-yes").evaluate(CLICK_AND_COUNT_DIALOGS) == 0
    expect(person.at("revisions-open")).to_contain_text("Revision 1")
    keys.press("n")
    person.page.wait_for_url(f"**/episodes/{second['id']}")
    expect(person.at("segment-row").first).to_be_visible()
    person.at("publish").click()
    person.at("confirm-yes").click()
    expect(person.at("revisions-open")).to_contain_text("Revision 1")
    person.was_refused(422, "/publish")  # until they said that they looked


def make_version(person: Person, dataset_id: str) -> None:
    person.go(f"/datasets/{dataset_id}")
    person.at("version-publish").click()
    person.look("version")
    person.at("version-submit").click()
    expect(person.at("version-made")).to_be_visible()
    (version,) = person.get("/versions")
    assert version["labelled_steps"] == version["steps"]
    person.at("version-close").click()
    person.go("/datasets")
    expect(person.at("dataset-card")).to_have_count(1)
    person.look("datasets")


def make_base_model(person: Person) -> None:
    person.at("nav-models").click()
    person.at("model-make-tiny").first.click()
    person.at("tiny-submit").click()
    expect(person.page.get_by_role("cell", name="Tiny Qwen2-VL").first).to_be_visible(timeout=JOB_MS)
    person.page.keyboard.press("Escape")
    person.look("models")


def train(person: Person, *, stage: int, name: str, steps: int) -> str:
    """Start a run in the form and watch it to its end; returns its id."""
    person.at("nav-training").click()
    person.at("new-run").first.click()
    person.at(f"stage-{stage}").click()
    person.at("preset-tiny").click()
    if stage == 3:
        person.choose("checkpoint", "cube-stage2, step 6")
    person.fill("run-name", name)
    person.fill("field-steps", steps)
    person.fill("field-batch_size", 2)
    person.fill("field-save_every", steps // 2)
    expect(person.at("check-panel")).to_have_attribute("data-ok", "true")
    person.look(f"new-run-{stage}")
    person.at("run-start-button").click()
    person.page.wait_for_url("**/training/*")
    expect(person.at("run-state")).to_be_visible()
    person.page.reload()  # the page is rebuilt from what is stored
    person.job_is_done(person.at("run-state"))
    expect(person.at("run-checkpoint")).to_have_count(2, timeout=30_000)
    person.look(f"run-{stage}")
    run_id = person.page.url.rpartition("/")[2]
    curves = person.get(f"/runs/{run_id}/metrics")
    assert curves["steps"][-1] == steps
    assert len(curves["values"]["loss"]) == len(curves["steps"])
    return run_id


def evaluate_closed_loop(person: Person, checkpoint: dict[str, Any]) -> None:
    """One short roll-out, whose video plays."""
    person.go(f"/evaluations/new?checkpoint={checkpoint['id']}")
    person.fill("evaluation-episodes", 1)
    person.at("evaluation-more").click()
    person.fill("evaluation-max-steps", 24)
    person.look("new-evaluation")
    person.at("evaluation-start").click()
    person.page.wait_for_url(lambda url: "/evaluations/" in url and "new" not in url)
    report = person.evaluation_is_done()
    assert report["interval"][0] <= report["success_rate"] <= report["interval"][1]
    expect(person.at("closed-loop-headline")).to_be_visible()
    video = person.at("episode-video")
    expect(video).to_be_visible()
    seconds = video.evaluate(
        """video => new Promise((done, fail) => {
             const tell = () => done(video.duration);
             if (video.readyState > 0) tell();
             video.addEventListener("loadedmetadata", tell);
             video.addEventListener("error", () => fail(new Error("the video does not play")));
           })"""
    )
    assert seconds > 0.3
    person.look("evaluation")


def evaluate_open_loop(person: Person, checkpoint: dict[str, Any]) -> None:
    """The recorded episodes replayed; no episode was held out, so all are asked for."""
    person.go(f"/evaluations/new?checkpoint={checkpoint['id']}")
    person.page.get_by_role("radio", name="Open loop").click()
    person.at("evaluation-held-out").uncheck()
    person.fill("evaluation-stride", 100)
    person.at("evaluation-start").click()
    person.page.wait_for_url(lambda url: "/evaluations/" in url and "new" not in url)
    person.evaluation_is_done()
    expect(person.at("open-loop-headline")).to_be_visible()
    expect(person.at("action-plot").locator("canvas").first).to_be_visible()
    person.look("open-loop")


def download(person: Person, checkpoint: dict[str, Any], folder: Path) -> None:
    """The archive is what its checksum says, and what comes out of it loads as a policy."""
    person.go(f"/checkpoints/{checkpoint['id']}")
    expect(person.at("checkpoint-files")).to_be_visible()
    person.look("checkpoint")
    with person.page.expect_download() as started:
        person.at("download-archive").click()
    archive = folder / "checkpoint.tar"
    started.value.save_as(archive)
    detail = person.get(f"/checkpoints/{checkpoint['id']}")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == detail["archive_sha256"]
    unpack(archive, folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()

    from dexvla.act.policy import CheckpointPolicy

    policy = CheckpointPolicy.load(unpacked, device="cpu")
    assert policy.metadata.camera_names == ("cam_high", "cam_left_wrist", "cam_right_wrist")
    policy.close()


def look_around(person: Person) -> None:
    """Every page once, which says nothing to the console; and out."""
    pages = ["", "training", "checkpoints", "evaluations", "robots", "jobs", "settings", "models"]
    for name in pages:
        person.go(f"/{name}")
        person.page.wait_for_timeout(1500)
        person.look(name or "home-later")
    person.at("user-menu").click()
    person.at("sign-out").click()
    expect(person.at("sign-in-name")).to_be_visible()
    person.look("sign-in")

"""The whole loop as a newcomer walks it, in a real browser: record, label, publish, train twice, evaluate, download."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.studio import JOB_MS, PASSWORD, Person, running_studio


@pytest.mark.timeout(1500)
def test_the_whole_loop(browser: Browser, tmp_path: Path, screenshots: Path) -> None:
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
        person.look("home-later")
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
    person.at("first-steps").get_by_role("button", name="Make a demo dataset").click()
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
    """The first episode anew by keys, the second as it was proposed."""
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
    text = person.at("segment-text").first
    person.at("segment-open").nth(3).click()
    keys.press("Enter")
    text.fill("Carry the cube on")
    text.press("Enter")
    expect(person.at("save-status")).to_have_attribute("data-state", "saved")
    person.look("annotate")
    person.page.reload()
    expect(person.at("segment-row")).to_have_count(before + 1)
    stored = person.get(f"/episodes/{first['id']}/annotation")
    assert "Carry the cube on" in [segment["text"] for segment in stored["segments"]]
    assert stored["segments"][-1]["end"] == first["steps"]
    person.at("publish").click()
    expect(person.page.get_by_text("Revision 1")).to_be_visible()
    keys.press("n")
    person.page.wait_for_url(f"**/episodes/{second['id']}")
    expect(person.at("segment-row").first).to_be_visible()
    person.at("publish").click()
    expect(person.page.get_by_text("Revision 1")).to_be_visible()


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

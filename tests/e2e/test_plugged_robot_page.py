"""A robot of somebody else's package in the page: recorded, driven, trained for, evaluated, commanded by its policy."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser_studio import JOB_MS, Person, running_studio, train_tiny
from tests.support.paths import ROOT
from tests.support.plugged_in import plug_in

MANY_FRAMES = re.compile(r"[1-9]\d*")


@pytest.mark.timeout(900)
def test_it_is_at_home_beside_our_own(
    browser: Browser, tmp_path: Path, screenshots: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path / "site", monkeypatch)
    data = tmp_path / "data"
    with running_studio(data) as address, robot_host(data):
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        dataset_id = record(person)
        train_tiny(person, dataset_id)
        evaluate(person)
        drive_and_act(person)
        assert person.complaints == []


@contextmanager
def robot_host(data: Path) -> Iterator[None]:
    """As an operator starts it beside a studio, with what holds at this place."""
    options = data.parent / "place.yaml"
    options.write_text("bench: bench 3\n")
    command = [sys.executable, "-m", "worker.cli", "robot", "--robot", "bench_arm", "--name", "bench"]
    with subprocess.Popen(
        [*command, "--options", str(options)], cwd=ROOT, env={**os.environ, "STUDIO_DATA": str(data)}
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(60) == 0


def record(person: Person) -> str:
    """Demonstrations of its own expert, through the form; returns the dataset's id."""
    person.go("/")
    person.at("first-steps").get_by_role("button", name="Create a demo dataset").click()
    person.choose("demo-robot", "bench arm")
    expect(person.at("demo-task")).to_have_value("Reach the target")
    expect(person.at("demo-name")).to_have_value("Bench: reach")
    person.choose("demo-colour", "blue")
    person.fill("demo-distance", 0.2)
    person.choose("demo-size", "160 x 120")
    person.fill("demo-episodes", 2)
    person.look("plugged-demo")
    person.at("demo-start").click()
    expect(person.at("demo-progress")).to_have_attribute("data-state", "done", timeout=JOB_MS)
    (dataset,) = person.get("/datasets")
    episodes = person.get(f"/datasets/{dataset['id']}/episodes")["items"]
    assert [one["instruction"] for one in episodes] == ["Reach the blue target on the bench."] * 2
    found: dict[str, Any] = person.get(f"/episodes/{episodes[0]['id']}")
    assert ([camera["name"] for camera in found["cameras"]], found["robot"]) == (["cam_top"], "bench_arm")
    person.go(f"/episodes/{found['id']}")
    expect(person.at("segment-row").first).to_be_visible()
    person.look("plugged-episode")
    return str(dataset["id"])


def evaluate(person: Person) -> None:
    """The form knows the robot from the checkpoint, and its tasks from the robot."""
    (checkpoint,) = person.get("/checkpoints")
    person.go(f"/evaluations/new?checkpoint={checkpoint['id']}")
    expect(person.at("evaluation-task")).to_have_value("Reach the target")
    person.choose("evaluation-colour", "blue")
    person.fill("evaluation-episodes", 1)
    person.at("evaluation-more").click()
    person.fill("evaluation-max-steps", 8)
    person.look("plugged-evaluation-form")
    person.at("evaluation-start").click()
    person.page.wait_for_url(lambda url: "/evaluations/" in url and "new" not in url)
    settings = person.evaluation_is_done()["settings"]
    assert (settings["robot"], settings["task"]) == ("bench_arm", "reach")
    assert settings["options"] == {"colour": "blue", "distance": 0.15}
    person.look("plugged-evaluation")


def drive_and_act(person: Person) -> None:
    """Its live page: another scene by its own options, the keyboard, then the policy."""
    person.go("/live/bench")
    state = person.at("live-state")
    expect(state).to_have_attribute("data-state", "holding")
    expect(person.at("live-camera-cam_top")).to_have_attribute("data-frames", MANY_FRAMES)
    person.choose("live-colour", "blue")
    person.fill("live-seed", 5)
    person.at("live-new-scene").click()
    expect(person.at("live-scene-now")).to_have_attribute("data-seed", "5")
    expect(person.at("live-record-instruction")).to_have_value("Reach the blue target on the bench 3.")

    person.at("live-tab-drive").click()
    person.at("live-drive").check()
    expect(person.at("live-drive-state")).to_have_text("Hold Shift")
    person.page.evaluate("document.activeElement.blur()")
    person.page.keyboard.down("Shift")
    expect(person.at("live-drive-state")).to_have_attribute("data-deadman", "true")
    person.page.keyboard.down("w")
    expect(state).to_have_attribute("data-state", "drive")
    person.page.keyboard.up("w")
    person.page.keyboard.up("Shift")
    expect(state).to_have_attribute("data-state", "holding")
    person.look("plugged-live")

    person.go("/live/bench")
    expect(person.at("live-checkpoint")).to_have_value("cube, step 4")
    person.at("live-start").click()
    expect(state).to_have_attribute("data-state", "policy", timeout=120_000)
    expect(person.at("live-chunks")).to_have_text(MANY_FRAMES, timeout=60_000)
    person.look("plugged-policy")
    person.at("live-stop").click()
    expect(state).to_have_attribute("data-state", "stopped")

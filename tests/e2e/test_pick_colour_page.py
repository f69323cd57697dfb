"""The options of pick_colour in a browser: in the demo-data dialog, in the evaluation form and on the live page."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from dexvla.robots.aloha_sim.options import PickColourOptions
from dexvla.robots.aloha_sim.pick_colour import draw_scene
from tests.support.browser_studio import JOB_MS, Person, running_studio, train_tiny

pytestmark = pytest.mark.clockless

HELD_OUT = PickColourOptions(level="jitter", split="held_out")
OTHER_CUBE = HELD_OUT.model_copy(update={"swapped": True})
SHARE = re.compile(r"\d+ % to \d+ %")


@pytest.mark.timeout(1500)
def test_level_split_and_the_other_cube_reach_what_they_are_chosen_for(
    browser: Browser, tmp_path: Path, screenshots: Path | None
) -> None:
    with running_studio(tmp_path / "data") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        set_a_live_scene(person)
        train_tiny(person, record(person))
        swapped = evaluate_the_other_cube(person)
        compare(person, swapped, evaluate_again_without(person))
        assert person.complaints == []


def choose(person: Person, name: str, task: str) -> None:
    person.choose(f"{name}-task", task)
    person.choose(f"{name}-level", "Two cubes, within 3 cm")
    person.choose(f"{name}-split", "Those held out")


def record(person: Person) -> str:
    """One demonstration; returns the dataset's id."""
    person.go("/")
    person.at("first-steps").get_by_role("button", name="Create a demo dataset").click()
    choose(person, "demo", "Pick the named cube")
    person.choose("demo-size", "160 x 120")
    person.fill("demo-episodes", 1)
    person.fill("demo-seed", 3)
    person.look("pick-demo")
    person.at("demo-start").click()
    expect(person.at("demo-progress")).to_have_attribute("data-state", "done", timeout=JOB_MS)
    (dataset,) = person.get("/datasets")
    (episode,) = person.get(f"/datasets/{dataset['id']}/episodes")["items"]
    plain = PickColourOptions(level="spots", split="training")
    assert episode["instruction"] == draw_scene(3, HELD_OUT).instruction != draw_scene(3, plain).instruction
    found: str = dataset["id"]
    return found


def evaluate_the_other_cube(person: Person) -> str:
    """Through the form; returns the evaluation's id."""
    person.go("/evaluations/new")
    choose(person, "evaluation", "Pick the named cube")
    person.at("evaluation-swapped").check(force=True)
    person.fill("evaluation-episodes", 1)
    person.at("evaluation-more").click()
    person.fill("evaluation-max-steps", 20)
    person.look("pick-evaluation-form")
    return start(person, OTHER_CUBE)


def evaluate_again_without(person: Person) -> str:
    """The form of another one begins as that one was asked for."""
    person.at("evaluation-again").click()
    expect(person.at("evaluation-level")).to_have_value(re.compile("within 3 cm"))
    expect(person.at("evaluation-split")).to_have_value("Those held out")
    expect(person.at("evaluation-swapped")).to_be_checked()
    person.at("evaluation-swapped").uncheck(force=True)
    return start(person, HELD_OUT)


def start(person: Person, pick: PickColourOptions) -> str:
    """Start it and wait for its figures; `wrong` is among them with its interval."""
    person.at("evaluation-start").click()
    person.page.wait_for_url(lambda url: "/evaluations/" in url and "new" not in url)
    found = person.evaluation_is_done()
    assert (found["settings"]["task"], found["settings"]["options"]) == ("pick_colour", pick.model_dump(mode="json"))
    expect(person.at("wrong-interval")).to_have_text(SHARE)
    person.look("pick-evaluation")
    found_id: str = found["id"]
    return found_id


def compare(person: Person, one: str, two: str) -> None:
    person.go(f"/evaluations/compare?ids={one},{two}")
    expect(person.at("wrong-interval")).to_have_count(2)
    expect(person.at("wrong-interval").last).to_have_text(SHARE)
    person.look("pick-compared")


def set_a_live_scene(person: Person) -> None:
    """The same options in the words of the commands."""
    person.go("/robots")
    person.at("robot-live").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    person.choose("live-task", "Pick the named cube")
    person.choose("live-level", "jitter")
    person.choose("live-split", "held out")
    person.at("live-swapped").check(force=True)
    person.fill("live-seed", 8)
    person.at("live-new-scene").click()
    expect(person.at("live-scene-now")).to_have_attribute("data-seed", "8")
    expect(person.at("live-scene-now")).to_contain_text("jitter, held out, the other cube named")
    expect(person.at("live-record-instruction")).to_have_value(draw_scene(8, OTHER_CUBE).instruction)
    person.look("pick-live")

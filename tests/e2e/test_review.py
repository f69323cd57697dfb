"""Two people in two browsers: one hands labels in, the other comments, sends them back and approves them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.axe import axe
from tests.support.barcodes import write_barcode_episode
from tests.support.browser_studio import PASSWORD, Person, running_studio

pytestmark = pytest.mark.clockless

STEPS = 150
TEXTS = ["Reach for the cube", "Grasp the cube"]


@pytest.fixture(scope="module")
def people(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None
) -> Iterator[tuple[Person, Person]]:
    """Ada, who administers the studio, and Bob, an annotator."""
    with running_studio(tmp_path_factory.mktemp("review") / "data") as address:
        ada, bob = (Person(browser, address, screenshots) for _ in range(2))
        ada.sign_up(address)
        join(ada, bob)
        yield ada, bob


def test_labels_are_reviewed_sent_back_and_approved(people: tuple[Person, Person], tmp_path: Path) -> None:
    ada, bob = people
    dataset, episode = prepare(ada, tmp_path, review=True)
    submitted(bob, episode)
    send_back(ada, dataset)
    mend(bob)
    approve(ada, dataset)
    expect(bob.at("review")).to_have_attribute("data-state", "approved")
    history(bob)
    (revision,) = ada.get(f"/episodes/{episode}/revisions")
    assert [one["text"] for one in revision["segments"]] == TEXTS
    assert [one["start"] for one in revision["segments"]] == [0, 62]
    assert ada.complaints == bob.complaints == []


def test_what_was_done_without_a_connection_is_put_together_with_the_others(
    people: tuple[Person, Person], tmp_path: Path
) -> None:
    ada, bob = people
    _, episode = prepare(ada, tmp_path, review=False)
    label(bob, episode, at=60)
    bob.context.set_offline(True)
    press(bob, "g", "1", "2", "0", "Enter", "1")
    expect(bob.at("save-status")).to_have_attribute("data-state", "offline")
    take_over(ada, episode)
    press(ada, "g", "4", "0", "Enter", "2")
    expect(ada.at("save-status")).to_have_attribute("data-state", "saved")
    bob.context.set_offline(False)
    expect(bob.at("conflict")).to_be_visible()
    bob.at("conflict-compare").click()
    expect(bob.at("conflict-difference")).to_have_count(2)
    assert axe(bob.page) == []
    bob.look("conflict")
    sides = bob.at("conflict-difference").first.get_by_test_id("conflict-side")
    sides.get_by_text("ada").click()
    bob.at("conflict-keep").click()
    expect(bob.at("save-status")).to_have_attribute("data-state", "saved")
    expect(bob.at("leased")).to_have_count(0)
    expect(ada.at("leased")).to_contain_text("bob")
    stored = bob.get(f"/episodes/{episode}/draft")["segments"]
    assert [one["start"] for one in stored] == [0, 40, 60, 120], "ada's first boundary, bob's last"
    bob.complaints[:] = [one for one in bob.complaints if "ERR_INTERNET_DISCONNECTED" not in one and "409" not in one]
    assert ada.complaints == bob.complaints == []


def test_an_episode_that_two_people_labelled_is_put_together(people: tuple[Person, Person], tmp_path: Path) -> None:
    ada, bob = people
    dataset, episode = prepare(ada, tmp_path, review=False, doubles=100)
    label(bob, episode, at=60)
    bob.at("publish").click()
    expect(bob.at("publish")).to_have_attribute("data-current", "true")
    expect(bob.at("review")).to_have_count(0)
    label_blind(ada, dataset, episode)
    ada.go(f"/datasets/{dataset}/labels/people")
    expect(ada.at("pair-row")).to_have_count(1)
    ada.at("pair-open").click()
    expect(ada.at("doubles")).to_have_attribute("data-count", "1")
    expect(ada.at("other-labels")).to_have_attribute("data-name", "ada")
    ada.at("doubles-compare").click()
    ada.at("conflict-difference").get_by_text("ada").last.click()
    ada.look("doubles")
    ada.at("conflict-keep").click()
    expect(ada.at("doubles")).to_have_attribute("data-count", "0")
    expect(ada.at("save-status")).to_have_attribute("data-state", "saved")
    assert [one["start"] for one in ada.get(f"/episodes/{episode}/draft")["segments"]] == [0, 80]
    ada.complaints[:] = [one for one in ada.complaints if "403" not in one]
    assert ada.complaints == bob.complaints == []


def label_blind(ada: Person, dataset: str, episode: str) -> None:
    """Taken from the queue; nothing of Bob's is to be seen, wherever she looks."""
    ada.go(f"/datasets/{dataset}/labels/work")
    ada.at("work-take").click()
    expect(ada.at("work-row")).to_have_count(1)
    ada.go(f"/episodes/{episode}")
    ada.at("open-blind").click()
    expect(ada.at("segment-row")).to_have_count(1)
    press(ada, "g", "8", "0", "Enter", "1", "End", "2")
    expect(ada.at("save-status")).to_have_attribute("data-state", "saved")
    ada.at("publish").click()
    expect(ada.at("review")).to_have_attribute("data-state", "submitted")
    expect(ada.at("review-reopen")).to_have_count(0)


def join(ada: Person, bob: Person) -> None:
    """Bob follows Ada's invitation."""
    bob.page.goto(ada.post("/invitations", {"role": "annotator"})["url"])
    bob.at("account-name").fill("bob")
    bob.at("account-password").fill(PASSWORD)
    bob.at("account-submit").click()
    expect(bob.at("account-submit")).to_have_count(0)


def prepare(ada: Person, folder: Path, *, review: bool, doubles: int = 0) -> tuple[str, str]:
    """A dataset, whose labels are reviewed or not, with one episode."""
    dataset = ada.post("/datasets", {"name": f"Barcodes {review} {doubles}"})["id"]
    for path, body in (("", {"vocabulary": TEXTS}), ("/labelling", {"review": review, "double_percent": doubles})):
        answer = ada.context.request.patch(
            f"{ada.base}/api/datasets/{dataset}{path}", data=body, headers={"Origin": ada.base}
        )
        assert answer.ok, answer.text()
    file = folder / "episode.hdf5"
    write_barcode_episode(file, steps=STEPS, size=(64, 136))
    return dataset, ada.upload(dataset, file)


def press(person: Person, *keys: str) -> None:
    for key in keys:
        person.page.keyboard.press(key)


def take_over(person: Person, episode: str) -> None:
    """What somebody else works on can be looked at, and edited only once it is taken over."""
    person.go(f"/episodes/{episode}")
    expect(person.at("leased")).to_contain_text("bob is working on these labels")
    expect(person.at("save-status")).to_have_attribute("data-state", "read-only")
    rows = person.at("segment-row").count()
    press(person, "g", "2", "0", "Enter", "s")
    expect(person.at("segment-row")).to_have_count(rows)
    person.look("leased")
    person.at("take-over").click()
    expect(person.at("leased")).to_have_count(0)
    expect(person.at("save-status")).to_have_attribute("data-state", "saved")


def label(person: Person, episode: str, *, at: int) -> None:
    """The first text up to step `at`, behind it the second where nothing is written. By keys, and saved."""
    person.go(f"/episodes/{episode}")
    expect(person.at("segment-row").first).to_be_visible()
    press(person, "g", *str(at), "Enter", "1")
    if person.at("segment-row").count() == 2:
        press(person, "End", "2")
    expect(person.at("save-status")).to_have_attribute("data-state", "saved")


def submitted(bob: Person, episode: str) -> None:
    """From then on keys change nothing."""
    label(bob, episode, at=60)
    bob.at("publish").click()
    expect(bob.at("review")).to_have_attribute("data-state", "submitted")
    expect(bob.at("save-status")).to_have_attribute("data-state", "read-only")
    expect(bob.at("review-approve")).to_have_count(0)
    press(bob, "Home", "s", "Backspace")
    expect(bob.at("segment-row")).to_have_count(2)


def send_back(ada: Person, dataset: str) -> None:
    ada.go(f"/datasets/{dataset}/labels/review")
    expect(ada.at("review-row")).to_have_count(1)
    assert axe(ada.page) == []
    ada.look("review-queue")
    ada.at("review-open").click()
    expect(ada.at("review")).to_have_attribute("data-state", "submitted")
    expect(ada.at("trail")).to_have_attribute("data-count", "1")
    press(ada, "End", "q")
    ada.at("note-text").fill("It begins two steps later.")
    ada.at("note-text").press("Control+Enter")
    expect(ada.at("notes")).to_have_attribute("data-open", "1")
    assert axe(ada.page) == []
    ada.look("review")
    ada.at("review-back").click()
    ada.at("review-why").fill("Nearly right.")
    ada.at("review-send").click()
    expect(ada.at("review")).to_have_attribute("data-state", "rejected")


def mend(bob: Person) -> None:
    """The page that is still open says what came back, and takes edits again."""
    expect(bob.at("review")).to_have_attribute("data-state", "rejected")
    expect(bob.at("review-text")).to_contain_text("ada sent them back")
    expect(bob.at("review-text")).to_contain_text("Nearly right.")
    bob.look("review-sent-back")
    bob.at("note-go").click()
    expect(bob.at("now")).to_have_attribute("data-step", "60")
    press(bob, ".", ".")
    bob.at("note-resolve").click()
    expect(bob.at("notes")).to_have_attribute("data-open", "0")
    expect(bob.at("save-status")).to_have_attribute("data-state", "saved")
    bob.at("publish").click()
    expect(bob.at("review")).to_have_attribute("data-state", "submitted")


def history(bob: Person) -> None:
    """What was submitted first against what is there now: the two steps that were mended."""
    bob.at("annotator-menu").click()
    bob.at("history-open").click()
    expect(bob.at("history-count")).to_have_attribute("data-count", "0")
    bob.at("history-left").click()
    bob.page.get_by_role("option", name="Submitted").last.click()
    expect(bob.at("history-difference")).to_have_count(1)
    expect(bob.at("history-difference")).to_contain_text("60 to 61")
    assert axe(bob.page) == []
    bob.look("history")
    bob.page.keyboard.press("Escape")


def approve(ada: Person, dataset: str) -> None:
    """With the key; behind the last one is the list again."""
    ada.go(f"/datasets/{dataset}/labels/review")
    ada.at("review-start").click()
    expect(ada.at("review")).to_have_attribute("data-state", "submitted")
    ada.page.keyboard.press("Control+Enter")
    expect(ada.at("review-start")).to_have_count(0)
    expect(ada.page).to_have_url(f"{ada.base}/datasets/{dataset}/labels/review")

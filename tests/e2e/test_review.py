"""Two people in two browsers: one hands labels in, the other comments, sends them back and approves them."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.barcodes import write_barcode_episode
from tests.e2e.axe import axe
from tests.e2e.studio import PASSWORD, Person, running_studio

STEPS = 150
TEXTS = ["Reach for the cube", "Grasp the cube"]


def test_labels_are_reviewed_sent_back_and_approved(browser: Browser, tmp_path: Path, screenshots: Path) -> None:
    with running_studio(tmp_path / "data") as address:
        ada, bob = (Person(browser, address, screenshots) for _ in range(2))
        ada.sign_up(address)
        join(ada, bob)
        dataset, episode = prepare(ada, tmp_path)
        hand_in(bob, episode)
        send_back(ada, dataset)
        mend(bob)
        approve(ada, dataset)
        expect(bob.at("review")).to_have_attribute("data-state", "approved")
        (revision,) = ada.get(f"/episodes/{episode}/revisions")
        assert [one["text"] for one in revision["segments"]] == TEXTS
        assert [one["start"] for one in revision["segments"]] == [0, 62]
        assert ada.complaints == bob.complaints == []


def join(ada: Person, bob: Person) -> None:
    """Bob follows Ada's invitation."""
    bob.page.goto(ada.post("/invitations", {"role": "annotator"})["url"])
    bob.at("account-name").fill("bob")
    bob.at("account-password").fill(PASSWORD)
    bob.at("account-submit").click()
    expect(bob.at("account-submit")).to_have_count(0)


def prepare(ada: Person, folder: Path) -> tuple[str, str]:
    """A dataset whose labels are reviewed, with one episode."""
    dataset = ada.post("/datasets", {"name": "Barcodes"})["id"]
    for path, body in (("", {"vocabulary": TEXTS}), ("/labelling", {"review": True, "double_percent": 0})):
        answer = ada.context.request.patch(
            f"{ada.base}/api/datasets/{dataset}{path}", data=body, headers={"Origin": ada.base}
        )
        assert answer.ok, answer.text()
    file = folder / "episode.hdf5"
    write_barcode_episode(file, steps=STEPS, size=(64, 136))
    return dataset, ada.upload(dataset, file)


def hand_in(bob: Person, episode: str) -> None:
    """By keys; from then on they change nothing."""
    bob.go(f"/episodes/{episode}")
    expect(bob.at("segment-row").first).to_be_visible()
    keys = bob.page.keyboard
    for key in ("g", "6", "0", "Enter", "1", "End", "2"):
        keys.press(key)
    expect(bob.at("segment-row")).to_have_count(2)
    expect(bob.at("save-status")).to_have_attribute("data-state", "saved")
    bob.at("publish").click()
    expect(bob.at("review")).to_have_attribute("data-state", "submitted")
    expect(bob.at("save-status")).to_have_attribute("data-state", "read-only")
    expect(bob.at("review-approve")).to_have_count(0)
    for key in ("Home", "s", "Backspace"):
        keys.press(key)
    expect(bob.at("segment-row")).to_have_count(2)


def send_back(ada: Person, dataset: str) -> None:
    ada.go(f"/datasets/{dataset}/labels/review")
    expect(ada.at("review-row")).to_have_count(1)
    assert axe(ada.page) == []
    ada.look("review-queue")
    ada.at("review-open").click()
    expect(ada.at("review")).to_have_attribute("data-state", "submitted")
    expect(ada.at("trail")).to_have_attribute("data-count", "1")
    keys = ada.page.keyboard
    keys.press("End")
    keys.press("q")
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
    keys = bob.page.keyboard
    for key in (".", "."):
        keys.press(key)
    bob.at("note-resolve").click()
    expect(bob.at("notes")).to_have_attribute("data-open", "0")
    expect(bob.at("save-status")).to_have_attribute("data-state", "saved")
    bob.at("publish").click()
    expect(bob.at("review")).to_have_attribute("data-state", "submitted")


def approve(ada: Person, dataset: str) -> None:
    """With the key; behind the last one is the list again."""
    ada.go(f"/datasets/{dataset}/labels/review")
    ada.at("review-start").click()
    expect(ada.at("review")).to_have_attribute("data-state", "submitted")
    ada.page.keyboard.press("Control+Enter")
    expect(ada.at("review-start")).to_have_count(0)
    expect(ada.page).to_have_url(f"{ada.base}/datasets/{dataset}/labels/review")

"""Who may work on labels and what becomes of them: claims and leases, submission, review, reopening, history."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from backend.studio.context import Studio
from backend.tables.document import Tier
from backend.tables.draft import Draft
from dexvla.episodes.reader import open_episode
from tests.support.labelling_data import Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn

pytestmark = pytest.mark.slow

DONE = ((0, 10, "Reach"), (10, 24, "Lift"))


@pytest.fixture
def labels(studio: Studio, make_data: MakeData) -> Labels:
    return Labels(studio, make_data)


@pytest.fixture
def ada(client: SignIn) -> TestClient:
    return client("annotator")


@pytest.fixture
def bob(client: SignIn) -> TestClient:
    return client("operator")


def expire(studio: Studio) -> None:
    """As if nobody had been heard of for long."""
    with studio.db.transaction() as db:
        db.execute(update(Draft).values(lease_until=1.0))


def claim(browser: TestClient, episode: str, **more: Any) -> Any:
    return browser.post(f"{episode}/draft/claim", json=more)


def reviewed(labels: Labels, bob: TestClient) -> None:
    ok(bob.patch(f"{labels.url}/labelling", json={"review": True}))


# --- claims ---------------------------------------------------------------------------------------------------


def test_a_claim_keeps_others_from_saving_until_it_runs_out(
    labels: Labels, ada: TestClient, bob: TestClient, studio: Studio
) -> None:
    mine = ok(claim(ada, labels.episode()))
    assert (mine["state"], mine["assignee_name"], mine["lease"]["mine"]) == ("claimed", "annotator", True)
    assert mine["lease"]["token"]
    theirs = ok(bob.get(f"{labels.episode()}/draft"))
    assert theirs["read_only"] == "annotator is working on these labels."
    assert (theirs["lease"]["mine"], theirs["lease"]["token"]) == (False, None)
    error = refusal(save(bob, labels.episode(), (0, 24, "Mine")), 409)
    assert (error["code"], error["detail"]["yours"]["segments"][0]["text"]) == ("leased", "Mine")
    assert refusal(claim(bob, labels.episode()), 409)["code"] == "leased"
    expire(studio)
    assert ok(save(bob, labels.episode(), (0, 24, "Mine")))["edit"] == 1


def test_a_lease_taken_over_loses_nothing(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    """Ada's page works on; Bob takes over and saves; Ada's save is refused with both sides and their difference."""
    token = ok(claim(ada, labels.episode()))["lease"]["token"]
    assert ok(save(ada, labels.episode(), (0, 10, "Reach"), (10, 24, ""), edit=0, lease=token))["edit"] == 1
    taken = ok(claim(bob, labels.episode(), take_over=True))
    assert (taken["assignee_name"], taken["edit"]) == ("operator", 1)
    ok(save(bob, labels.episode(), (0, 10, "Reach"), (10, 24, "Lift"), edit=1, lease=taken["lease"]["token"]))
    beat = ada.post(f"{labels.episode()}/draft/heartbeat", json={"token": token})
    assert refusal(beat, 409)["code"] == "leased"
    error = refusal(save(ada, labels.episode(), (0, 10, "Reach"), (10, 24, "Grasp"), edit=1, lease=token), 409)
    assert error["code"] == "leased"
    assert [one["text"] for one in error["detail"]["segments"]] == ["Reach", "Lift"]
    assert [one["text"] for one in error["detail"]["yours"]["segments"]] == ["Reach", "Grasp"]
    assert error["detail"]["differences"] == [{"start": 10, "end": 24, "left": "Lift", "right": "Grasp"}]
    kept = ok(ada.get(f"{labels.episode()}/draft/history"))
    assert {"taken_over", "saved"} <= {entry["kind"] for entry in kept}
    took = next(entry for entry in kept if entry["kind"] == "taken_over")
    assert (took["by_name"], took["about_name"]) == ("operator", "annotator")


def test_two_windows_of_one_person(labels: Labels, ada: TestClient) -> None:
    first = ok(claim(ada, labels.episode()))["lease"]["token"]
    error = refusal(claim(ada, labels.episode()), 409)
    assert "another window" in error["message"]
    assert ok(claim(ada, labels.episode(), token=first))["lease"]["token"] == first
    second = ok(claim(ada, labels.episode(), take_over=True))["lease"]["token"]
    assert refusal(save(ada, labels.episode(), (0, 24, "x"), edit=0, lease=first), 409)["code"] == "leased"
    assert ok(save(ada, labels.episode(), (0, 24, "x"), edit=0, lease=second))["edit"] == 1


def test_ten_minutes_without_a_network_cost_nothing(labels: Labels, ada: TestClient, studio: Studio) -> None:
    token = ok(claim(ada, labels.episode()))["lease"]["token"]
    expire(studio)
    beat = {"token": token}
    assert ok(ada.post(f"{labels.episode()}/draft/heartbeat", json=beat))["seconds_left"] > 60
    expire(studio)
    assert ok(save(ada, labels.episode(), (0, 24, "Reach"), edit=0, lease=token))["edit"] == 1
    assert ok(ada.get(f"{labels.episode()}/draft"))["lease"]["seconds_left"] > 60


def test_a_page_that_says_it_is_there_while_its_own_submission_is_on_the_way(
    labels: Labels, ada: TestClient, bob: TestClient
) -> None:
    """Nothing was taken from it. Of somebody who never submitted them it is refused as before."""
    token = ok(claim(ada, labels.episode()))["lease"]["token"]
    ok(save(ada, labels.episode(), (0, 24, "Reach"), edit=0, lease=token))
    ok(ada.post(f"{labels.episode()}/draft/submit", json={"edit": 1}))
    beat = ok(ada.post(f"{labels.episode()}/draft/heartbeat", json={"token": token}))
    assert (beat["seconds_left"], beat["state"], beat["edit"]) == (0, "submitted", 1)
    assert ok(ada.get(f"{labels.episode()}/draft"))["lease"] is None
    assert refusal(bob.post(f"{labels.episode()}/draft/heartbeat", json={"token": token}), 409)["code"] == "leased"


def test_releasing_and_giving_back(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    token = ok(claim(ada, labels.episode()))["lease"]["token"]
    released = ok(ada.post(f"{labels.episode()}/draft/release", json={"token": token}))
    assert (released["lease"], released["assignee_name"]) == (None, "annotator")
    assert "given to annotator" in refusal(claim(bob, labels.episode()), 409)["message"]
    back = ok(ada.post(f"{labels.episode()}/draft/release", json={"give_back": True}))
    assert (back["state"], back["assignee_id"]) == ("unassigned", None)
    assert ok(claim(bob, labels.episode()))["assignee_name"] == "operator"


# --- review ---------------------------------------------------------------------------------------------------


def test_the_way_to_a_reviewed_publication(labels: Labels, ada: TestClient, bob: TestClient, client: SignIn) -> None:
    reviewed(labels, bob)
    url = labels.episode()
    assert ok(save(ada, url, *DONE))["state"] == "in_progress"
    assert refusal(ada.post(f"{url}/publish", json={"edit": 1}), 409)["code"] == "wrong_state"
    assert ok(ada.post(f"{url}/draft/submit", json={"edit": 1}))["state"] == "submitted"
    assert refusal(save(ada, url, (0, 24, "Late")), 409)["code"] == "wrong_state"

    approval = {"edit": 1, "approve": True}
    own = refusal(ada.post(f"{url}/draft/review", json=approval), 403)
    assert "Nobody reviews their own labels" in own["message"]
    assert refusal(bob.post(f"{url}/draft/review", json={"edit": 1, "approve": False}), 422)
    rejection = {"edit": 1, "approve": False, "notes": [{"start": 10, "end": 24, "text": "Starts later"}]}
    rejected = ok(bob.post(f"{url}/draft/review", json=rejection))
    assert (rejected["state"], rejected["notes"][0]["text"]) == ("rejected", "Starts later")
    note = rejected["notes"][0]["id"]
    assert ok(ada.patch(f"/api/notes/{note}", json={"resolved": True}))["resolved_by_name"] == "annotator"
    assert client("viewer").patch(f"/api/notes/{note}", json={"resolved": True}).status_code == 403

    assert ok(save(ada, url, (0, 12, "Reach"), (12, 24, "Lift")))["state"] == "reopened"
    ok(ada.post(f"{url}/draft/submit", json={"edit": 2}))
    stale = refusal(bob.post(f"{url}/draft/review", json=approval), 409)
    assert stale["detail"]["edit"] == 2
    assert ok(bob.post(f"{url}/draft/review", json={**approval, "edit": 2}))["state"] == "approved"
    published = ok(ada.post(f"{url}/publish", json={"edit": 2}))
    assert (published["published"]["number"], published["state"]) == (1, "approved")

    assert ada.post(f"{url}/draft/reopen", json={}).status_code == 403
    assert ok(bob.post(f"{url}/draft/reopen", json={"comment": "New rule"}))["state"] == "reopened"
    kinds = [entry["kind"] for entry in ok(ada.get(f"{url}/draft/history"))]
    assert kinds[:3] == ["reopened", "published", "approved"]
    assert {"rejected", "submitted"} <= set(kinds)


def test_who_edited_it_cannot_approve_it(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    """Bob saved in between: although Ada hands it in, it is his own too."""
    reviewed(labels, bob)
    save(bob, labels.episode(), *DONE)
    save(ada, labels.episode(), (0, 11, "Reach"), (11, 24, "Lift"))
    ok(ada.post(f"{labels.episode()}/draft/submit", json={"edit": 2}))
    assert not ok(bob.get(f"{labels.episode()}/draft"))["may_review"]
    assert bob.post(f"{labels.episode()}/draft/review", json={"edit": 2, "approve": True}).status_code == 403


def test_reviewers_may_need_a_role(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    ok(bob.patch(f"{labels.url}/labelling", json={"review": True, "reviewer_role": "operator"}))
    save(bob, labels.episode(), *DONE)
    ok(bob.post(f"{labels.episode()}/draft/submit", json={"edit": 1}))
    error = refusal(ada.post(f"{labels.episode()}/draft/review", json={"edit": 1, "approve": True}), 403)
    assert "role operator" in error["message"]


def test_a_person_alone_publishes_without_review(labels: Labels, ada: TestClient) -> None:
    save(ada, labels.episode(), *DONE)
    assert ok(ada.post(f"{labels.episode()}/publish", json={"edit": 1}))["state"] == "submitted"
    assert ok(save(ada, labels.episode(), (0, 24, "Lift")))["state"] == "reopened"


def test_incomplete_labels_are_not_handed_in(labels: Labels, ada: TestClient) -> None:
    ok(save(ada, labels.episode(), (0, 10, ""), (10, 24, "Lift")))
    error = refusal(ada.post(f"{labels.episode()}/draft/submit", json={"edit": 1}), 422)
    assert [(one["code"], one["start"], one["end"]) for one in error["detail"]["findings"]] == [("blank", 0, 10)]


# --- history --------------------------------------------------------------------------------------------------


def test_any_two_states_can_be_compared(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    url = labels.episode()
    save(ada, url, *DONE, instruction="Lift it")
    ok(ada.post(f"{url}/publish", json={"edit": 1}))
    save(bob, url, (0, 14, "Reach"), (14, 24, "Lift"), instruction="Lift it up")
    first = ok(ada.get(f"{url}/revisions"))[0]["id"]
    diff = ok(ada.get(f"{url}/draft/diff", params={"left": first}))
    assert diff["differences"] == [{"start": 10, "end": 14, "left": "Lift", "right": "Reach"}]
    assert diff["fields"] == {"instruction": ["Lift it", "Lift it up"]}
    assert diff["agreement"] == pytest.approx(20 / 24)
    saved = next(one for one in ok(ada.get(f"{url}/draft/history")) if one["kind"] == "saved" and one["edit"] == 1)
    entry = ok(ada.get(f"{url}/draft/history/{saved['id']}"))
    assert [one["text"] for one in entry["segments"]] == ["Reach", "Lift"]
    same = ok(ada.get(f"{url}/draft/diff", params={"left": first, "right": saved["id"]}))
    assert same["differences"] == []
    assert ada.get(f"{url}/draft/diff", params={"left": "0" * 32}).status_code == 404


def test_going_back_to_an_older_revision(labels: Labels, ada: TestClient, bob: TestClient, tmp_path: Path) -> None:
    url = labels.episode()
    for number, text in enumerate(("Right", "Wrong")):
        save(ada, url, (0, 24, text))
        ok(ada.post(f"{url}/publish", json={"edit": number + 1}))
    newest, oldest = ok(ada.get(f"{url}/revisions"))
    back = {"revision_id": oldest["id"], "edit": 2}
    assert ada.post(f"{url}/rollback", json=back).status_code == 403
    done = ok(bob.post(f"{url}/rollback", json=back))
    assert (done["published"]["number"], done["published"]["restores"], done["edit"]) == (3, 1, 3)
    assert done["segments"][0]["text"] == "Right"
    assert [one["number"] for one in ok(ada.get(f"{url}/revisions"))] == [3, 2, 1]
    (tmp_path / "sent.hdf5").write_bytes(ada.get(f"{url}/file").content)
    with open_episode(tmp_path / "sent.hdf5") as episode:
        assert episode.substep_reasonings == ("Right",) * 24
    stale = {"revision_id": newest["id"], "edit": 2}
    assert bob.post(f"{url}/rollback", json=stale).status_code == 409


# --- the second tier, and what is said about the episode -----------------------------------------------------------


def test_the_second_tier_has_a_draft_of_its_own(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    url, where = labels.episode(), {"tier": "plan"}
    assert ada.get(f"{url}/draft", params=where).status_code == 404
    ok(bob.patch(f"{labels.url}/labelling", json={"plan_tier": True}))
    save(ada, url, *DONE)
    assert ok(save(ada, url, (0, 24, "Tidy up"), tier="plan"))["tier"] == "plan"
    published = ok(ada.post(f"{url}/publish", json={"edit": 1, "tier": "plan"}))
    assert published["published"]["segments"][0]["text"] == "Tidy up"
    assert published["label_state"] == "draft"  # of the substeps
    assert [one["text"] for one in ok(ada.get(f"{url}/draft"))["segments"]] == ["Reach", "Lift"]
    assert ok(ada.get(f"{labels.url}/vocabulary", params=where))["entries"][0]["text"] == "Tidy up"


def test_what_is_said_about_an_episode(labels: Labels, ada: TestClient) -> None:
    url = labels.episode()
    facts = {"success": False, "failure_step": 20, "paraphrases": ["Raise it", "Raise  it"], "tags": ["dark"]}
    saved = ok(save(ada, url, *DONE, quality="doubtful", **facts))
    assert (saved["failure_step"], saved["paraphrases"], saved["quality"]) == (20, ["Raise it"], "doubtful")
    kept = ok(save(ada, url, *DONE, instruction="Lift it"))  # an older page that knows none of these
    assert (kept["success"], kept["tags"], kept["quality"]) == (False, ["dark"], "doubtful")
    ok(ada.post(f"{url}/publish", json={"edit": 2}))
    row = ok(ada.get(f"/api/datasets/{labels.dataset_id}/episodes"))["items"][0]
    assert (row["failure_step"], row["tags"], row["quality"]) == (20, ["dark"], "doubtful")
    assert ok(save(ada, url, *DONE, success=True))["failure_step"] is None
    assert save(ada, url, *DONE, success=False, failure_step=24).status_code == 422
    assert save(ada, url, *DONE, success=True, failure_step=3).status_code == 422


def test_many_people_at_once_all_get_through(studio: Studio, make_data: MakeData, ada: TestClient) -> None:
    """Each on an episode of their own: nobody is told that the database is busy, and nothing is lost."""
    labels = Labels(studio, make_data, 30)

    def work(number: int) -> list[int]:
        texts = [(0, 24, f"Text {number} {turn}") for turn in range(4)]
        return [save(ada, labels.episode(number), text, edit=turn).status_code for turn, text in enumerate(texts)]

    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(work, range(30))) == [[200] * 4] * 30
    with studio.db.transaction(write=False) as db:
        for number, episode_id in enumerate(labels.ids):
            draft = db.get_one(Draft, (episode_id, Tier.SUBSTEP, 0))
            assert (draft.edit, draft.segments[0].text) == (4, f"Text {number} 3")


def test_an_episode_that_is_deleted_under_the_annotator(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    save(ada, labels.episode(), *DONE)
    assert bob.delete(labels.episode()).status_code == 204
    error = refusal(save(ada, labels.episode(), *DONE, edit=1), 404)
    assert "deleted" in error["message"]

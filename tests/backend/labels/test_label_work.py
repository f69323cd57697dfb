"""Work in batches: "next for me", assignment, queues, blind double labels and their agreement, dashboards."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.studio.context import Studio
from tests.support.labelling_data import Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn


@pytest.fixture
def ada(client: SignIn) -> TestClient:
    return client("annotator")


@pytest.fixture
def bob(client: SignIn) -> TestClient:
    return client("operator")


def user_id(browser: TestClient) -> str:
    found: str = ok(browser.get("/api/auth/me"))["user"]["id"]
    return found


def next_for(browser: TestClient, labels: Labels, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(browser.post(f"{labels.url}/work/next", json={"count": count}))
    return found


def submitted(browser: TestClient, episode: str, *segments: tuple[int, int, str], rater: int = 0) -> None:
    edit = ok(save(browser, episode, *segments, rater=rater))["edit"]
    ok(browser.post(f"{episode}/draft/submit", json={"edit": edit, "rater": rater}))


def test_next_for_me_gives_nobody_the_same(
    studio: Studio, make_data: MakeData, ada: TestClient, bob: TestClient
) -> None:
    labels = Labels(studio, make_data, 6)
    ok(bob.patch(f"{labels.url}/labelling", json={"double_percent": 0}))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda browser: next_for(browser, labels, 2), (ada, bob))
    numbers = [one["number"] for one in first + second]
    assert sorted(numbers) == [0, 1, 2, 3]
    assert [one["number"] for one in next_for(ada, labels, 2)] == [one["number"] for one in first]
    submitted(ada, labels.episode(first[0]["number"]), (0, 24, "Lift"))
    assert len(next_for(ada, labels, 2)) == 2
    assert len(next_for(bob, labels, 20)) == 3  # all that is left
    queue = ok(bob.get("/api/work", params={"queue": "review"}))
    assert [(one["number"], one["may_review"]) for one in queue["items"]] == [(first[0]["number"], True)]
    assert ok(ada.get("/api/work", params={"queue": "review"}))["total"] == 0
    everything = ok(ada.get("/api/work", params={"queue": "all", "dataset_id": labels.dataset_id}))
    assert everything["total"] == 6


def test_assigning_and_taking_back(studio: Studio, make_data: MakeData, ada: TestClient, bob: TestClient) -> None:
    labels = Labels(studio, make_data, 3)
    people = {one["name"]: one["id"] for one in ok(bob.get("/api/annotators"))}
    give = {"user_id": people["annotator"], "episode_ids": labels.ids}
    submitted(bob, labels.episode(2), (0, 24, "Lift"))
    given = ok(bob.post(f"{labels.url}/work/assign", json=give))
    assert [one["number"] for one in given["assigned"]] == [0, 1]
    assert [(one["number"], one["reason"]) for one in given["skipped"]] == [(2, "it is submitted")]
    assert ok(ada.get("/api/work"))["total"] == 2
    ok(bob.post(f"{labels.url}/work/assign", json={"user_id": None, "episode_ids": labels.ids[:1]}))
    assert [one["number"] for one in ok(ada.get("/api/work"))["items"]] == [1]
    assert ada.post(f"{labels.url}/work/assign", json=give).status_code == 403


def ada_publishes(ada: TestClient, bob: TestClient, labels: Labels) -> Any:
    """Her labels of the first episode, and a version with them."""
    edit = ok(ada.get(f"{labels.episode(0)}/draft"))["edit"]
    ok(ada.post(f"{labels.episode(0)}/publish", json={"edit": edit}))
    return bob.post(f"{labels.url}/versions", json={})


def test_blind_double_labels(
    studio: Studio, make_data: MakeData, ada: TestClient, bob: TestClient, client: SignIn
) -> None:
    labels = Labels(studio, make_data, 2)
    ok(bob.patch(f"{labels.url}/labelling", json={"double_percent": 50}))
    submitted(ada, labels.episode(0), (0, 10, "Reach"), (10, 24, "Lift"))
    assert all(not one["double"] for one in next_for(ada, labels, 5))  # never one's own
    given = next_for(bob, labels, 5)
    assert [(one["number"], one["rater"], one["segments"]) for one in given if one["double"]] == [(0, 1, 0)]

    url, second = labels.episode(0), {"rater": 1}
    blind = ok(bob.get(f"{url}/draft", params=second))
    assert [one["text"] for one in blind["segments"]] == [""]
    for hidden in ("draft", "revisions", "draft/history", "labels", "file", "draft/check"):
        assert refusal(bob.get(f"{url}/{hidden}"), 403)["code"] == "forbidden", hidden
    seen = ok(bob.get(f"{labels.url}/segments"))["items"]
    assert [one["rater"] for one in seen if one["number"] == 0] == [1]  # the own, empty one
    version = ok(ada_publishes(ada, bob, labels))
    assert "second rater" in refusal(bob.get(f"/api/versions/{version['id']}/manifest"), 403)["message"]
    assert ok(ada.get(f"/api/versions/{version['id']}/manifest"))["episodes"][0]["substeps"][0]["end"] == 10
    for who, count in ((ada, 2), (bob, 0)):
        assert ok(who.get(url))["segments"] == count
        assert ok(who.get(f"{labels.url}/episodes"))["items"][0]["segments"] == count
        coverage = ok(who.get(f"{labels.url}/coverage"))
        assert (coverage["tiers"][0]["segments"], bool(coverage["provenance"])) == (count, count > 0)
        assert sum(one["segments"] for one in coverage["labels"]) == count
        assert who.post(f"{labels.episode(1)}/proposals", json={"source": "similar"}).status_code == (
            201 if count else 422
        )
    exported = ok(bob.get(f"{labels.url}/labels", params={"drafts": True}))
    assert [one["number"] for one in exported["episodes"]] == [1]
    assert ada.get(f"{url}/draft", params=second).status_code == 403
    assert save(ada, url, (0, 24, "x"), rater=1, edit=0).status_code == 403

    submitted(bob, url, (0, 22, "Reach"), (22, 24, "Lift"), rater=1)
    assert ok(bob.get(f"{url}/draft"))["segments"][0]["text"] == "Reach"
    assert ok(bob.get(f"/api/versions/{version['id']}/manifest"))["name"]
    assert ok(bob.get(f"{labels.url}/episodes"))["items"][0]["segments"] == 2
    assert ok(ada.get(f"{url}/draft", params=second))["segments"][0]["end"] == 22
    assert refusal(save(bob, url, (0, 24, "Later"), rater=1), 409)["code"] == "wrong_state"

    found = ok(ada.get(f"{labels.url}/agreement"))
    assert {one["tolerance"]: one["f1"] for one in found["boundaries"]} == {10: 0.0, 25: 1.0}
    assert found["pairs"][0]["same_steps"] == pytest.approx(0.5)
    chance = (10 * 22 + 14 * 2) / 24**2
    assert found["kappa"] == pytest.approx((0.5 - chance) / (1 - chance))
    double = ok(ada.get(f"{labels.url}/coverage"))["double"]
    assert double == {"wanted": 1, "assigned": 1, "submitted": 1}
    assert ada.get("/api/annotators/figures").status_code == 403
    people = {one["name"]: one for one in ok(client("admin").get("/api/annotators/figures"))}
    assert (people["operator"]["doubles"], people["operator"]["f1_25"]) == (1, 1.0)
    assert (people["annotator"]["segments"], people["annotator"]["steps"]) == (2, 24)


def test_figures_of_reviews(
    studio: Studio, make_data: MakeData, ada: TestClient, bob: TestClient, client: SignIn
) -> None:
    labels = Labels(studio, make_data, 2)
    for number, approve in enumerate((True, False)):
        submitted(ada, labels.episode(number), (0, 24, "Lift"))
        verdict = {"edit": 1, "approve": approve, "comment": "Too coarse"}
        ok(bob.post(f"{labels.episode(number)}/draft/review", json=verdict))
    people = {one["name"]: one for one in ok(client("admin").get("/api/annotators/figures", params={"days": 1}))}
    mine = people["annotator"]
    assert (mine["submitted"], mine["approved"], mine["rejected"], mine["rejection_rate"]) == (2, 1, 1, 0.5)
    assert people["operator"]["reviews"] == 2
    assert ok(ada.get(f"{labels.url}/agreement"))["rejection_rate"] == 0.5


def test_coverage(studio: Studio, make_data: MakeData, ada: TestClient) -> None:
    labels = Labels(studio, make_data, 3)
    save(ada, labels.episode(0), (0, 10, "Reach"), (10, 24, "Lift"), success=False, tags=["dark"])
    ok(ada.post(f"{labels.episode(0)}/publish", json={"edit": 1}))
    save(ada, labels.episode(1), (0, 24, "Reech"))
    found = ok(ada.get(f"{labels.url}/coverage"))
    tier = found["tiers"][0]
    assert (tier["published_episodes"], tier["published_steps"], tier["labelled_steps"]) == (1, 24, 48)
    assert {state: count for state, count in tier["by_state"].items() if count} == {
        "submitted": 1,
        "in_progress": 1,
        "unassigned": 1,
    }
    assert found["findings"]["near_duplicate"] == 1
    assert (found["success"], found["tags"]) == ({"no": 1, "unknown": 2}, {"dark": 1})
    texts = {one["text"]: (one["segments"], one["in_vocabulary"]) for one in found["labels"]}
    assert texts == {"Reach": (1, True), "Lift": (1, True), "Reech": (1, False)}
    assert [(one["submitted"], one["published"]) for one in found["days"]] == [(1, 1)]

"""Labels that files brought: accepted for a whole dataset by somebody who looked at some, and taken back again."""

import pytest
from fastapi.testclient import TestClient

from backend.studio.context import Studio
from backend.tables.document import Tier
from backend.tables.draft import Draft
from dexvla.episodes.manifest import load_manifest
from tests.support.labelling_data import Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn


@pytest.fixture
def operator(client: SignIn) -> TestClient:
    return client("operator")


@pytest.fixture
def dataset(studio: Studio, make_data: MakeData) -> tuple[str, list[str]]:
    """Eight episodes: six with labels that their files brought, one with them over half of its steps, one without."""
    labels = Labels(studio, make_data, 8, proposals=((0, 12, "Reach"), (12, 24, "Lift")))
    with studio.db.transaction() as db:
        half, none = (db.get_one(Draft, (episode_id, Tier.SUBSTEP, 0)) for episode_id in labels.ids[6:])
        half.segments = (half.segments[0]._replace(text=""), half.segments[1])
        db.delete(none)
    return labels.url, labels.ids


def states(operator: TestClient, url: str) -> list[str]:
    items = ok(operator.get(f"{url}/episodes"))["items"]
    return [one["label_state"] for one in sorted(items, key=lambda one: int(one["number"]))]


def test_imported_labels_are_accepted_in_bulk_and_undone(
    operator: TestClient, client: SignIn, studio: Studio, dataset: tuple[str, list[str]]
) -> None:
    url, ids = dataset
    shown = ok(operator.get(f"{url}/imported-labels"))
    assert (shown["episodes"], shown["to_look_at"], len(shown["sample"])) == (6, 5, 6)
    assert [(one["text"], one["segments"]) for one in shown["texts"]] == [("Lift", 6), ("Reach", 6)]
    assert [one["reason"] for one in shown["skipped"]] == ["12 of its 24 steps have no label"]
    accept = f"{url}/imported-labels/accept"
    body = {"fingerprint": shown["fingerprint"], "looked_at": ids[:4] + ids[-1:]}
    assert "looked at 4 of these 6" in refusal(operator.post(accept, json=body), 422)["message"]
    assert client("annotator").post(accept, json=body).status_code == 403
    save(client("annotator"), f"/api/episodes/{ids[0]}", (0, 24, "Wave"))
    body["looked_at"] = ids[:6]
    assert "changed since you looked" in refusal(operator.post(accept, json=body), 409)["message"]
    body["fingerprint"] = ok(operator.get(f"{url}/imported-labels"))["fingerprint"]
    done = ok(operator.post(accept, json=body))
    assert (done["changed"], done["change"]["kind"]) == (5, "accept")
    assert states(operator, url) == ["draft", *["published"] * 5, "unlabelled", "unlabelled"]
    (revision,) = ok(operator.get(f"/api/episodes/{ids[1]}/revisions"))
    assert revision["published_by_name"] == "operator"
    version = ok(operator.post(f"{url}/versions", json={}))
    entries = load_manifest(studio.settings.folder.manifest(version["id"])).episodes
    assert len(entries) == 5
    assert {segment.text for entry in entries for segment in entry.substeps} == {"Reach", "Lift"}
    undone = ok(operator.post(f"{url}/changes/{done['change']['id']}/undo"))
    assert (undone["changed"], undone["skipped"]) == (5, [])
    assert states(operator, url) == ["draft", *["unlabelled"] * 7]
    assert ok(operator.get(f"{url}/coverage"))["tiers"][0]["published_episodes"] == 0
    assert ok(operator.get(f"{url}/labels"))["episodes"] == []
    again = ok(operator.get(f"{url}/imported-labels"))
    assert again["episodes"] == 5
    body = {"fingerprint": again["fingerprint"], "looked_at": ids[1:6]}
    assert ok(operator.post(accept, json=body))["changed"] == 5


def test_what_somebody_published_since_stays(operator: TestClient, dataset: tuple[str, list[str]]) -> None:
    url, ids = dataset
    shown = ok(operator.get(f"{url}/imported-labels"))
    body = {"fingerprint": shown["fingerprint"], "looked_at": ids[:5]}
    done = ok(operator.post(f"{url}/imported-labels/accept", json=body))
    episode = f"/api/episodes/{ids[2]}"
    edit = ok(save(operator, episode, (0, 24, "Wave")))["edit"]
    ok(operator.post(f"{episode}/publish", json={"edit": edit}))
    undone = ok(operator.post(f"{url}/changes/{done['change']['id']}/undo"))
    assert (undone["changed"], [one["number"] for one in undone["skipped"]]) == (5, [2])
    assert states(operator, url)[2] == "published"

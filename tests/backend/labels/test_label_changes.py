"""Vocabulary and bulk edits: preview, nothing silent, undo; labels alone out and in again."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.studio.context import Studio
from dexvla.episodes.reader import open_episode
from tests.support.labelling_data import Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn

pytestmark = pytest.mark.slow


@pytest.fixture
def ada(client: SignIn) -> TestClient:
    return client("annotator")


@pytest.fixture
def bob(client: SignIn) -> TestClient:
    return client("operator")


@pytest.fixture
def labels(studio: Studio, make_data: MakeData, ada: TestClient) -> Labels:
    """Episode 0 is published, 1 a draft, 2 untouched."""
    labels = Labels(studio, make_data, 3)
    save(ada, labels.episode(0), (0, 10, "Reach"), (10, 24, "Lift"))
    ok(ada.post(f"{labels.episode(0)}/publish", json={"edit": 1}))
    save(ada, labels.episode(1), (0, 24, "Reach"))
    return labels


def texts(browser: TestClient, labels: Labels, number: int) -> list[str]:
    return [one["text"] for one in ok(browser.get(f"{labels.episode(number)}/draft"))["segments"]]


def vocabulary(browser: TestClient, labels: Labels) -> list[str]:
    return [one["text"] for one in ok(browser.get(f"{labels.url}/vocabulary"))["entries"]]


def test_the_vocabulary_is_the_guideline(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    found = ok(ada.get(f"{labels.url}/vocabulary"))
    assert [(one["text"], one["digit"], one["segments"]) for one in found["entries"]] == [
        ("Reach", 1, 2),
        ("Lift", 2, 1),
    ]
    example = {"episode_id": labels.ids[0], "step": 12}
    entries = [{"text": f"Entry {number}"} for number in range(10)]
    entries.insert(0, {"text": "Lift", "description": "From the first motion upwards", "examples": [example]})
    body = {"edit": found["edit"], "entries": entries}
    assert ada.put(f"{labels.url}/vocabulary", json=body).status_code == 403
    changed = ok(bob.put(f"{labels.url}/vocabulary", json=body))
    assert [one["digit"] for one in changed["entries"]] == [*range(1, 10), None, None]
    assert changed["entries"][0]["examples"] == [{**example, "camera": None, "there": True}]
    assert changed["strangers"] == ["Reach"]
    assert refusal(bob.put(f"{labels.url}/vocabulary", json=body), 409)["detail"]["edit"] == changed["edit"]
    beyond = [{"text": "Lift", "examples": [{"episode_id": labels.ids[0], "step": 24}]}]
    wrong = refusal(bob.put(f"{labels.url}/vocabulary", json={"edit": changed["edit"], "entries": beyond}), 422)
    assert list(wrong["fields"]) == ["entries.0.examples.0"]


def test_renaming_everywhere_and_undoing_it(labels: Labels, ada: TestClient, bob: TestClient, tmp_path: Path) -> None:
    wish = {"old": "Reach", "new": "Reach for the cube"}
    preview = ok(bob.post(f"{labels.url}/vocabulary/rename/preview", json=wish))
    assert [(one["number"], one["draft"], one["published"]) for one in preview["episodes"]] == [(0, 1, 1), (1, 1, 0)]
    assert texts(ada, labels, 1) == ["Reach"]  # a preview changes nothing
    done = ok(bob.post(f"{labels.url}/vocabulary/rename", json={**wish, "expected": preview["fingerprint"]}))
    assert (done["changed"], done["skipped"]) == (2, [])
    assert texts(ada, labels, 0) == ["Reach for the cube", "Lift"]
    assert vocabulary(ada, labels) == ["Reach for the cube", "Lift"]
    newest, first = ok(ada.get(f"{labels.episode(0)}/revisions"))
    assert (newest["number"], newest["segments"][0]["text"]) == (2, "Reach for the cube")
    assert first["segments"][0]["text"] == "Reach"
    assert ok(ada.get(f"{labels.episode(0)}/draft"))["label_state"] == "published"
    late = save(ada, labels.episode(1), (0, 24, "Mine"), edit=1)  # a page that was open meanwhile
    assert refusal(late, 409)["code"] == "conflict"

    ok(ada.get(f"{labels.episode(0)}/labels"))
    (tmp_path / "sent.hdf5").write_bytes(ada.get(f"{labels.episode(0)}/file").content)
    with open_episode(tmp_path / "sent.hdf5") as episode:
        assert episode.substep_reasonings == ("Reach for the cube",) * 10 + ("Lift",) * 14

    save(ada, labels.episode(1), (0, 24, "Push"))
    url = f"{labels.url}/changes/{done['change']['id']}/undo"
    undone = ok(bob.post(url))
    assert (undone["changed"], [one["number"] for one in undone["skipped"]]) == (1, [1])
    assert (texts(ada, labels, 0), texts(ada, labels, 1)) == (["Reach", "Lift"], ["Push"])
    assert vocabulary(ada, labels) == ["Reach", "Lift"]
    assert ok(ada.get(f"{labels.episode(0)}/revisions"))[0]["restores"] == 1
    assert bob.post(url).status_code == 409
    kinds = [entry["kind"] for entry in ok(ada.get(f"{labels.episode(0)}/draft/history"))]
    assert kinds[:2] == ["undone", "renamed"]


def test_a_rename_leaves_alone_what_somebody_works_on(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    token = ok(ada.post(f"{labels.episode(1)}/draft/claim", json={}))["lease"]["token"]
    wish = {"old": "Reach", "new": "Touch"}
    preview = ok(bob.post(f"{labels.url}/vocabulary/rename/preview", json=wish))
    assert [one["held_by"] for one in preview["episodes"]] == [None, "annotator"]
    ok(save(ada, labels.episode(1), (0, 24, "Reach!"), edit=1, lease=token))
    stale = bob.post(f"{labels.url}/vocabulary/rename", json={**wish, "expected": preview["fingerprint"]})
    assert refusal(stale, 409)["detail"]["episodes"][0]["number"] == 0
    ok(save(ada, labels.episode(1), (0, 24, "Reach"), edit=2, lease=token))
    done = ok(bob.post(f"{labels.url}/vocabulary/rename", json=wish))
    assert [one["number"] for one in done["skipped"]] == [1]
    assert texts(ada, labels, 1) == ["Reach"]


def test_a_draft_ahead_of_its_publication_stays_ahead(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    save(ada, labels.episode(0), (0, 12, "Reach"), (12, 24, "Lift"))
    ok(bob.post(f"{labels.url}/vocabulary/rename", json={"old": "Reach", "new": "Touch"}))
    draft = ok(ada.get(f"{labels.episode(0)}/draft"))
    assert (draft["label_state"], draft["segments"][0]["end"]) == ("draft", 12)
    assert [(one["end"], one["text"]) for one in draft["published"]["segments"]] == [(10, "Touch"), (24, "Lift")]


def test_a_template_goes_to_untouched_episodes_only(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    refused = refusal(bob.post(f"{labels.url}/template", json={}), 422)
    assert "no template" in refused["message"]
    ok(bob.patch(f"{labels.url}/labelling", json={"template": ["Reach", "Grasp", "Lift"]}))
    look = ok(bob.post(f"{labels.url}/template", json={"preview": True}))
    assert (look["change"], look["changed"]) == (None, 1)
    done = ok(bob.post(f"{labels.url}/template", json={}))
    assert [one["reason"] for one in done["skipped"]] == ["it is published", "it has labels or proposals already"]
    draft = ok(ada.get(f"{labels.episode(2)}/draft"))
    assert [(one["start"], one["end"]) for one in draft["segments"]] == [(0, 8), (8, 16), (16, 24)]
    assert draft["label_state"] == "unlabelled"
    ok(bob.post(f"{labels.url}/changes/{done['change']['id']}/undo"))
    assert texts(ada, labels, 2) == [""]
    assert [one["kind"] for one in ok(ada.get(f"{labels.url}/changes"))] == ["template"]


def test_a_template_is_put_where_the_motion_suggests_it(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    wish: dict[str, Any] = {"texts": ["Reach", "Lift"], "align": True}
    look = ok(bob.post(f"{labels.url}/template", json={**wish, "preview": True}))
    assert (look["change"], look["changed"]) == (None, 1)
    (fit,) = look["aligned"]
    assert (fit["number"], fit["expected"]) == (2, 1)
    assert (fit["mismatch"] is None) == (fit["found"] == 1 and fit["guessed"] == 0)
    done = ok(bob.post(f"{labels.url}/template", json=wish))
    assert (done["changed"], done["aligned"]) == (1, look["aligned"])
    proposed = ok(ada.post(f"{labels.episode(2)}/proposals", json={"source": "template", "sequence": wish["texts"]}))
    draft = ok(ada.get(f"{labels.episode(2)}/draft"))
    edges = [(one["start"], one["end"], one["text"]) for one in draft["segments"]]
    assert edges == [(one["start"], one["end"], one["text"]) for one in proposed["segments"]]
    assert {one["provenance"] for one in draft["segments"]} == {"proposed"}
    ok(bob.post(f"{labels.url}/changes/{done['change']['id']}/undo"))
    assert texts(ada, labels, 2) == [""]
    refused = refusal(bob.post(f"{labels.url}/template", json={**wish, "tier": "plan"}), 422)
    assert "Only substeps have boundaries in the motion" in refused["message"]


# --- labels alone ---------------------------------------------------------------------------------------------


def exported(browser: TestClient, labels: Labels, form: str) -> str:
    answer = browser.get(f"{labels.url}/labels", params={"format": form, "drafts": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    return answer.text


@pytest.mark.parametrize("form", ["json", "csv", "elan"])
def test_labels_come_back_as_they_went(labels: Labels, ada: TestClient, bob: TestClient, form: str) -> None:
    awkward = 'Say "now", =SUM(1) 抓住'
    save(ada, labels.episode(1), (0, 7, awkward), (7, 8, "b"), (8, 24, ""))
    content = exported(ada, labels, form)
    wish: dict[str, Any] = {"format": form, "content": content}
    save(ada, labels.episode(1), (0, 24, "Something else"))
    look = ok(bob.post(f"{labels.url}/labels", json={**wish, "preview": True}))
    assert (look["changed"], len(look["skipped"])) == (0, 2)  # both are somebody's labels
    done = ok(bob.post(f"{labels.url}/labels", json={**wish, "overwrite": True}))
    assert done["changed"] == 2
    draft = ok(ada.get(f"{labels.episode(1)}/draft"))
    parts = [(one["start"], one["end"], one["text"], one["provenance"]) for one in draft["segments"]]
    assert parts == [(0, 7, awkward, "imported"), (7, 8, "b", "imported"), (8, 24, "", "imported")]
    ok(bob.post(f"{labels.url}/changes/{done['change']['id']}/undo"))
    assert texts(ada, labels, 1) == ["Something else"]


def test_what_the_tables_say(labels: Labels, ada: TestClient) -> None:
    answer = ada.get(f"{labels.url}/labels", params={"format": "csv"})  # published ones
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["episode"], row["start_step"], row["end_seconds"], row["text"]) for row in rows] == [
        ("0", "0", "0.200000", "Reach"),
        ("0", "10", "0.480000", "Lift"),
    ]
    elan = ada.get(f"{labels.episode(0)}/labels", params={"format": "elan"}).text.splitlines()
    assert elan[1] == "substep\tannotator\t0.000\t0.200\t0.200\tReach\tepisode_0"


def one_label(number: int, end: int) -> str:
    return json.dumps({"episodes": [{"number": number, "segments": [{"start": 0, "end": end, "text": "a"}]}]})


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("json", "{", "not a file of labels"),
        ("json", one_label(9, 24), "no episode 9"),
        ("json", one_label(0, 23), "not at 24"),
        ("csv", "episode,start_step,end_step,text\n0,0,25,a\n", "from 0 to 23"),
        ("csv", "episode,start_step,end_step,text\n0,0,9,a\n0,8,24,b\n", "no overlap"),
        ("csv", "episode,start_step,end_step,text\n0,x,9,a\n", "Line 2: start_step"),
        ("csv", "episode,start_step,end_step,text\n0,0,9,a\x07\n", "control characters"),
        ("csv", "a,b\n1,2\n", "text is missing"),
        ("elan", "substep\t\tnever\t1\t1\ta\tepisode_0\n", "is not a time"),
    ],
)  # fmt: skip
def test_files_that_are_no_labels(labels: Labels, bob: TestClient, form: str, content: str, message: str) -> None:
    error = refusal(bob.post(f"{labels.url}/labels", json={"format": form, "content": content, "overwrite": True}), 422)
    assert message in error["message"]


def test_what_does_not_fit_is_left_out_and_named(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    exported_ones = json.loads(exported(ada, labels, "json"))["episodes"]
    other = {**exported_ones[0], "identity": "0" * 64}
    short = json.loads(one_label(2, 23))["episodes"][0]
    wish = {"format": "json", "content": json.dumps({"episodes": [other, exported_ones[1], short]}), "overwrite": True}
    for preview in (True, False):
        found = ok(bob.post(f"{labels.url}/labels", json={**wish, "preview": preview}))
        assert found["changed"] == 1
        assert [(one["number"], one["reason"]) for one in found["skipped"]] == [
            (0, "the file's is another one, its motion or images differ"),
            (2, "the file's labels end at 23, not at 24"),
        ]
    assert texts(ada, labels, 2) == [""]


def test_elans_own_columns_are_read(labels: Labels, ada: TestClient, bob: TestClient) -> None:
    """As ELAN writes them with column names: clock times, no file."""
    head = "Tier\tParticipant\tBegin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tAnnotation"
    lines = [head, "substep\t\t00:00:00.000\t00:00:00.240\tReach", "substep\t\t00:00:00.240\t00:00:00.480\tLift"]
    wish = {"format": "elan", "content": "\r\n".join(lines), "episode": 2}
    assert ok(bob.post(f"{labels.url}/labels", json=wish))["changed"] == 1
    draft = ok(ada.get(f"{labels.episode(2)}/draft"))
    assert [(one["start"], one["end"], one["text"]) for one in draft["segments"]] == [
        (0, 12, "Reach"),
        (12, 24, "Lift"),
    ]


def test_a_manifest_embeds_what_was_renamed(labels: Labels, bob: TestClient) -> None:
    ok(bob.post(f"{labels.url}/vocabulary/rename", json={"old": "Reach", "new": "Touch"}))
    version = ok(bob.post(f"{labels.url}/versions", json={}))
    entry = ok(bob.get(f"/api/versions/{version['id']}/manifest"))["episodes"][0]
    assert [(one["end"], one["text"]) for one in entry["substeps"]] == [(10, "Touch"), (24, "Lift")]


def test_a_dataset_goes_with_all_its_labels(labels: Labels, bob: TestClient) -> None:
    ok(bob.post(f"{labels.url}/vocabulary/rename", json={"old": "Reach", "new": "Touch"}))
    note = {"edit": 2, "start": 0, "end": 4, "text": "look"}
    ok(bob.post(f"{labels.episode(0)}/draft/notes", json=note))
    assert bob.delete(labels.url).status_code == 204

"""Proposals over the API: where they come from, that they are no labels, and what people make of them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from backend.core.db import new_id
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.label_history import LabelHistory
from backend.tables.proposal import Proposal
from backend.tables.proposal_verdict import ProposalVerdict
from dexvla.episodes.format import EpisodeData
from tests.support.people import SignIn
from tests.support.proposal_data import TEXTS, demonstration, take

pytestmark = pytest.mark.slow

MakeData = Callable[..., EpisodeData]


@pytest.fixture
def dataset_id(studio: Studio) -> str:
    with studio.db.transaction() as db:
        row = Dataset(id=new_id(), name="cubes", vocabulary=list(TEXTS))
        db.add(row)
        return row.id


@pytest.fixture
def annotator(client: SignIn) -> TestClient:
    return client("annotator")


def publish(browser: TestClient, episode_id: str) -> None:
    """As it was brought."""
    edit = browser.get(f"/api/episodes/{episode_id}/draft").json()["edit"]
    answer = browser.post(f"/api/episodes/{episode_id}/publish", json={"edit": edit, "looked_at": True})
    assert answer.status_code == 201, answer.text


def starts(proposal: dict[str, Any]) -> list[int]:
    return [segment["start"] for segment in proposal["segments"]]


def near(found: list[int], truth: list[int], within: int) -> bool:
    return len(found) == len(truth) and max(abs(a - b) for a, b in zip(found, truth, strict=True)) <= within


def test_candidates_of_marks_motion_and_expert(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, truth = demonstration(make_data, 1, texts=TEXTS, marks=[0, 42])
    answer = annotator.get(f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}/candidates").json()
    by_source: dict[str, list[int]] = {}
    for boundary in answer["boundaries"]:
        assert 0 < boundary["step"] < answer["steps"]
        assert boundary["confidence"] >= max(part["confidence"] for part in boundary["parts"])
        for part in boundary["parts"]:
            by_source.setdefault(part["source"], []).append(part["step"])
    assert by_source["mark"] == [42], "a mark at the first step is no boundary"
    assert sorted(by_source["scripted"]) == truth[1:]
    assert near(sorted(by_source["gripper"]), [truth[1], truth[3]], 6)
    assert near(sorted(by_source["speed"]), truth[1:3], 12)
    assert answer["settings"]["merge_seconds"] > 0


def test_tracks_are_those_of_the_motion(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, _ = demonstration(make_data, 1)
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}/tracks"
    answer = annotator.get(url)
    tracks = {track["name"]: track for track in answer.json()["tracks"]}
    assert sorted(tracks) == ["left gripper", "left speed", "right gripper", "right speed"]
    assert np.abs(np.array(tracks["right gripper"]["values"]) - data.qpos[:, 13]).max() < 1e-4
    measured = np.linalg.norm(np.gradient(np.asarray(data.qpos[:, 7:13], float), axis=0) * 50, axis=1)
    assert np.array(tracks["right speed"]["values"]).max() == pytest.approx(np.percentile(measured, 99), rel=0.25)
    again = annotator.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_long_episodes_answer_quickly(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, _ = demonstration(make_data, 1, lengths=(4000, 500, 5000, 500))
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}"
    for what in ("candidates", "tracks"):
        annotator.get(f"{url}/{what}")
        took = []
        for _ in range(5):
            begun = time.perf_counter()
            assert annotator.get(f"{url}/{what}").status_code == 200
            took.append(time.perf_counter() - begun)
        assert min(took) < 0.1, f"{what}: {min(took) * 1000:.0f} ms"


def test_the_template_goes_onto_the_motion(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, truth = demonstration(make_data, 2)
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}"
    made = annotator.post(f"{url}/proposals", json={"source": "template"})
    assert made.status_code == 201, made.text
    proposal = made.json()
    assert [segment["text"] for segment in proposal["segments"]] == list(TEXTS)
    assert near(starts(proposal), truth, 12), proposal
    assert (proposal["report"]["template_from"], proposal["report"]["expected"]) == ("vocabulary", 3)
    long = annotator.post(f"{url}/proposals", json={"source": "template", "sequence": [*TEXTS] * 4}).json()
    assert "the sequence has 15 boundaries" in long["report"]["mismatch"]
    assert [segment["end"] for segment in long["segments"]][-1] == len(data.qpos)
    listed = annotator.get(f"{url}/proposals").json()
    assert [one["id"] for one in listed] == [long["id"]], "the newest of each source"
    assert annotator.get(f"{url}/draft").json()["segments"][0]["text"] == "", "a proposal is no label"


def test_the_dataset_says_its_template_and_published_episodes_how_long_substeps_are(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    for seed in range(3):
        data, _ = demonstration(make_data, seed, texts=TEXTS)
        publish(annotator, take(studio, dataset_id, tmp_path, data, f"published {seed}"))
    data, truth = demonstration(make_data, 9)
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}/proposals"
    proposal = annotator.post(url, json={"source": "template"}).json()
    assert (proposal["report"]["template_from"], proposal["report"]["examples"]) == ("published", 3)
    assert near(starts(proposal), truth, 12), proposal
    with studio.db.transaction() as db:
        dataset = db.get(Dataset, dataset_id)
        assert dataset is not None
        dataset.labelling = {"template": ["One", "Two"]}
    proposal = annotator.post(url, json={"source": "template"}).json()
    assert [segment["text"] for segment in proposal["segments"]] == ["One", "Two"]
    assert proposal["report"]["template_from"] == "template"


def test_labels_of_similar_episodes(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, truth = demonstration(make_data, 50)
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}/proposals"
    none = annotator.post(url, json={"source": "similar"})
    assert none.status_code == 422
    assert "Publish a few first" in none.json()["error"]["message"]
    for seed in range(4):
        brought, _ = demonstration(make_data, seed, texts=TEXTS)
        publish(annotator, take(studio, dataset_id, tmp_path, brought, f"published {seed}"))
    foreign, _ = demonstration(make_data, 7, texts=("A", "B", "C", "D"), instruction="Do something else.")
    publish(annotator, take(studio, dataset_id, tmp_path, foreign, "foreign"))
    unpublished, _ = demonstration(make_data, 8, texts=("E", "F", "G", "H"))
    take(studio, dataset_id, tmp_path, unpublished, "unpublished")
    for _ in range(2):  # the second time from the cache
        proposal = annotator.post(url, json={"source": "similar", "neighbours": 3}).json()
        assert [segment["text"] for segment in proposal["segments"]] == list(TEXTS)
        assert near(starts(proposal), truth, 10), proposal
        assert proposal["report"]["basis"] == "instruction"
        assert (proposal["report"]["compared"], proposal["report"]["left"]) == (4, 0)
        assert len(proposal["report"]["neighbours"]) == 3
        assert min(segment["confidence"] for segment in proposal["segments"]) > 0.5


def test_other_instructions_of_the_task_count_half(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    brought, _ = demonstration(make_data, 3, texts=TEXTS)
    publish(annotator, take(studio, dataset_id, tmp_path, brought, "published"))
    data, _ = demonstration(make_data, 4, instruction="Bring the cube over.")
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}/proposals"
    proposal = annotator.post(url, json={"source": "similar"}).json()
    assert proposal["report"]["basis"] == "task"
    assert max(segment["confidence"] for segment in proposal["segments"]) <= 0.5


def test_what_a_file_brought_stays_a_proposal_after_others_are_published(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, truth = demonstration(make_data, 1, texts=TEXTS)
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}"
    segments = [{"start": 0, "end": len(data.qpos), "text": "All of it"}]
    saved = annotator.put(f"{url}/draft", json={"edit": 0, "segments": segments, "instruction": "Go."})
    assert saved.status_code == 200, saved.text
    assert annotator.post(f"{url}/publish", json={"edit": 1}).status_code == 201
    (proposal,) = annotator.get(f"{url}/proposals").json()
    assert (proposal["source"], starts(proposal)) == ("scripted", truth)
    assert proposal["settings"] == {"label_source": "scripted"}


@pytest.mark.parametrize("left", ["draft", "history", "file", "nothing"])
def test_what_an_older_episodes_file_brought_is_found_again(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData, left: str
) -> None:
    """As if it had been taken in before proposals were kept. What an older studio published into the file is none."""
    data, truth = demonstration(make_data, 1, texts=TEXTS)
    episode_id = take(studio, dataset_id, tmp_path, data, "a")
    url = f"/api/episodes/{episode_id}"
    segments = [{"start": 0, "end": len(data.qpos), "text": "All of it"}]
    if left == "file":
        with studio.db.transaction() as db:
            db.execute(delete(Draft))
    elif left != "draft":
        assert annotator.put(f"{url}/draft", json={"edit": 0, "segments": segments}).status_code == 200
        assert annotator.post(f"{url}/publish", json={"edit": 1}).status_code == 201
    with studio.db.transaction() as db:
        db.execute(delete(Proposal))
        if left == "nothing":
            db.execute(delete(LabelHistory))
            db.get_one(EpisodeRow, episode_id).file_revision = 1
    sure = annotator.get(f"{url}/candidates").json()["boundaries"]
    assert any(part["source"] == "scripted" for one in sure for part in one["parts"]) == (left != "nothing")
    found = annotator.get(f"{url}/proposals").json()
    if left == "nothing":
        assert found == []
        return
    assert [(one["source"], starts(one), one["settings"]) for one in found] == [
        ("scripted", truth, {"label_source": "scripted"})
    ]
    assert [one["text"] for one in found[0]["segments"]] == list(TEXTS)
    assert annotator.get(f"{url}/proposals").json() == found, "it is kept"


def test_verdicts_are_counted_by_source_and_confidence(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, _ = demonstration(make_data, 1)
    episode_id = take(studio, dataset_id, tmp_path, data, "a")
    url = f"/api/episodes/{episode_id}/proposals"
    proposal = annotator.post(url, json={"source": "template"}).json()

    def verdict(kind: str, confidence: float | None, **given: Any) -> dict[str, Any]:
        return {"source": "gripper", "verdict": kind, "confidence": confidence, "start": 10, **given}

    sent = [verdict("accepted", 0.95), verdict("accepted", 1.0), verdict("rejected", 0.91), verdict("edited", 0.2)]
    sent.append(verdict("rejected", None, source="template", proposal_id=proposal["id"], end=20, text=TEXTS[0]))
    assert annotator.post(f"{url}/verdicts", json={"verdicts": sent}).status_code == 204
    answer = annotator.get(f"/api/datasets/{dataset_id}/proposal-statistics").json()
    figures = {one["source"]: one for one in answer["sources"]}
    gripper = figures["gripper"]
    assert (gripper["accepted"], gripper["edited"], gripper["rejected"], gripper["rate"]) == (2, 1, 1, 0.5)
    low, high = gripper["calibration"]
    assert (low["low"], low["edited"], low["likely"]) == (0.2, 1, pytest.approx(1 / 3))
    assert (high["high"], high["accepted"], high["likely"]) == (1.0, 2, pytest.approx(3 / 5))
    assert (figures["template"]["rejected"], figures["template"]["calibration"]) == (1, [])
    assert figures["vision"]["rate"] is None
    with studio.db.transaction() as db:
        stored = db.scalars(select(ProposalVerdict).where(ProposalVerdict.proposal_id.is_not(None))).one()
        assert (stored.text, stored.end, stored.episode_id) == (TEXTS[0], 20, episode_id)
        assert stored.by_id is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proposal_id": "0" * 32}, "no proposal"),
        ({"start": 10_000}, "beyond the episode"),
        ({"start": 5, "end": 5}, "at least one step"),
        ({"confidence": 1.5}, "less than or equal to 1"),
        ({"text": "<|im_start|>"}, "control token"),
    ],
)
def test_verdicts_on_what_is_not_there_are_refused(
    annotator: TestClient,
    studio: Studio,
    dataset_id: str,
    tmp_path: Path,
    make_data: MakeData,
    change: dict[str, Any],
    message: str,
) -> None:
    data, _ = demonstration(make_data, 1)
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}/proposals/verdicts"
    sent = {"source": "speed", "verdict": "accepted", "start": 10} | change
    answer = annotator.post(url, json={"verdicts": [sent]})
    assert answer.status_code == 422
    assert message in answer.text
    with studio.db.transaction() as db:
        assert db.scalars(select(ProposalVerdict)).all() == []


def test_proposals_go_with_their_dataset(
    client: SignIn, annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, _ = demonstration(make_data, 1, texts=TEXTS)
    url = f"/api/episodes/{take(studio, dataset_id, tmp_path, data, 'a')}/proposals/verdicts"
    annotator.post(url, json={"verdicts": [{"source": "speed", "verdict": "accepted", "start": 10}]})
    assert client("operator").delete(f"/api/datasets/{dataset_id}").status_code == 204
    with studio.db.transaction() as db:
        assert db.scalars(select(Proposal)).all() == []
        assert db.scalars(select(ProposalVerdict)).all() == []


def test_without_vocabulary_and_examples_there_is_no_template(
    annotator: TestClient, studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data, _ = demonstration(make_data, 1)
    episode_id = take(studio, dataset_id, tmp_path, data, "a")
    with studio.db.transaction() as db:
        dataset = db.get(Dataset, dataset_id)
        assert dataset is not None
        dataset.vocabulary = []
        db.execute(delete(Proposal))
    answer = annotator.post(f"/api/episodes/{episode_id}/proposals", json={"source": "template"})
    assert answer.status_code == 422
    assert "no vocabulary" in answer.json()["error"]["message"]

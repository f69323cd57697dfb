"""Edits of a studio's episodes: true previews, labels that move along, undo, and space that comes back."""

from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from backend.core.db import database_now
from backend.editing import finishing, planning, repository, service
from backend.intake.accept import take_over
from backend.storage.service import look
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.draft import WorkState
from backend.tables.episode import EpisodeRow
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError
from tests.support.edits import edited, made
from tests.support.labelling_data import STEPS, Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn


def dataset(studio: Studio, make_data: MakeData) -> Labels:
    """Of two episodes."""
    labels = Labels(studio, make_data, 2)
    with studio.db.transaction() as db:
        row, first = db.get_one(Dataset, labels.dataset_id), db.get_one(EpisodeRow, labels.ids[0])
        take_over(row, first)
    return labels


def published(browser: TestClient, labels: Labels, number: int, *segments: tuple[int, int, str]) -> None:
    episode = labels.episode(number)
    edit = ok(save(browser, episode, *segments))["edit"]
    ok(browser.post(f"{episode}/publish", json={"edit": edit}))


def covered(browser: TestClient, labels: Labels) -> tuple[int, int, int]:
    """Episodes, those of them with published labels, and labelled steps."""
    found = ok(browser.get(f"{labels.url}/coverage"))["tiers"][0]
    return found["episodes"], found["published_episodes"], found["labelled_steps"]


def numbers(browser: TestClient, url: str) -> list[int]:
    return [one["number"] for one in ok(browser.get(f"{url}/episodes"))["items"]]


def test_a_cut_moves_the_labels_and_its_undo_brings_everything_back(
    client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    published(operator, labels, 0, (0, 8, "reach"), (8, 14, "grasp"), (14, STEPS, "lift"))
    body = {"action": "cut", "episode_ids": [labels.ids[0]], "first": 6, "last": 15}
    (planned,) = ok(client("viewer").post(f"{labels.url}/edits/preview", json=body))["items"]
    assert (planned["steps_before"], planned["steps"], planned["substeps_before"], planned["substeps"]) == (
        24,
        14,
        3,
        2,
    )
    assert planned["dropped"] == [{"first": 6, "last": 15}]
    assert planned["lost"] == ["grasp"]
    edit = edited(operator, studio, labels.url, tmp_path / "a", **body)
    (result,) = edit["results"]
    assert (result["number"], result["steps"]) == (2, 14)
    assert numbers(operator, labels.url) == [1, 2]
    draft = ok(operator.get(f"/api/episodes/{result['episode_id']}/draft"))
    assert [(one["start"], one["end"], one["text"]) for one in draft["segments"]] == [(0, 6, "reach"), (6, 14, "lift")]
    revision = ok(operator.get(f"/api/episodes/{result['episode_id']}/revisions"))
    assert len(revision) == 1
    path = studio.settings.folder.episode(labels.dataset_id, result["episode_id"])
    with open_episode(path) as new, studio.db.transaction(write=False) as db:
        assert new.lineage is not None
        assert new.lineage.sources == (db.get_one(EpisodeRow, labels.ids[0]).identity,)
    assert look(studio, fresh_seconds=0) == ({kind: [] for kind in look(studio)[0]}, [])
    undone = ok(operator.post(f"{labels.url}/edits/{edit['id']}/undo"))
    assert undone["undone_by_name"] == "operator"
    assert numbers(operator, labels.url) == [0, 1]
    assert operator.get(f"/api/episodes/{result['episode_id']}").status_code == 404
    assert "undone this already" in refusal(operator.post(f"{labels.url}/edits/{edit['id']}/undo"), 409)["message"]


def test_versions_keep_what_they_list_and_work_after_the_edit(
    client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    version = ok(
        operator.post(f"{labels.url}/versions", json={"include_unlabelled": True, "episode_ids": [labels.ids[0]]})
    )
    edit = edited(operator, studio, labels.url, tmp_path / "a", action="split", episode_ids=[*labels.ids], at=[10, 20])
    assert [one["steps"] for one in edit["results"]] == [10, 10, 4] * 2
    chosen = ok(operator.post(f"{labels.url}/exports/preview", json={"version_id": version["id"]}))
    assert chosen["episodes"] == 1
    manifest = studio.settings.folder.manifest(version["id"])
    build_manifest(find_set(str(manifest)))
    assert service.free(studio) == 0, "they can still be brought back"
    real = database_now
    monkeypatch.setattr(service, "database_now", lambda db: real(db) + timedelta(days=31))
    assert service.free(studio) == 1
    folder = studio.settings.folder
    assert folder.episode(labels.dataset_id, labels.ids[0]).is_file(), "the version needs it"
    assert not folder.episode(labels.dataset_id, labels.ids[1]).exists()
    build_manifest(find_set(str(manifest)))
    (listed,) = ok(operator.get(f"{labels.url}/edits"))
    assert listed["undo_until"] is None
    assert "space of 1 source is free again. A version keeps the file of episode 0." in listed["why_not"]
    refused = refusal(operator.post(f"{labels.url}/edits/{edit['id']}/undo"), 409)
    assert "can be undone for 30 days" in refused["message"]


def test_work_on_a_result_is_not_undone(client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    edit = edited(operator, studio, labels.url, tmp_path / "a", action="join", episode_ids=[*labels.ids])
    (result,) = edit["results"]
    assert result["steps"] == 2 * STEPS
    ok(save(operator, f"/api/episodes/{result['episode_id']}", (0, 2 * STEPS, "all of it")))
    refused = refusal(operator.post(f"{labels.url}/edits/{edit['id']}/undo"), 409)
    assert "Somebody has labelled episode 2 since" in refused["message"]
    assert numbers(operator, labels.url) == [2]
    ok(operator.post(f"{labels.url}/versions", json={"include_unlabelled": True}))
    refused = refusal(operator.post(f"{labels.url}/edits/{edit['id']}/undo"), 409)
    assert "Episode 2 is part of version 1" in refused["message"]


def test_review_of_a_result_is_not_undone(client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    ok(save(operator, labels.episode(0), (0, 9, "reach"), (9, STEPS, "lift")))
    edit = edited(operator, studio, labels.url, tmp_path / "a", action="split", episode_ids=[labels.ids[0]], at=[10])
    undo = f"{labels.url}/edits/{edit['id']}/undo"
    url = f"/api/episodes/{edit['results'][1]['episode_id']}/draft"
    now = ok(operator.get(url))["edit"]
    note = ok(operator.post(f"{url}/notes", json={"edit": now, "start": 0, "end": 4, "text": "Is this a lift?"}))
    assert "Somebody has labelled episode 3 since, or reviewed" in refusal(operator.post(undo), 409)["message"]
    assert operator.delete(f"/api/notes/{note['id']}").status_code == 204
    ok(operator.post(f"{url}/submit", json={"edit": now}))
    assert "Somebody has labelled episode 3 since, or reviewed" in refusal(operator.post(undo), 409)["message"]
    with studio.db.transaction() as db:
        (draft,) = repository.drafts(db, [edit["results"][1]["episode_id"]])
        draft.state = WorkState.IN_PROGRESS
    assert ok(operator.post(undo))["undone_by_name"] == "operator"


def test_episodes_move_and_are_copied_with_all_that_is_said_of_them(
    client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    published(operator, labels, 1, (0, 9, "reach"), (9, STEPS, "lift"))
    copy = edited(
        operator, studio, labels.url, tmp_path, action="copy", episode_ids=[labels.ids[1]], target_name="copies"
    )
    other = f"/api/datasets/{copy['target_id']}"
    (result,) = copy["results"]
    assert numbers(operator, labels.url) == [0, 1]
    folder = studio.settings.folder
    source, new = (
        folder.episode(labels.dataset_id, labels.ids[1]),
        folder.episode(copy["target_id"], result["episode_id"]),
    )
    assert source.samefile(new)
    draft = ok(operator.get(f"/api/episodes/{result['episode_id']}/draft"))
    assert [one["text"] for one in draft["segments"]] == ["reach", "lift"]
    assert ok(operator.get(other))["vocabulary"] == ["reach", "lift"]
    everything = {"action": "move", "target_id": copy["target_id"]}
    items = ok(operator.post(f"{labels.url}/edits/preview", json=everything))["items"]
    assert [item["problem"] for item in items] == [None, "it is in copies already, as episode 0; leave it out"]
    error = refusal(operator.post(f"{labels.url}/edits", json=everything), 422)
    assert error["message"] == "Episode 1: it is in copies already, as episode 0; leave it out"
    one = {"action": "copy", "episode_ids": [labels.ids[0]], "target_id": copy["target_id"]}
    first, second = (ok(operator.post(f"{labels.url}/edits", json=one))["id"] for _ in range(2))
    made(studio, first, tmp_path)
    with pytest.raises(UserError, match="Episode 0 is in copies already, as episode 1; leave it out"):
        made(studio, second, tmp_path)
    assert numbers(operator, labels.url) == [0, 1], "nothing of it was done"
    ok(operator.post(f"{labels.url}/edits/{first}/undo"))
    move = edited(
        operator, studio, labels.url, tmp_path, action="move", episode_ids=[labels.ids[0]], target_id=copy["target_id"]
    )
    assert numbers(operator, labels.url) == [1]
    assert numbers(operator, other) == [0, 2]
    ok(operator.post(f"{other}/edits/{move['id']}/undo"))
    assert numbers(operator, labels.url) == [0, 1]
    assert numbers(operator, other) == [0]


def test_the_preview_says_which_episodes_do_not_fit_where_they_are_to_go(
    client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    one = {"action": "copy", "episode_ids": [labels.ids[1]], "target_name": "others"}
    copy = edited(operator, studio, labels.url, tmp_path, **one)
    with studio.db.transaction() as db:
        db.get_one(Dataset, copy["target_id"]).cameras = ["cam_table"]
    asked = {"action": "move", "episode_ids": [labels.ids[0]], "target_id": copy["target_id"]}
    (item,) = ok(operator.post(f"{labels.url}/edits/preview", json=asked))["items"]
    assert item["problem"] == (
        "it has the cameras cam_high, cam_left_wrist, cam_right_wrist, the dataset's episodes have cam_table; "
        "put it into a dataset of its own"
    )
    assert item["problem"] in refusal(operator.post(f"{labels.url}/edits", json=asked), 422)["message"]


def test_cameras_are_renamed_for_all_episodes_of_a_dataset(
    client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    one = {"action": "rename", "episode_ids": [labels.ids[0]], "cameras": {"cam_high": "top"}}
    (item,) = ok(operator.post(f"{labels.url}/edits/preview", json=one))["items"]
    assert item["problem"] == (
        "it has the cameras cam_left_wrist, cam_right_wrist, top, the dataset's episodes have cam_high, "
        "cam_left_wrist, cam_right_wrist; put it into a dataset of its own, or choose all episodes of the dataset"
    )
    assert item["problem"] in refusal(operator.post(f"{labels.url}/edits", json=one), 422)["message"]

    assert operator.delete(labels.episode(1)).status_code == 204
    alone = ok(operator.post(f"{labels.url}/edits", json=one))
    (deleted,) = [edit for edit in ok(operator.get(f"{labels.url}/edits")) if edit["action"] == "delete"]
    ok(operator.post(f"{labels.url}/edits/{deleted['id']}/undo"))
    with pytest.raises(UserError, match="the dataset's episodes have"):
        made(studio, alone["id"], tmp_path / "a")

    done = edited(operator, studio, labels.url, tmp_path / "b", action="rename", cameras={"cam_high": "top"})
    assert ok(operator.get(labels.url))["cameras"] == ["cam_left_wrist", "cam_right_wrist", "top"]
    ok(operator.post(f"{labels.url}/edits/{done['id']}/undo"))
    assert ok(operator.get(labels.url))["cameras"] == ["cam_high", "cam_left_wrist", "cam_right_wrist"]


def test_a_deleted_episode_can_be_brought_back(client: SignIn, studio: Studio, make_data: MakeData) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    published(operator, labels, 0, (0, 9, "reach"), (9, STEPS, "lift"))
    assert operator.delete(labels.episode(0)).status_code == 204
    assert numbers(operator, labels.url) == [1]
    (edit,) = ok(operator.get(f"{labels.url}/edits"))
    assert edit["action"] == "delete"
    assert covered(operator, labels) == (1, 0, 0)
    ok(operator.post(f"{labels.url}/edits/{edit['id']}/undo"))
    assert numbers(operator, labels.url) == [0, 1]
    assert covered(operator, labels) == (2, 1, STEPS)
    claim = ok(operator.post(f"{labels.episode(0)}/draft/claim", json={}))
    ok(operator.post(f"{labels.episode(0)}/draft/release", json={"token": claim["lease"]["token"]}))
    published(operator, labels, 0, (0, STEPS, "lift"))
    assert operator.delete(labels.episode(0)).status_code == 204
    assert covered(operator, labels) == (1, 0, 0)


def test_what_cannot_be_made_is_refused_before_anything_happens(
    client: SignIn, studio: Studio, make_data: MakeData
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    url = f"{labels.url}/edits"
    bad = {"action": "keep", "first": 3, "last": 99}
    assert ok(operator.post(f"{url}/preview", json=bad))["problems"] == 2
    assert "steps 3..99 are none of this episode" in refusal(operator.post(url, json=bad), 422)["message"]
    assert (
        "choose another one"
        in refusal(operator.post(url, json={"action": "copy", "target_id": labels.dataset_id}), 422)["message"]
    )
    refusal(operator.post(url, json={"action": "keep"}), 422)
    assert "Nothing rests" in refusal(operator.post(url, json={"action": "trim_idle"}), 422)["message"]
    ok(operator.post(f"{labels.episode(0)}/draft/claim", json={}))
    held = refusal(operator.post(url, json={"action": "keep", "first": 0, "last": 9}), 409)
    assert "Somebody is labelling episode 0 at the moment" in held["message"]
    assert ok(operator.get(url)) == []


def test_files_of_an_edit_that_is_being_placed_are_nobody_elses(
    client: SignIn, studio: Studio, make_data: MakeData, tmp_path: Path
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    body = {"action": "copy", "episode_ids": [labels.ids[0]], "target_name": "copies"}
    queued = ok(operator.post(f"{labels.url}/edits", json=body))
    with studio.db.transaction(write=False) as db:
        edit = repository.by_id(db, queued["id"])
    assert edit is not None
    facts = finishing.place(studio, edit, tmp_path)
    assert look(studio, fresh_seconds=0)[0]["episode"] == [], "neither adopted nor lost while its job goes on"
    studio.settings.folder.episode(edit.target_id, edit.items[0]["result"]).unlink()
    with pytest.raises(UserError, match="1 of the 1 new files are not in the data folder any more"):
        finishing.finish(studio, edit.id, facts, studio.db.transaction)
    assert numbers(operator, labels.url) == [0, 1]
    finishing.place(studio, edit, tmp_path)
    ok(operator.post(f"/api/jobs/{queued['job']['id']}/cancel"))
    assert len(look(studio, fresh_seconds=0)[0]["episode"]) == 1, "an edit that is over makes nothing any more"


def test_others_write_while_files_are_read(
    client: SignIn, studio: Studio, make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    url, real, read = f"{labels.url}/edits", planning.read_positions, []

    def reading(path: Path) -> object:
        with studio.db.transaction() as db:  # waits, then fails, as long as a request holds the database's lock
            db.get_one(Dataset, labels.dataset_id).name = f"read {len(read)}"
        read.append(path)
        return real(path)

    monkeypatch.setattr(planning, "read_positions", reading)
    assert len(ok(operator.post(f"{url}/preview", json={"action": "trim_idle"}))["skipped"]) == 2
    assert "Nothing rests" in refusal(operator.post(url, json={"action": "trim_idle"}), 422)["message"]
    assert len(read) == 4
    monkeypatch.setattr(service, "MOST_EPISODES", 1)
    refused = refusal(operator.post(f"{url}/preview", json={"action": "trim_idle"}), 422)
    assert "The dataset has 2 episodes; one edit takes 1 at most." in refused["message"]
    assert len(read) == 4


def test_more_substeps_than_can_be_edited_are_refused_as_in_the_preview(
    client: SignIn, studio: Studio, make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    for number in (0, 1):
        ok(save(operator, labels.episode(number), (0, 9, "reach"), (9, STEPS, "lift")))
    monkeypatch.setattr(planning, "MAX_SEGMENTS", 3)
    body = {"action": "join", "episode_ids": labels.ids}
    (planned,) = ok(operator.post(f"{labels.url}/edits/preview", json=body))["items"]
    refused = refusal(operator.post(f"{labels.url}/edits", json=body), 422)
    assert refused["message"] == f"Episode 0: {planned['problem']}"
    assert "it would have 4 substeps, at most 3 can be edited" in refused["message"]


def test_instruction_and_outcome_of_many_are_one_change(client: SignIn, studio: Studio, make_data: MakeData) -> None:
    labels, operator = dataset(studio, make_data), client("operator")
    published(operator, labels, 0, (0, STEPS, "lift"))
    body = {"instruction": "Lift it.", "outcome": "failure"}
    before = [ok(operator.get(labels.episode(number))) for number in (0, 1)]
    assert ok(operator.post(f"{labels.url}/facts", json={**body, "preview": True}))["changed"] == 2
    result = ok(operator.post(f"{labels.url}/facts", json=body))
    assert result["changed"] == 2
    for number in (0, 1):
        episode = ok(operator.get(labels.episode(number)))
        assert (episode["instruction"], episode["success"]) == ("Lift it.", False)
    newest, _ = ok(operator.get(f"{labels.episode(0)}/revisions"))
    assert newest["number"] == 2
    assert ok(operator.post(f"{labels.url}/facts", json=body))["changed"] == 0
    undone = ok(operator.post(f"{labels.url}/changes/{result['change']['id']}/undo"))
    assert (undone["changed"], undone["skipped"]) == (2, [])
    assert [ok(operator.get(labels.episode(number)))["instruction"] for number in (0, 1)] == [
        one["instruction"] for one in before
    ]
    refusal(operator.post(f"{labels.url}/facts", json={"preview": True}), 422)

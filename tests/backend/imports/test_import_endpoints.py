"""What a file does not say is asked before an import, shown, and kept under a name."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.datasets.jobs import ImportPayload
from backend.studio.context import Studio
from backend.tables.job import Job
from tests.support.foreign_files import attribute, drop, foreign_file, opencv_jpeg, put, rows_of
from tests.support.people import SignIn


@pytest.fixture
def operator(client: SignIn) -> TestClient:
    return client("operator")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of two episodes that say little, the second with another rate than the first's stamps."""
    folder = tmp_path / "imports" / "pick_up"
    foreign_file(
        folder / "episode_0.hdf5",
        drop("language_raw"),
        rows_of(opencv_jpeg),
        put("timestamp", np.arange(12) / 50),
        put("substep_reasonings", [b"Reach."] * 6 + [b"Lift."] * 6),
    )
    foreign_file(folder / "episode_1.hdf5", attribute("fps", 10))
    return folder


def look(operator: TestClient, episode: str | None = None, **profile: Any) -> Any:
    (found,) = operator.get("/api/import/candidates").json()
    body = {"candidate_id": found["id"], "episode": episode, "profile": profile}
    answer = operator.post("/api/import/preview", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def colour(image: str) -> tuple[int, int, int]:
    """Of the frame's left part, which is red."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))))
    red, green, blue = (int(one) for one in pixels[2, 4])
    return red, green, blue


def test_a_preview_says_what_is_there_and_what_is_a_guess(operator: TestClient, folder: Path) -> None:
    shown = look(operator)
    assert (shown["format"], shown["episodes"], shown["episode"]) == ("act", 2, "episode_0.hdf5")
    assert "it has no instruction" in shown["refusals"][0]
    assert shown["instruction"]["text"] is None
    assert set(shown["guessed"]) == {"colours", "fps"}
    assert (shown["times"]["fps"], shown["times"]["fps_from"]) == (50, "guess")
    assert [part["text"] for part in shown["labels"]["segments"]] == ["Reach.", "Lift."]
    assert (shown["state"]["count"], shown["action"]["count"]) == (7, 7)
    assert str(folder) not in str(shown)
    (camera,) = shown["cameras"]
    assert [frame["step"] for frame in camera["frames"]] == [0, 6, 11]
    first = camera["frames"][0]
    assert colour(first["image"])[0] > 180 > colour(first["image"])[2]
    assert colour(first["swapped"])[2] > 180 > colour(first["swapped"])[0]


def test_a_preview_follows_the_profile(operator: TestClient, folder: Path) -> None:
    shown = look(
        operator,
        instruction_from="folder",
        colours="rgb",
        turned=True,
        state=[0, 2],
        action=[6],
        action_shift=2,
        fps=25,
        robot="arm",
        grippers=[{"dimension": 1, "closed": 0.0, "opened": 2.0}],
    )
    # the gripper is the second dimension of both, and there is one action
    assert "gripper dimension 1 is named" in shown["refusals"][0]
    shown = look(operator, instruction_from="folder", colours="rgb", turned=True, state=[0, 2], action_shift=2, fps=25)
    assert (shown["refusals"], shown["guessed"]) == ([], [])
    assert (shown["instruction"]["text"], shown["instruction"]["found_in"]) == ("pick up", "folder")
    assert (shown["kept_state"]["count"], shown["kept_action"]["count"], shown["kept_steps"]) == (2, 7, 10)
    assert (shown["times"]["fps"], shown["times"]["fps_from"]) == (25, "profile")
    first = shown["cameras"][0]["frames"][0]
    # on its head, and red and blue as the rows have them: what was blue on the right is red on the left
    assert colour(first["image"])[0] > 180
    other = look(operator, "episode_1.hdf5", fps=25)
    assert (other["times"]["fps"], other["times"]["fps_from"]) == (10, "file")
    assert look(operator, "episode_1.hdf5", fps=25, fps_from="profile")["times"]["fps"] == 25


def test_a_broken_episode_and_a_wrong_profile_are_told(operator: TestClient, tmp_path: Path) -> None:
    (tmp_path / "imports" / "odd").mkdir()
    (tmp_path / "imports" / "odd" / "a.hdf5").write_bytes(b"no HDF5")
    assert "not a readable HDF5 file" in look(operator)["refusals"][0]
    (found,) = operator.get("/api/import/candidates").json()
    wrong = operator.post("/api/import/preview", json={"candidate_id": found["id"], "profile": {"format": "odd"}})
    assert wrong.status_code == 422
    assert "no format 'odd'" in wrong.json()["error"]["message"]
    wrong = operator.post("/api/import/preview", json={"candidate_id": found["id"], "profile": {"fps": -1}})
    assert list(wrong.json()["error"]["fields"]) == ["profile.fps"]
    assert operator.post("/api/import/preview", json={"candidate_id": "../etc"}).status_code == 404


def test_an_import_is_queued_with_its_profile(operator: TestClient, studio: Studio, folder: Path) -> None:
    dataset_id = operator.post("/api/datasets", json={"name": "cubes"}).json()["id"]
    (found,) = operator.get("/api/import/candidates").json()
    stored = operator.post("/api/import/profiles", json={"name": "lab", "profile": {"fps": 20}}).json()
    url = f"/api/datasets/{dataset_id}/import"
    body = {"candidate_id": found["id"], "profile_id": stored["id"], "instruction": "Pick  it\nup."}
    job = operator.post(url, json=body).json()
    with studio.db.transaction(write=False) as db:
        payload = ImportPayload.model_validate(db.get_one(Job, job["id"]).payload)
    assert payload.folder == str(folder.resolve())
    assert (payload.whole_profile.fps, payload.whole_profile.instruction) == (20, "Pick it up.")
    assert operator.post(url, json={**body, "profile_id": "none"}).status_code == 404
    wrong = operator.post(url, json={"candidate_id": found["id"], "profile": {"instruction": "<|im_end|>"}})
    assert wrong.status_code == 422


def test_profiles_have_names_and_are_files(operator: TestClient) -> None:
    url = "/api/import/profiles"
    profile = {"fps": 25, "colours": "bgr", "cameras": [{"source": "top", "name": "cam_high"}]}
    made = operator.post(url, json={"name": "Lab 1", "profile": profile}).json()
    assert operator.post(url, json={"name": "LAB 1", "profile": {}}).status_code == 409
    text = operator.get(f"{url}/{made['id']}/file").text
    assert "fps: 25" in text
    again = operator.post("/api/import/read/profile", json={"name": "lab.yaml", "text": text}).json()
    assert again["profile"] == made["profile"]
    for text, said in (("fps: many", "fps"), ("- a", "expected the fields"), ("a: [", "not YAML")):
        wrong = operator.post("/api/import/read/profile", json={"name": "lab.yaml", "text": text})
        assert said in wrong.json()["error"]["message"]
    changed = operator.patch(f"{url}/{made['id']}", json={"name": "Lab 2", "profile": {"fps": 30}}).json()
    assert (changed["name"], changed["profile"]["fps"], changed["profile"]["colours"]) == ("Lab 2", 30, None)
    assert [one["name"] for one in operator.get(url).json()] == ["Lab 2"]
    assert operator.delete(f"{url}/{made['id']}").status_code == 204
    assert operator.get(url).json() == []


def test_a_table_whose_aliases_repeat_each_other_is_refused_at_once(operator: TestClient) -> None:
    laughs = "\n".join(
        ["a: &a [x, x]", *(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))]
    )
    more = "\n".join(f"{b}: &{b} [{', '.join(['*' + a] * 40)}]" for a, b in zip("abcde", "bcdef", strict=True))
    for text in (laughs, f"a: &a [x]\n{more}", "a: b\n" * 300_000):
        answer = operator.post("/api/import/read/instructions", json={"name": "a.yaml", "text": text})
        assert answer.status_code == 422, answer.text[:200]
        assert operator.post("/api/import/read/profile", json={"name": "a.yaml", "text": text}).status_code == 422


def test_tables_of_instructions_are_read(operator: TestClient) -> None:
    url = "/api/import/read/instructions"
    for name, text in (
        ("a.csv", "\ufeffepisode,instruction\n0,Lift it.\n"),
        ("a.json", '{"0": "Lift it."}'),
        ("a.yaml", '"0": Lift it.\n'),
    ):
        assert operator.post(url, json={"name": name, "text": text}).json() == {"table": {"0": "Lift it."}}
    wrong = operator.post(url, json={"name": "a.csv", "text": "x,y\n1,2\n"})
    assert "expected episode and instruction" in wrong.json()["error"]["message"]

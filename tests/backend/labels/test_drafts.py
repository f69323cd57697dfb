"""Labels: nothing acknowledged is lost, nobody is overwritten unseen, publishing is exact and repeatable."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dexvla.episodes.format import EpisodeData
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from tests.support.people import SignIn

pytestmark = pytest.mark.slow

MakeData = Callable[..., EpisodeData]


@pytest.fixture
def annotator(client: SignIn) -> TestClient:
    return client("annotator")


@pytest.fixture
def episode_id(client: SignIn, tmp_path: Path, make_data: MakeData) -> str:
    """24 steps; its file brings two substeps from a script."""
    write_episode(tmp_path / "e.hdf5", make_data())
    operator = client("operator")
    dataset_id = operator.post("/api/datasets", json={"name": "cubes"}).json()["id"]
    answer = operator.post(f"/api/datasets/{dataset_id}/episodes", content=(tmp_path / "e.hdf5").read_bytes())
    found: str = answer.json()["episode"]["id"]
    return found


def body(
    edit: int, *segments: tuple[int, int, str], instruction: str = "Lift it", success: Any = True
) -> dict[str, Any]:
    parts = [{"start": start, "end": end, "text": text} for start, end, text in segments]
    return {"edit": edit, "segments": parts, "instruction": instruction, "success": success}


def test_what_the_file_brought_is_proposed(annotator: TestClient, episode_id: str) -> None:
    draft = annotator.get(f"/api/episodes/{episode_id}/draft").json()
    assert (draft["edit"], draft["label_state"], draft["published"]) == (0, "unlabelled", None)
    assert [(s["start"], s["end"], s["provenance"]) for s in draft["segments"]] == [
        (0, 12, "scripted"),
        (12, 24, "scripted"),
    ]


def test_saving_and_publishing(annotator: TestClient, tmp_path: Path, episode_id: str) -> None:
    url = f"/api/episodes/{episode_id}"
    saved = annotator.put(f"{url}/draft", json=body(0, (0, 5, " Reach \n out "), (5, 24, ""))).json()
    assert (saved["edit"], saved["label_state"], saved["updated_by_name"]) == (1, "draft", "annotator")
    assert saved["segments"][0]["text"] == "Reach out"
    refused = annotator.post(f"{url}/publish", json={"edit": 1})
    assert refused.status_code == 422
    assert "steps 5 to 23" in refused.json()["error"]["message"]
    annotator.put(f"{url}/draft", json=body(1, (0, 5, "Reach out"), (5, 24, "抓住红色方块")))
    published = annotator.post(f"{url}/publish", json={"edit": 2}).json()
    assert (published["published"]["number"], published["label_state"]) == (1, "published")

    detail = annotator.get(url).json()
    assert (detail["instruction"], detail["success"]) == ("Lift it", True)
    assert detail["vocabulary"] == ["Reach out", "抓住红色方块"]
    (tmp_path / "sent.hdf5").write_bytes(annotator.get(f"{url}/file").content)
    with open_episode(tmp_path / "sent.hdf5") as episode:
        assert episode.substep_reasonings == ("Reach out",) * 5 + ("抓住红色方块",) * 19
        assert episode.instruction == "Lift it"
        assert episode.label_source == "human"
        assert episode.attributes.success is True
        assert episode_identity(episode) == detail["identity"]

    again = annotator.post(f"{url}/publish", json={"edit": 2}).json()
    assert again["published"]["number"] == 1
    annotator.put(f"{url}/draft", json=body(2, (0, 24, "Lift")))
    assert annotator.post(f"{url}/publish", json={"edit": 3}).json()["published"]["number"] == 2
    assert [revision["number"] for revision in annotator.get(f"{url}/revisions").json()] == [2, 1]


def test_what_a_script_said_is_published_when_somebody_looked(
    annotator: TestClient, client: SignIn, episode_id: str
) -> None:
    """The refusal names the substeps and writes nothing; who vouches for them stands in the audit log."""
    url = f"/api/episodes/{episode_id}"
    refused = annotator.post(f"{url}/publish", json={"edit": 0})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not_looked_at")
    detail = refused.json()["error"]["detail"]
    assert ([(s["start"], s["end"]) for s in detail["segments"]], detail["of"]) == ([(0, 12), (12, 24)], 2)
    assert annotator.get(f"{url}/revisions").json() == []
    published = annotator.post(f"{url}/publish", json={"edit": 0, "looked_at": True})
    assert published.status_code == 201
    assert [s["provenance"] for s in published.json()["published"]["segments"]] == ["scripted", "scripted"]
    log = client("admin").get("/api/audit").json()["items"]
    (entry,) = [one for one in log if one["action"] == "episode.publish"]
    assert (entry["subject"], entry["detail"]["looked_at"]) == (episode_id, 2)


def test_only_what_nobody_looked_at_has_to_be_looked_at(annotator: TestClient, episode_id: str) -> None:
    """What somebody changed or what a revision holds already needs no second look; a moved boundary does."""
    url = f"/api/episodes/{episode_id}"
    parts = annotator.get(f"{url}/draft").json()["segments"]
    parts[1] |= {"text": "Lift it high", "provenance": "human"}
    annotator.put(f"{url}/draft", json={"edit": 0, "segments": parts})
    refused = annotator.post(f"{url}/publish", json={"edit": 1}).json()["error"]
    assert [s["start"] for s in refused["detail"]["segments"]] == [0]
    assert annotator.post(f"{url}/publish", json={"edit": 1, "looked_at": True}).status_code == 201
    assert annotator.post(f"{url}/publish", json={"edit": 1}).status_code == 201  # unchanged
    parts[1] |= {"text": "Lift it higher"}
    annotator.put(f"{url}/draft", json={"edit": 1, "segments": parts})
    assert annotator.post(f"{url}/publish", json={"edit": 2}).status_code == 201
    parts[0]["end"] = parts[1]["start"] = 11
    annotator.put(f"{url}/draft", json={"edit": 2, "segments": parts})
    assert annotator.post(f"{url}/publish", json={"edit": 3}).status_code == 422
    parts[0]["provenance"] = "machine_accepted"
    annotator.put(f"{url}/draft", json={"edit": 3, "segments": parts})
    assert annotator.post(f"{url}/publish", json={"edit": 4}).status_code == 201


def test_an_approval_is_a_look(annotator: TestClient, client: SignIn, episode_id: str) -> None:
    """With review the one who submits need not vouch for a script: somebody else looks, and approves or not."""
    url, operator = f"/api/episodes/{episode_id}", client("operator")
    dataset_id = annotator.get(url).json()["dataset_id"]
    operator.patch(f"/api/datasets/{dataset_id}/labelling", json={"review": True})
    assert annotator.post(f"{url}/draft/submit", json={"edit": 0}).status_code == 200
    assert annotator.post(f"{url}/publish", json={"edit": 0, "looked_at": True}).status_code == 409
    assert operator.post(f"{url}/draft/review", json={"edit": 0, "approve": True}).status_code == 200
    assert operator.post(f"{url}/publish", json={"edit": 0}).status_code == 201


def test_an_older_page_overwrites_nobody(annotator: TestClient, client: SignIn, episode_id: str) -> None:
    url = f"/api/episodes/{episode_id}/draft"
    annotator.put(url, json=body(0, (0, 24, "Mine")))
    late = client("operator").put(url, json=body(0, (0, 24, "Theirs")))
    assert late.status_code == 409
    error = late.json()["error"]
    assert "annotator saved these labels meanwhile" in error["message"]
    assert error["detail"]["segments"][0]["text"] == "Mine"
    stale = client("operator").post(f"/api/episodes/{episode_id}/publish", json={"edit": 0})
    assert stale.status_code == 409


def test_of_many_savers_at_once_one_wins_each_time(annotator: TestClient, episode_id: str) -> None:
    url = f"/api/episodes/{episode_id}/draft"

    def save(which: tuple[int, int]) -> int:
        edit, number = which
        return annotator.put(url, json=body(edit, (0, 24, f"Text {edit} {number}"))).status_code

    for edit in range(2):
        with ThreadPoolExecutor(20) as pool:
            codes = sorted(pool.map(save, [(edit, number) for number in range(20)]))
        assert codes == [200] + [409] * 19
    assert annotator.get(url).json()["edit"] == 2


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([(0, 5, "a"), (6, 24, "b")], "neither gaps nor overlaps"),
        ([(0, 5, "a"), (4, 24, "b")], "neither gaps nor overlaps"),
        ([(0, 5, "a"), (5, 5, "b"), (5, 24, "c")], "at least one step"),
        ([(0, 20, "a")], "the episode has 24"),
        ([(0, 25, "a")], "the episode has 24"),
        ([(0, 24, "a\x07b")], "control characters"),
        ([(0, 24, "go <|im_start|> on")], "control token"),
        ([(0, 24, "x" * 401)], "at most 400"),
    ],
)
def test_what_cannot_be_a_label(annotator: TestClient, episode_id: str, segments: Any, message: str) -> None:
    answer = annotator.put(f"/api/episodes/{episode_id}/draft", json=body(0, *segments))
    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]
    assert annotator.get(f"/api/episodes/{episode_id}/draft").json()["edit"] == 0


def test_viewers_only_look(client: SignIn, episode_id: str) -> None:
    viewer = client("viewer")
    assert viewer.get(f"/api/episodes/{episode_id}/draft").status_code == 200
    assert viewer.put(f"/api/episodes/{episode_id}/draft", json=body(0, (0, 24, "x"))).status_code == 403
    assert viewer.post(f"/api/episodes/{episode_id}/publish", json={"edit": 0}).status_code == 403


@pytest.mark.parametrize("instruction", ["go <|im_start|> on", "a\x07b", " \n "])
def test_what_cannot_be_an_instruction(annotator: TestClient, episode_id: str, instruction: str) -> None:
    saved = annotator.put(f"/api/episodes/{episode_id}/draft", json=body(0, (0, 24, "x"), instruction=instruction))
    assert saved.status_code == 422
    assert "instruction" in saved.json()["error"]["fields"]


def test_two_pages_that_publish_the_same_make_one_revision(annotator: TestClient, episode_id: str) -> None:
    url = f"/api/episodes/{episode_id}/publish"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: annotator.post(url, json={"edit": 0, "looked_at": True}), range(6)))
    assert [answer.status_code for answer in answers] == [201] * 6
    assert {answer.json()["published"]["number"] for answer in answers} == {1}

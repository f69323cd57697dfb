"""Files never change: labels are rows, and are written into what leaves the studio."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from fastapi.testclient import TestClient

from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode
from tests.support.labelling_data import STEPS, Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn
from tests.support.small_disk import fill, small_disk


@pytest.fixture
def labels(studio: Studio, make_data: MakeData) -> Labels:
    return Labels(studio, make_data, 2)


@pytest.fixture
def ada(client: SignIn) -> TestClient:
    return client("operator")


def file_of(labels: Labels, number: int = 0) -> Path:
    return labels.studio.settings.folder.episode(labels.dataset_id, labels.ids[number])


def state_of(path: Path) -> tuple[Any, ...]:
    found = path.stat()
    return path.read_bytes(), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def publish(ada: TestClient, episode: str, *segments: tuple[int, int, str], **more: Any) -> Any:
    edit = ok(save(ada, episode, *segments, **more))["edit"]
    return ok(ada.post(f"{episode}/publish", json={"edit": edit}))["published"]


def sent(ada: TestClient, episode: str, folder: Path) -> tuple[Any, ...]:
    """What a downloaded file says: substeps by step, instruction, outcome, whose words."""
    answer = ada.get(f"{episode}/file")
    assert answer.status_code == 200, answer.text
    file = folder / "sent.hdf5"
    file.write_bytes(answer.content)
    with open_episode(file) as found:
        return found.substep_reasonings, found.instruction, found.attributes.success, found.label_source


def test_whatever_is_done_to_labels_the_file_stays(labels: Labels, ada: TestClient, tmp_path: Path) -> None:
    before = state_of(file_of(labels))
    episode = labels.episode()
    first = publish(ada, episode, (0, 10, "Reach"), (10, STEPS, "Lift"), success=True, instruction="Lift it")
    publish(ada, episode, (0, STEPS, "All of it"), success=False)
    edit = ok(ada.get(f"{episode}/draft"))["edit"]
    ok(ada.post(f"{episode}/rollback", json={"revision_id": first["id"], "edit": edit}))
    ok(ada.post(f"{labels.url}/vocabulary/rename", json={"old": "Lift", "new": "Lift it high"}))
    ok(ada.post(f"{labels.url}/versions", json={}))
    expected = ("Reach",) * 10 + ("Lift it high",) * 14
    assert sent(ada, episode, tmp_path) == (expected, "Lift it", True, "human")
    assert state_of(file_of(labels)) == before
    assert {path.name for path in file_of(labels).parent.iterdir()} == {file_of(labels, n).name for n in (0, 1)}


def test_a_download_carries_the_newest_published_labels(labels: Labels, ada: TestClient, tmp_path: Path) -> None:
    episode = labels.episode()
    assert ada.get(f"{episode}/file").content == file_of(labels).read_bytes(), "without any, as it was taken in"
    publish(ada, episode, (0, STEPS, "Reach"), success=True)
    ok(save(ada, episode, (0, STEPS, "Not published")))
    assert sent(ada, episode, tmp_path) == (("Reach",) * STEPS, "Lift", True, "human")
    publish(ada, episode, (0, STEPS, "Lift"), success=None)
    assert sent(ada, episode, tmp_path) == (("Lift",) * STEPS, "Lift", None, "human")


def test_a_download_goes_on_unless_other_labels_were_published(labels: Labels, ada: TestClient) -> None:
    episode = labels.episode()
    publish(ada, episode, (0, STEPS, "Reach"))
    url = f"{episode}/file"
    whole = ada.get(url)
    assert int(whole.headers["content-length"]) == len(whole.content)
    for start, end in ((0, 99), (1000, len(whole.content) // 2), (len(whole.content) - 5000, len(whole.content) - 1)):
        headers = {"Range": f"bytes={start}-{end}", "If-Range": whole.headers["etag"]}
        part = ada.get(url, headers=headers)
        assert (part.status_code, part.content) == (206, whole.content[start : end + 1])
    assert ada.get(url, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    publish(ada, episode, (0, STEPS, "Lift"))
    changed = ada.get(url, headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]})
    assert (changed.status_code, changed.headers["etag"] == whole.headers["etag"]) == (200, False)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("红色方块", "filename*=utf-8''%E7%BA%A2%E8%89%B2%E6%96%B9%E5%9D%97-0.hdf5"),
        ('my "cubes"', 'filename="my--cubes-0.hdf5"'),
        ("…", 'filename="episode-0.hdf5"'),
    ],
)
def test_a_download_is_named_after_its_dataset(
    labels: Labels, ada: TestClient, studio: Studio, name: str, told: str
) -> None:
    with studio.db.transaction() as db:
        db.get_one(Dataset, labels.dataset_id).name = name
    publish(ada, labels.episode(), (0, STEPS, "Reach"))
    assert ada.get(f"{labels.episode()}/file").headers["content-disposition"] == f"attachment; {told}"


def test_a_full_disk_keeps_nobody_from_downloading(
    labels: Labels, ada: TestClient, studio: Studio, tmp_path: Path
) -> None:
    publish(ada, labels.episode(), (0, STEPS, "Reach"))
    content = file_of(labels).read_bytes()
    with small_disk(file_of(labels).parent, kib=2048):
        file_of(labels).write_bytes(content)
        fill(file_of(labels).parent)
        assert sent(ada, labels.episode(), tmp_path)[0] == ("Reach",) * STEPS
        publish(ada, labels.episode(), (0, STEPS, "Lift"))
        assert sent(ada, labels.episode(), tmp_path)[0] == ("Lift",) * STEPS


def test_a_file_that_is_gone_or_another_is_told_and_nothing_is_published(
    labels: Labels, ada: TestClient, make_episode: Callable[..., Path]
) -> None:
    path, episode = file_of(labels), labels.episode()
    publish(ada, episode, (0, STEPS, "Reach"))
    edit = ok(save(ada, episode, (0, STEPS, "Lift")))["edit"]
    (first,) = ok(ada.get(f"{episode}/revisions"))
    kept = path.rename(path.with_name("kept"))
    requests = (
        lambda: ada.post(f"{episode}/publish", json={"edit": edit}),
        lambda: ada.get(f"{episode}/file"),
    )
    for ask in requests:
        assert "is gone; restore it from a backup" in refusal(ask(), 404)["message"]
    make_episode(path, steps=STEPS, seed=9)
    for ask in requests:
        assert "holds another motion or other images than when it was taken in" in refusal(ask(), 422)["message"]
    assert ok(ada.get(f"{episode}/revisions")) == [first]
    kept.replace(path)
    ok(ada.post(f"{episode}/publish", json={"edit": edit}))


def test_a_file_that_was_labelled_when_its_studio_was_killed_is_the_episodes(
    labels: Labels, ada: TestClient, tmp_path: Path
) -> None:
    """The older studio wrote the file before its row: another size, and the same motion and frames."""
    with h5py.File(file_of(labels), "r+") as file:
        file.create_dataset("substep_reasonings", data=["An older label"] * STEPS)
    with labels.studio.db.transaction(write=False) as db:
        assert db.get_one(EpisodeRow, labels.ids[0]).size_bytes != file_of(labels).stat().st_size
    publish(ada, labels.episode(), (0, STEPS, "Reach"))
    assert sent(ada, labels.episode(), tmp_path)[0] == ("Reach",) * STEPS


def test_a_training_takes_labels_from_the_manifest(
    labels: Labels, ada: TestClient, studio: Studio, tmp_path: Path
) -> None:
    """What `dexvla train` is given: labels of the version, whatever file and rows say since."""
    publish(ada, labels.episode(), (0, 10, "Reach"), (10, STEPS, "Lift"), success=True, instruction="Lift it")
    version = ok(ada.post(f"{labels.url}/versions", json={}))["id"]
    publish(ada, labels.episode(), (0, STEPS, "Something else"), instruction="Later")
    manifest = studio.settings.folder.manifest(version)
    built, _ = build_manifest(find_set(str(manifest)))
    (entry,) = built.episodes
    assert [(one.start, one.end, one.text) for one in entry.substeps] == [(0, 10, "Reach"), (10, STEPS, "Lift")]
    assert (entry.instruction, entry.success, entry.label_source) == ("Lift it", True, "human")
    with open_episode(file_of(labels)) as episode:
        assert episode.substep_reasonings is None
    assert json.loads(manifest.read_bytes())["episodes"][0]["instruction"] == "Lift it"

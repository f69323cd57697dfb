"""A dataset's survey over the API: what is missing is said, what was measured is put together, oddities are named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from backend.studio.context import Studio
from backend.surveys import repository
from backend.tables.job import Job, JobKind
from dexvla.episodes.format import EpisodeData
from dexvla.episodes.reader import open_episode
from dexvla.episodes.traits import episode_traits
from dexvla.episodes.writer import write_episode
from tests.support.people import SignIn

MakeData = Callable[..., EpisodeData]


@pytest.fixture
def operator(client: SignIn) -> TestClient:
    return client("operator")


@pytest.fixture
def dataset(operator: TestClient, tmp_path: Path, make_data: MakeData) -> tuple[str, list[str]]:
    """Five episodes, of which the last drives its third joint a thousand times as far."""
    dataset_id = operator.post("/api/datasets", json={"name": "cubes"}).json()["id"]
    ids = []
    for number in range(5):
        data = make_data(seed=number)
        if number == 4:
            data.qpos[:, 2] *= np.float32(1000)
        file = tmp_path / f"{number}.hdf5"
        write_episode(file, data)
        url = f"/api/datasets/{dataset_id}/episodes"
        answer = operator.post(url, params={"name": file.name}, content=file.read_bytes())
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["episode"]["id"])
    return dataset_id, ids


def measure(studio: Studio, dataset_id: str, ids: list[str]) -> None:
    for episode_id in ids:
        with open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as episode:
            traits = episode_traits(episode)
        with studio.db.transaction() as db:
            repository.keep(db, episode_id, traits=traits, error=None)


def look(browser: TestClient, dataset_id: str) -> Any:
    answer = browser.get(f"/api/datasets/{dataset_id}/survey")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_is_missing_is_measured_by_one_job(
    operator: TestClient, studio: Studio, dataset: tuple[str, list[str]]
) -> None:
    dataset_id, ids = dataset
    before = look(operator, dataset_id)
    assert (before["missing"], before["survey"], before["episodes"]) == (5, None, [])
    jobs = [operator.post(f"/api/datasets/{dataset_id}/survey") for _ in range(2)]
    assert [job.status_code for job in jobs] == [202, 202]
    assert jobs[0].json()["id"] == jobs[1].json()["id"], "asked twice, it is measured once"
    with studio.db.transaction(write=False) as db:
        assert db.get_one(Job, jobs[0].json()["id"]).kind is JobKind.MEASURE
    measure(studio, dataset_id, ids)
    assert look(operator, dataset_id)["missing"] == 0
    refused = operator.post(f"/api/datasets/{dataset_id}/survey")
    assert refused.status_code == 409
    assert "All episodes of this dataset are measured" in refused.text


def test_what_stands_out_is_named_with_its_episode(
    operator: TestClient, studio: Studio, dataset: tuple[str, list[str]]
) -> None:
    dataset_id, ids = dataset
    measure(studio, dataset_id, ids)
    found = look(operator, dataset_id)
    assert [episode["id"] for episode in found["episodes"]] == ids
    assert found["survey"]["episodes"] == 5
    assert len(found["dimension_names"]) == len(found["survey"]["state"])
    told = [each for each in found["survey"]["outliers"] if each["kind"] == "range"]
    assert {found["episodes"][each["episode"]]["id"] for each in told} == {ids[4]}
    assert "state 2 goes from" in told[0]["text"]


def test_an_episode_that_is_gone_is_left_out_and_one_that_is_new_is_missing(
    operator: TestClient, studio: Studio, dataset: tuple[str, list[str]]
) -> None:
    dataset_id, ids = dataset
    measure(studio, dataset_id, ids[:4])
    assert look(operator, dataset_id)["missing"] == 1
    assert operator.delete(f"/api/episodes/{ids[0]}").status_code == 204
    found = look(operator, dataset_id)
    assert [episode["id"] for episode in found["episodes"]] == ids[1:4]
    with studio.db.transaction() as db:
        repository.keep(db, ids[4], traits=None, error="camera cam, step 3: it is cut short")
    found = look(operator, dataset_id)
    assert found["missing"] == 0
    assert [(each["id"], each["error"]) for each in found["unreadable"]] == [
        (ids[4], "camera cam, step 3: it is cut short")
    ]
    again = operator.post(f"/api/datasets/{dataset_id}/survey")
    assert again.status_code == 202, "its file may be whole again"
    assert "Measure 1 episode:" in again.json()["title"]
    assert look(operator, dataset_id)["unreadable"] == []


def test_who_may(client: SignIn, dataset: tuple[str, list[str]]) -> None:
    viewer = client("viewer")
    assert viewer.get(f"/api/datasets/{dataset[0]}/survey").status_code == 200
    assert viewer.post(f"/api/datasets/{dataset[0]}/survey").status_code == 403
    assert viewer.get(f"/api/datasets/{'0' * 32}/survey").status_code == 404

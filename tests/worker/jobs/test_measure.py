"""Measuring as a job: every episode that can be read, once, and those that cannot with the reason."""

from pathlib import Path

import pytest

from backend.datasets.jobs import RecordPayload
from backend.surveys import repository
from backend.surveys.jobs import MeasurePayload
from backend.tables.dataset import Dataset
from backend.tables.job import JobKind, JobState
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RecordSpec
from tests.support.team import Team

SMALL = tuple(CameraSpec(name=name, height=48, width=64) for name in ALOHA_CAMERAS[:1])


@pytest.fixture
def dataset(team: Team) -> str:
    with team.studio.db.transaction() as db:
        row = Dataset(name="cubes")
        db.add(row)
    dataset_id = row.id
    payload = RecordPayload(dataset_id=dataset_id, spec=RecordSpec(episodes=3, seed=0, cameras=SMALL))
    assert team.runner(team.enqueue(JobKind.RECORD, payload, subject_id=dataset_id, total=3)).wait(120) == 0
    return dataset_id


def test_each_episode_is_measured_once_and_a_broken_one_is_told(team: Team, dataset: str) -> None:
    with team.studio.db.transaction(write=False) as db:
        ids = list(repository.missing(db, dataset))
    broken: Path = team.settings.folder.episode(dataset, ids[0])
    broken.write_bytes(broken.read_bytes()[:4000])
    job_id = team.enqueue(JobKind.MEASURE, MeasurePayload(dataset_id=dataset), subject_id=dataset, total=len(ids))
    assert team.runner(job_id).wait(120) == 0
    job = team.job(job_id)
    assert (job.state, job.done) == (JobState.DONE, len(ids)), team.log(job_id)
    with team.studio.db.transaction(write=False) as db:
        assert not repository.missing(db, dataset)
        rows = repository.measured(db, dataset)
    assert [row.traits is None for row in rows] == [row.id == ids[0] for row in rows]
    assert "HDF5" in (rows[0].error or "")
    assert str(broken) not in (rows[0].error or "")

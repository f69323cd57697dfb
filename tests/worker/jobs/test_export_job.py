"""An export as a job: real episodes through `dexvla export` into a folder that is whole, and not there if it fails."""

import io
import tarfile
from pathlib import Path

from backend.core.downloads import Content
from backend.core.roles import Role
from backend.exports import service
from backend.exports.files import archive_parts
from backend.exports.schemas import ExportChoice, ExportIn, Outcome
from backend.identity.actor import Actor
from backend.tables.episode import EpisodeRow
from backend.tables.export import Export
from backend.tables.job import Job, JobState
from backend.tables.user import User
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.reader import open_episode
from tests.support.labelling_data import STEPS, Labels, MakeData
from tests.support.team import Team


def operator(team: Team) -> Actor:
    with team.studio.db.transaction() as db:
        user = User(name="ada", role=Role.OPERATOR, password_hash="")
        db.add(user)
        db.flush()
        return Actor(id=user.id, name=user.name, role=user.role)


def export(team: Team, labels: Labels, *, format_name: str = "episodes", **choice: object) -> tuple[str, str]:
    """Its id, and its job's."""
    body = ExportIn(format=format_name, choice=ExportChoice.model_validate(choice))
    me = operator(team)
    with team.studio.db.transaction() as db:
        made = service.create(db, me, team.studio, labels.dataset_id, body)
    assert made.job is not None
    return made.id, made.job.id


def row(team: Team, export_id: str) -> Export:
    with team.studio.db.transaction(write=False) as db:
        return db.get_one(Export, export_id)


def test_chosen_episodes_are_written_and_archived(team: Team, make_data: MakeData, tmp_path: Path) -> None:
    labels = Labels(team.studio, make_data, 3)
    with team.studio.db.transaction() as db:
        for number in (0, 2):
            db.get_one(EpisodeRow, labels.ids[number]).success = True
    export_id, job_id = export(team, labels, outcomes=[Outcome.SUCCESS])
    assert team.runner(job_id).wait(120) == 0
    job = team.job(job_id)
    assert (job.state, job.done, job.total) == (JobState.DONE, 2, 2), team.log(job_id)
    made, folder = row(team, export_id), team.settings.folder.export(export_id)
    assert job.result == {"episodes": 2, "files": 2, "size_bytes": made.size_bytes}
    assert sorted(path.name for path in folder.iterdir()) == ["episode_0.hdf5", "episode_2.hdf5"]
    content = Content(name="", parts=archive_parts(folder, made.name, made=made.created_at), tag="", media_type="")
    with tarfile.open(fileobj=io.BytesIO(b"".join(content.read(0, content.size)))) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    for number in (0, 2):
        original = team.settings.folder.episode(labels.dataset_id, labels.ids[number])
        with (
            open_episode(tmp_path / "out" / made.name / f"episode_{number}.hdf5") as one,
            open_episode(original) as other,
        ):
            assert episode_identities(one).value == episode_identities(other).value
            assert (one.steps, one.attributes.success) == (STEPS, True)
    assert not (team.settings.folder.job(job_id) / "episodes").exists()


def test_a_broken_episode_fails_it_and_nothing_stays(team: Team, make_data: MakeData) -> None:
    labels = Labels(team.studio, make_data, 2)
    export_id, job_id = export(team, labels)
    labels.studio.settings.folder.episode(labels.dataset_id, labels.ids[1]).write_bytes(b"not HDF5")
    assert team.runner(job_id).wait(120) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED, team.log(job_id)
    assert "episode_1.hdf5" in (job.cause or "")
    assert list(team.settings.folder.exports.iterdir()) == []
    assert row(team, export_id).finished_at is None


def test_an_episode_that_was_deleted_meanwhile_is_named(team: Team, make_data: MakeData) -> None:
    labels = Labels(team.studio, make_data, 2)
    _, job_id = export(team, labels)
    with team.studio.db.transaction() as db:
        path = team.settings.folder.episode(labels.dataset_id, labels.ids[0])
        path.unlink()
        assert db.get_one(Job, job_id).state is JobState.QUEUED
    assert team.runner(job_id).wait(120) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED
    assert "was deleted meanwhile" in (job.cause or "")

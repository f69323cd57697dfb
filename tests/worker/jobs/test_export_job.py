"""An export as a job: real episodes through `dexvla export` into a folder that is whole, and not there if it fails."""

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest

from backend.core.db import utc_now
from backend.core.downloads import Content
from backend.exports import service
from backend.exports.files import archive_parts
from backend.exports.schemas import ExportChoice, ExportIn, Outcome
from backend.tables.episode import EpisodeRow
from backend.tables.export import Export
from backend.tables.job import JobState
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.reader import open_episode
from tests.support.labelling_data import STEPS, Labels, MakeData
from tests.support.team import Team, operator
from worker.jobs.handlers.export import _linked


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


def test_an_episode_that_went_away_meanwhile_is_named(team: Team, make_data: MakeData) -> None:
    labels = Labels(team.studio, make_data, 2)
    _, without_file = export(team, labels)
    _, without_row = export(team, labels)
    path = team.settings.folder.episode(labels.dataset_id, labels.ids[0])
    content = path.read_bytes()
    path.unlink()
    assert team.runner(without_file).wait(120) == 0
    assert team.job(without_file).state is JobState.FAILED
    assert "the file of episode 0 is gone" in (team.job(without_file).cause or "")
    path.write_bytes(content)
    with team.studio.db.transaction() as db:
        gone = db.get_one(EpisodeRow, labels.ids[1])
        gone.deleted_at = gone.freed_at = utc_now()
    assert team.runner(without_row).wait(120) == 0
    assert team.job(without_row).state is JobState.FAILED
    assert "was deleted meanwhile" in (team.job(without_row).cause or "")


def test_an_attempt_that_was_killed_leaves_nothing_for_good(team: Team, make_data: MakeData) -> None:
    """Neither what it half wrote, nor the links to episodes, which would keep their space once they are deleted."""
    labels = Labels(team.studio, make_data, 1)
    export_id, job_id = export(team, labels)
    exports = team.settings.folder.exports
    half = exports / f".{export_id}.0badc0de.tmp"
    half.mkdir(parents=True)
    (half / "episode_0.hdf5").write_bytes(b"half")
    links = team.settings.folder.export_links(job_id)
    links.mkdir(parents=True)
    assert team.runner(job_id).wait(120) == 0
    assert [path.name for path in exports.iterdir()] == [export_id]
    links.mkdir()  # of a later attempt that was ended by others
    with team.studio.db.transaction() as db:
        service.delete(db, operator(team), team.studio, labels.dataset_id, export_id)
    team.until(lambda: not links.exists() and not list(exports.iterdir()), "all of it is gone")


@pytest.mark.parametrize("copied", [False, True])
def test_a_full_disk_is_told_and_a_disk_without_links_is_not(
    copied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"episode")

    def refuse(number: int) -> None:
        def links(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", links)

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        refuse(number)
        with pytest.raises(OSError, match=os.strerror(number)):
            _linked(file, link, copied=copied)
        assert not link.exists()
    refuse(errno.EPERM)
    assert _linked(file, link, copied=copied) is copied
    assert link.exists() is copied

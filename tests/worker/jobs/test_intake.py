"""Recording and importing as jobs: the dataset fills step by step, nothing comes twice, bad files stop nothing."""

import shutil
from pathlib import Path

import h5py
from sqlalchemy import select

from backend.datasets.jobs import ImportPayload, RecordPayload
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.job import JobKind, JobState
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel, PickSplit
from dexvla.robots.aloha_sim.pick_colour import draw_scene
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RecordSpec, RecoveryOptions
from tests.support.team import PATIENCE, Team
from worker.jobs.handlers.import_folder import gone

SMALL = tuple(CameraSpec(name=name, height=48, width=64) for name in ALOHA_CAMERAS[:1])


def new_dataset(team: Team) -> str:
    with team.studio.db.transaction() as db:
        dataset = Dataset(name="cubes")
        db.add(dataset)
    return dataset.id


def episodes(team: Team, dataset_id: str) -> list[EpisodeRow]:
    with team.studio.db.transaction(write=False) as db:
        query = select(EpisodeRow).where(EpisodeRow.dataset_id == dataset_id).order_by(EpisodeRow.number)
        return list(db.scalars(query))


def record(team: Team, dataset_id: str, *, count: int, seed: int = 0) -> str:
    spec = RecordSpec(episodes=count, seed=seed, cameras=SMALL)
    payload = RecordPayload(dataset_id=dataset_id, spec=spec)
    return team.enqueue(JobKind.RECORD, payload, subject_id=dataset_id, total=count)


def test_what_another_machine_has_is_not_called_removed(team: Team) -> None:
    folder = Path("/srv/studio/staging") / ("a" * 32) / "as_sent-0123"
    assert "it was uploaded to another machine of the studio" in gone(team.studio, folder)
    assert "holds no episode any more" in gone(team.studio, Path("/srv/recordings/set/as_sent"))
    team.settings.folder.staging_lock.touch()
    assert "holds no episode any more" in gone(team.studio, folder)


def test_a_recording_fills_the_dataset_and_goes_on_after_an_interruption(team: Team) -> None:
    dataset_id = new_dataset(team)
    job_id = record(team, dataset_id, count=4)
    runner = team.runner(job_id)
    team.until(lambda: episodes(team, dataset_id), "the first episode is there")
    assert team.job(job_id).state is JobState.RUNNING, "it appears while the others are recorded"
    runner.terminate()
    assert runner.wait(PATIENCE) == 0
    job = team.job(job_id)
    assert job.state is JobState.QUEUED
    assert "goes on after the episodes" in (job.cause or "")
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert (job.state, job.done, job.total) == (JobState.DONE, 4, 4), team.log(job_id)
    found = episodes(team, dataset_id)
    seeds = [episode.seed for episode in found]
    assert len(seeds) == len(set(seeds))
    assert job.result is not None
    assert sorted(job.result["episodes"]) == sorted(episode.id for episode in found)
    assert job.result["failed"] == 4 - len(seeds)
    assert not list((team.settings.folder.job(job_id) / "episodes").iterdir())
    files = {path.stem for path in (team.settings.folder.episodes / dataset_id).iterdir()}
    assert files == {episode.id for episode in found}


def test_demonstrations_of_pick_colour_are_recorded_with_their_options(team: Team) -> None:
    dataset_id = new_dataset(team)
    pick = PickColourOptions(level=PickLevel.JITTER, split=PickSplit.HELD_OUT, swapped=True)
    spec = RecordSpec(task=AlohaTask.PICK_COLOUR, pick=pick, episodes=1, seed=6, cameras=SMALL)
    payload = RecordPayload(dataset_id=dataset_id, spec=spec)
    job_id = team.enqueue(JobKind.RECORD, payload, subject_id=dataset_id, total=1)
    assert team.runner(job_id).wait(PATIENCE) == 0
    (row,) = episodes(team, dataset_id)
    scene = draw_scene(6, pick)
    assert row.instruction == scene.instruction
    with h5py.File(team.settings.folder.episodes / dataset_id / f"{row.id}.hdf5") as file:
        stored = [file.attrs[name] for name in ("task", "level", "split", "swapped", "named_colour")]
    assert stored == ["pick_colour", "jitter", "held_out", True, scene.named]


def test_demonstrations_with_recoveries_are_recorded_with_their_options(team: Team) -> None:
    dataset_id = new_dataset(team)
    recovery = RecoveryOptions(push=1, miss=0, slip=0, wide_start=0, fastest=1.25, noise=0.004)
    spec = RecordSpec(task=AlohaTask.PICK_COLOUR, recovery=recovery, episodes=1, seed=6, cameras=SMALL)
    payload = RecordPayload(dataset_id=dataset_id, spec=spec)
    job_id = team.enqueue(JobKind.RECORD, payload, subject_id=dataset_id, total=1)
    assert team.runner(job_id).wait(PATIENCE) == 0
    (row,) = episodes(team, dataset_id)
    with h5py.File(team.settings.folder.episodes / dataset_id / f"{row.id}.hdf5") as file:
        assert (file.attrs["mishaps"], file.attrs["wide_start"]) == ("push", False)
        assert file.attrs["execution_noise"] == recovery.noise


def test_an_import_lists_what_it_refused_and_takes_the_rest(team: Team, demos: Path) -> None:
    dataset_id = new_dataset(team)
    folder = team.settings.data.parent / "incoming"
    shutil.copytree(demos, folder / "deep")
    good = len(list((folder / "deep").glob("*.hdf5")))
    assert good
    (folder / "broken.hdf5").write_bytes(b"not an HDF5 file at all")
    (folder / "notes.txt").write_text("ignored")
    shutil.copy(next((folder / "deep").glob("*.hdf5")), folder / "twin.hdf5")
    job_id = team.enqueue(JobKind.IMPORT, ImportPayload(dataset_id=dataset_id, folder=str(folder)))
    assert team.runner(job_id).wait(180) == 0
    job = team.job(job_id)
    assert job.state is JobState.DONE, team.log(job_id)
    assert job.result is not None
    assert len(job.result["accepted"]) == good == len(episodes(team, dataset_id))
    assert [entry["name"] for entry in job.result["refused"]] == ["broken.hdf5"]
    assert job.result["refused"][0]["errors"]
    assert job.result["already_there"] == 1
    assert job.result["guesses"] == []
    assert not (team.settings.folder.job(job_id) / "staged").exists()
    assert (job.done, job.total) == (good + 2, good + 2)


def test_an_import_of_a_folder_that_is_gone_says_so(team: Team) -> None:
    job_id = team.enqueue(JobKind.IMPORT, ImportPayload(dataset_id=new_dataset(team), folder="/nowhere/at/all"))
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED
    assert "/nowhere/at/all: holds no" in (job.cause or "")

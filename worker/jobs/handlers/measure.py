"""Measure the episodes of a dataset that were not measured yet: `python -m worker.jobs.handlers.measure JOB_ID`,
started by its runner. Each is kept as it is done, so that a later attempt goes on with the next."""

from backend.core.errors import NotFoundError
from backend.core.settings import Settings
from backend.episodes.files import file_of
from backend.jobs import repository as jobs
from backend.jobs.kinds import payload_of
from backend.studio import events
from backend.studio.context import Studio
from backend.surveys import repository
from backend.surveys.jobs import MeasurePayload
from backend.tables.episode import EpisodeRow
from dexvla import console
from dexvla.episodes.reader import open_episode
from dexvla.episodes.traits import episode_traits
from dexvla.errors import EpisodeError
from dexvla.spec.survey import EpisodeTraits
from worker.jobs.handlers.command import as_command


def measure(settings: Settings, job_id: str) -> None:
    studio = Studio.open(settings)
    try:
        with studio.db.transaction(write=False) as db:
            job = jobs.get(db, job_id)
            assert job is not None
            dataset_id = payload_of(job, MeasurePayload).dataset_id
            left = repository.missing(db, dataset_id)
        with console.bar("measuring", total=len(left)) as bar:
            for episode_id in left:
                with studio.db.transaction(write=False) as db:
                    row = db.get(EpisodeRow, episode_id)
                if row is None:
                    continue
                traits, error = _traits(studio, row)
                with studio.db.transaction() as db:
                    if db.get(EpisodeRow, episode_id) is not None:  # it may have been removed meanwhile
                        repository.keep(db, episode_id, traits=traits, error=error)
                bar.advance(f"episode {row.number}")
        events.publish(studio, "dataset", dataset_id)
    finally:
        studio.close()


def _traits(studio: Studio, row: EpisodeRow) -> tuple[EpisodeTraits | None, str | None]:
    path = None
    try:
        path = file_of(studio, row)
        with open_episode(path) as episode:
            return episode_traits(episode), None
    except (EpisodeError, NotFoundError) as error:
        return None, str(error).replace(f"{path}: ", "").replace(str(path), "the file")


if __name__ == "__main__":
    as_command(measure)

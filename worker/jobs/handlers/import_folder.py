"""Take the episodes of a folder, in whatever format, into a dataset: `python -m worker.jobs.handlers.import_folder
JOB_ID`, started by its runner.

Each is made a file of ours in a folder of the job's, by a process that can do little harm, then taken in as any other.
What became of each episode is written down as it happens, so that a later attempt goes on with the next one. Episodes
that are refused stop nothing.
"""

import json
import os
import shutil
from pathlib import Path

from backend.core.errors import ApiError, UnavailableError
from backend.core.settings import Settings
from backend.datasets.jobs import ImportPayload
from backend.intake.accept import AlreadyThereError, RefusedError, accept
from backend.intake.conversion import Converted, NotConverted, conversions
from backend.jobs import repository
from backend.jobs.kinds import payload_of
from backend.studio.context import Studio
from backend.tables.episode import EpisodeSource
from dexvla import console
from dexvla.errors import UserError
from worker.jobs.handlers.command import as_command

OUTCOMES = "imported.jsonl"
STAGED = "staged"  # in the job's folder: what is made and not taken in yet


def import_folder(settings: Settings, job_id: str) -> None:
    """Raises UserError if the folder holds no episode, or nothing more can be taken (a full disk)."""
    studio = Studio.open(settings)
    try:
        with studio.db.transaction(write=False) as db:
            job = repository.get(db, job_id)
            assert job is not None
            wanted, created_by = payload_of(job, ImportPayload), job.created_by
        folder, here = Path(wanted.folder), settings.folder.job(job_id)
        if not folder.is_dir():
            raise UserError(gone(studio, folder))
        outcomes, staged = here / OUTCOMES, here / STAGED
        known = {str(line["file"]) for line in read_outcomes(outcomes)}
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        with console.bar("importing", total=0) as bar:
            done = len(known)
            for became in conversions(folder, staged, wanted.whole_profile, done=known):
                bar.expect(became.total)
                outcome = _take(studio, wanted, became, created_by)
                _append(outcomes, {"file": became.name, **outcome})
                done += 1
                bar.set(done, shown(became.name))
        shutil.rmtree(staged, ignore_errors=True)
    except UnavailableError:  # the store, or what reads files: the job is tried again, and goes on with this episode
        raise
    except ApiError as error:  # a full disk, the dataset deleted: nothing that follows would do better
        raise UserError(str(error)) from error
    finally:
        studio.close()


def gone(studio: Studio, folder: Path) -> str:
    """Why a folder is not here, in words: what was uploaded lies on the machine of the API."""
    here = studio.settings.folder
    uploaded = folder.parent.parent.name == here.staging.name
    if uploaded and not here.staging_lock.exists():  # no API has this disk
        return (
            f"{folder}: it was uploaded to another machine of the studio, which this worker does not share files with; "
            "run a worker on that machine, or import from a folder that this one has, too"
        )
    return f"{folder}: holds no episode any more; it was moved, renamed or removed"


def _take(
    studio: Studio, wanted: ImportPayload, became: Converted | NotConverted, created_by: str | None
) -> dict[str, object]:
    if isinstance(became, NotConverted):
        return {"errors": [became.reason]}
    try:
        accepted = accept(
            studio,
            dataset_id=wanted.dataset_id,
            file=became.file,
            source=EpisodeSource.IMPORTED,
            original_name=shown(became.name),
            created_by=created_by,
            guesses=became.guesses,
        )
    except RefusedError as error:
        return {"errors": error.errors}
    except AlreadyThereError as error:
        return {"already_there": error.episode_id}
    finally:
        became.file.unlink(missing_ok=True)
    said = [*became.warnings, *(text for text in accepted.warnings if text not in became.warnings)]
    return {"episode_id": accepted.episode_id, "warnings": said, "guesses": list(became.guesses)}


def shown(name: str) -> str:
    """A name that holds bytes which are no text, as it can be shown."""
    return os.fsencode(name).decode(errors="replace")


def _append(path: Path, line: dict[str, object]) -> None:
    with path.open("ab", buffering=0) as file:
        file.write((json.dumps(line) + "\n").encode())


def read_outcomes(path: Path) -> list[dict[str, object]]:
    """One an episode: {"file", "episode_id", "warnings", "guesses"} or {"file", "errors"} or {"file", "already_there"}.
    file: its name in the source.

    A last line that was cut off by a kill is left out.
    """
    if not path.exists():
        return []
    found = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return found


if __name__ == "__main__":
    as_command(import_folder)

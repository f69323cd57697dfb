"""Take the episode files of a folder into a dataset: `python -m worker.jobs.handlers.import_folder JOB_ID`, started by
its runner.

What became of each file is written down as it happens, so that a later attempt goes on with the next one. Files that
are refused stop nothing.
"""

import json
import os
from pathlib import Path

from backend.core.errors import ApiError
from backend.core.settings import Settings
from backend.datasets.jobs import ImportPayload
from backend.datasets.roots import episode_files
from backend.intake.accept import AlreadyThereError, RefusedError, accept
from backend.jobs import repository
from backend.jobs.kinds import payload_of
from backend.store.base import StoreAwayError
from backend.studio.context import Studio
from backend.tables.episode import EpisodeSource
from dexvla import console
from dexvla.errors import UserError
from worker.jobs.handlers.command import as_command

OUTCOMES = "imported.jsonl"


def import_folder(settings: Settings, job_id: str) -> None:
    """Raises UserError if the folder holds no episode file, or nothing more can be taken (a full disk)."""
    studio = Studio.open(settings)
    try:
        with studio.db.transaction(write=False) as db:
            job = repository.get(db, job_id)
            assert job is not None
            wanted, created_by = payload_of(job, ImportPayload), job.created_by
        folder, outcomes = Path(wanted.folder), settings.folder.job(job_id) / OUTCOMES
        files = episode_files(folder)
        if not files:
            raise UserError(f"{folder}: holds no *.hdf5 file any more")
        known = {line["file"] for line in read_outcomes(outcomes)}
        with console.bar("importing", total=len(files)) as bar:
            for file in files:
                name = os.fsencode(file.relative_to(folder)).decode(errors="replace")  # as it can be shown
                if name not in known:
                    outcome = _take(studio, wanted, file, name, created_by)
                    _append(outcomes, {"file": name, **outcome})
                bar.advance(name)
    finally:
        studio.close()


def _take(studio: Studio, wanted: ImportPayload, file: Path, name: str, created_by: str | None) -> dict[str, object]:
    try:
        accepted = accept(
            studio,
            dataset_id=wanted.dataset_id,
            instruction=wanted.instruction,
            file=file,
            source=EpisodeSource.IMPORTED,
            original_name=name,
            created_by=created_by,
        )
    except RefusedError as error:
        return {"errors": error.errors}
    except AlreadyThereError as error:
        return {"already_there": error.episode_id}
    except StoreAwayError:  # the job is tried again, and goes on with this file
        raise
    except ApiError as error:  # a full disk, the dataset deleted: nothing that follows would do better
        raise UserError(str(error)) from error
    except FileNotFoundError:
        return {"errors": ["it is gone; somebody removed it while the folder was imported"]}
    except PermissionError:
        return {"errors": ["it may not be read by the studio's account; change its permissions"]}
    return {"episode_id": accepted.episode_id, "warnings": accepted.warnings}


def _append(path: Path, line: dict[str, object]) -> None:
    with path.open("ab", buffering=0) as file:
        file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def read_outcomes(path: Path) -> list[dict[str, object]]:
    """One a file: {"file", "episode_id", "warnings"} or {"file", "errors"} or {"file", "already_there"}.

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

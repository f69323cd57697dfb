"""Imports: what there is below the roots, how it looks, and the job that takes it in."""

import threading
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.core.errors import InvalidError, NotFoundError
from backend.core.limits import one_line, wrong_with
from backend.core.turns import Turns
from backend.datasets import repository as datasets
from backend.datasets.jobs import ImportPayload
from backend.datasets.roots import Candidate, candidate, candidates
from backend.identity.actor import Actor
from backend.imports import profiles
from backend.imports.schemas import ImportCandidate, ImportIn, ImportPreviewIn, ImportPreviewOut
from backend.intake.conversion import look
from backend.jobs import service as jobs
from backend.jobs.schemas import JobOut
from backend.studio.context import Studio
from backend.tables.job import JobKind
from dexvla.errors import UserError
from dexvla.spec import ImportProfile

# of an episode that cannot be opened
_UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(
        ("state", "action", "kept_state", "kept_action", "instruction", "times", "labels", "robot", "success")
    ),
    **dict.fromkeys(("steps", "kept_steps", "base_dimensions"), 0),
    **{name: [] for name in ("cameras", "warnings", "guesses", "guessed")},
    "folder": "",
}
_TURNS = Turns(at_once=2, waiting=8)  # previews: each is a process that reads foreign files


def import_candidates(studio: Studio) -> list[ImportCandidate]:
    return [_candidate_out(one) for one in candidates(studio.settings.import_roots)]


def _candidate_out(found: Candidate) -> ImportCandidate:
    return ImportCandidate(
        id=found.id,
        root=str(found.root),
        folder=str(found.path.relative_to(found.root.resolve())),
        files=found.files,
        size_bytes=found.size_bytes,
        kinds=list(found.kinds),
    )


def preview(studio: Studio, body: ImportPreviewIn) -> ImportPreviewOut:
    """Raises NotFoundError for the folder, InvalidError where nothing can be shown of it, TooManyError."""
    source = _candidate(studio, body.candidate_id).path
    return preview_of(source, body.profile, body.episode)


def preview_of(
    source: Path, profile: ImportProfile, episode: str | None = None, *, name: str | None = None
) -> ImportPreviewOut:
    """source: a folder that the server chose. name: what people call it."""
    with _TURNS.turn(threading.Event()):
        try:
            return ImportPreviewOut.model_validate({**_UNKNOWN, **look(source, profile, episode=episode)})
        except UserError as error:
            raise InvalidError(f"{name or source.name}: {error}.") from error


def import_folder(db: Session, me: Actor, studio: Studio, dataset_id: str, body: ImportIn) -> JobOut:
    found = _candidate(studio, body.candidate_id)
    if body.profile is not None:
        profile = body.profile
    elif body.profile_id is not None:
        profile = profiles.profile_of(profiles.found(db, body.profile_id))
    else:
        profile = ImportProfile()
    if body.instruction:
        profile = profile.model_copy(update={"instruction": body.instruction})
    return start_import(db, studio, me, dataset_id, found.path, profile, files=found.files)


def start_import(
    db: Session,
    studio: Studio,
    me: Actor,
    dataset_id: str,
    source: Path,
    profile: ImportProfile,
    *,
    files: int | None = None,
    name: str | None = None,
) -> JobOut:
    """Queue the import of a folder that the server chose: below a root, or what was uploaded.

    profile: its `format` names that of the source; None: found by looking. files: how many there are, where known.
    name: what people call the folder.
    Raises NotFoundError for the dataset, InvalidError for an instruction that may be none.
    """
    row = datasets.by_id(db, dataset_id)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    profile = _plain_texts(profile)
    what = "" if files is None else f"{files} {'file' if files == 1 else 'files'} from "
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.IMPORT,
        title=f"Import {what}{name or source.name}: {row.name}"[:256],
        payload=ImportPayload(dataset_id=row.id, folder=str(source), profile=profile),
        subject_id=row.id,
        total=files,
    )
    return jobs.job_out(db, job)


def _plain_texts(profile: ImportProfile) -> ImportProfile:
    """Its instructions on one line each. Raises InvalidError for what may be no instruction."""
    for name, text in [("instruction", profile.instruction or ""), *profile.instruction_table.items()]:
        if wrong := wrong_with(one_line(text)):
            raise InvalidError(
                f"The instruction{'' if name == 'instruction' else f' of {name}'} holds {wrong}.",
                fields={"instruction": f"it holds {wrong}"},
            )
    texts = {name: one_line(text) for name, text in profile.instruction_table.items()}
    own = one_line(profile.instruction or "") or None
    return profile.model_copy(update={"instruction": own, "instruction_table": texts})


def _candidate(studio: Studio, candidate_id: str) -> Candidate:
    found = candidate(studio.settings.import_roots, candidate_id)
    if found is None:
        raise NotFoundError("That folder is not there any more, or holds no episodes; look at the list again.")
    return found

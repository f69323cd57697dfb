"""Edits of a studio's episodes, done here and now instead of by a worker."""

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from backend.editing import finishing, repository
from backend.episodes.files import file_of
from backend.studio.context import Studio
from dexvla.editing.many import plan_edits, write_edits
from dexvla.spec import PlannedEdit
from tests.support.labelling_data import ok


def made(studio: Studio, edit_id: str, staged: Path) -> None:
    """What the job of an edit does."""
    with studio.db.transaction(write=False) as db:
        edit = repository.by_id(db, edit_id)
        assert edit is not None
        rows = repository.episodes(db, [one["episode_id"] for one in edit.sources])
    edits = [
        PlannedEdit(
            sources=tuple(str(file_of(studio, rows[key])) for key in item["sources"]),
            name=item["result"],
            edit=item["edit"],
        )
        for item in edit.items
        if item["edit"] is not None
    ]
    write_edits(plan_edits(edits, staged))
    finishing.finish(studio, edit_id, finishing.place(studio, edit, staged), studio.db.transaction)


def edited(browser: TestClient, studio: Studio, url: str, staged: Path, **body: Any) -> Any:
    """The edit, done, as the list shows it."""
    edit = ok(browser.post(f"{url}/edits", json=body))
    assert edit["finished_at"] is None
    made(studio, edit["id"], staged)
    return next(one for one in ok(browser.get(f"{url}/edits")) if one["id"] == edit["id"])

"""Edits of many files: planned first, so that what is wrong with one is told before any is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dexvla.editing.apply import Edited, apply_edit, check_edit
from dexvla.errors import EpisodeExistsError, UserError
from dexvla.spec import PlannedEdit


@dataclass(frozen=True, kw_only=True)
class Planned:
    """An edit that fits its sources. file: where it will be. notes: what will be left out."""

    what: PlannedEdit
    file: Path
    notes: tuple[str, ...]

    def to_json(self, *, written: bool) -> dict[str, Any]:
        return {
            **self.what.model_dump(mode="json"),
            "steps": self.what.edit.steps,
            "notes": list(self.notes),
            "file": str(self.file) if written else None,
        }


def plan_edits(edits: Sequence[PlannedEdit], out: Path) -> tuple[Planned, ...]:
    """Look at all sources; nothing is written. Raises UserError for the first that does not fit, for two files of one
    name and for one that is there already."""
    names: set[str] = set()
    planned = []
    for one in edits:
        file = out / f"{one.name}.hdf5"
        if one.name.casefold() in names:
            raise UserError(f"two new episodes would be called {file.name}; give them different names")
        names.add(one.name.casefold())
        if file.exists():
            raise EpisodeExistsError(f"{file} exists already; episodes are never overwritten, name another folder")
        if one.identities is not None and len(one.identities) != len(one.sources):
            raise UserError(f"{one.name}: {len(one.identities)} identities for {len(one.sources)} sources")
        planned.append(Planned(what=one, file=file, notes=check_edit([Path(each) for each in one.sources], one.edit)))
    return tuple(planned)


def write_edits(
    planned: Sequence[Planned],
    *,
    on_frame: Callable[[], Any] = lambda: None,
    on_episode: Callable[[Edited], Any] = lambda _: None,
) -> None:
    """Write them one after the other, each whole or not at all. Those that are written stay if a later one fails."""
    for one in planned:
        on_episode(
            apply_edit(
                [Path(each) for each in one.what.sources],
                one.what.edit,
                one.file,
                identities=one.what.identities,
                on_frame=on_frame,
            )
        )

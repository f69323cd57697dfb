"""Edits of episodes: which steps of which sources become a new one, and what a file says of the edit it came from."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from dexvla.spec.base import Spec

MOST_PIECES = 1000  # of one edit: what a file says of it must stay small


class EditKind(StrEnum):
    """What an edit is called. For what is written all of them are pieces of sources in order."""

    KEEP = "keep"
    CUT = "cut"
    DROP_IDLE = "drop_idle"
    SPLIT = "split"
    JOIN = "join"
    RENAME = "rename"


class Piece(Spec):
    """Steps of a source: start <= step < end. source: which one of the edit's."""

    source: int = Field(0, ge=0)
    start: int = Field(ge=0)
    end: int = Field(gt=0)

    @property
    def steps(self) -> int:
        return self.end - self.start

    @model_validator(mode="after")
    def _rises(self) -> "Piece":
        if self.end <= self.start:
            raise ValueError(f"a piece from step {self.start} to {self.end - 1} holds no step; give a later end")
        return self


class Edit(Spec):
    """One new episode. Everything that is not said stays as the sources have it."""

    kind: EditKind
    pieces: tuple[Piece, ...] = Field(
        min_length=1, max_length=MOST_PIECES, description="Steps of the sources, in the order of the new episode"
    )
    cameras: dict[str, str] = Field(default_factory=dict, description="New names of cameras, by their names so far")
    dimensions: dict[str, str] = Field(
        default_factory=dict, description="New names of dimensions of state and action, by name or number"
    )
    instruction: str | None = Field(None, min_length=1, description="Empty: the sources'")
    outcome: Literal["success", "failure", "unknown"] | None = Field(None, description="Empty: as the sources say")

    @field_validator("cameras", "dimensions")
    @classmethod
    def _different(cls, names: dict[str, str]) -> dict[str, str]:
        new = list(names.values())
        if twice := next((name for name in new if new.count(name) > 1), None):
            raise ValueError(f"two are to be named {twice!r}; give them different names")
        return names

    @property
    def steps(self) -> int:
        """Of the new episode."""
        return sum(piece.steps for piece in self.pieces)


class Lineage(Spec):
    """What an episode's file says of the edit that made it.

    sources: identities (dexvla.episodes.identity). joined_at: first steps after each joint, those of the sources among
    them. jumps_at: those of them at which the state jumps further than it moves in any other step.
    """

    kind: EditKind
    sources: tuple[str, ...] = Field(min_length=1)
    pieces: tuple[Piece, ...] = Field(min_length=1)
    cameras: dict[str, str] = Field(default_factory=dict)
    dimensions: dict[str, str] = Field(default_factory=dict)
    joined_at: tuple[int, ...] = ()
    jumps_at: tuple[int, ...] = ()


class PlannedEdit(Spec):
    """An edit and the files that it is about. name: of the new file, without its ending."""

    sources: tuple[str, ...] = Field(min_length=1, description="Episode files")
    name: str = Field(pattern=r"^[\w][\w.-]{0,120}$", description="Of the new file, without its ending")
    edit: Edit
    identities: tuple[str, ...] | None = Field(None, description="Of the sources; empty: every source is hashed")


class EditPlan(Spec):
    """Edits as a file holds them: what `dexvla edit --dry-run --json` writes and `--plan` reads."""

    edits: tuple[PlannedEdit, ...] = Field(min_length=1)

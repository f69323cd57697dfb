"""Segments of an episode's steps as rows hold them: types in Python, JSON in the database."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import JSON, Dialect
from sqlalchemy.types import TypeDecorator


class Provenance(StrEnum):
    """Where a substep's text came from. proposed: from a machine, and nobody has looked at it yet."""

    HUMAN = "human"
    SCRIPTED = "scripted"
    PROPOSED = "proposed"
    MACHINE_ACCEPTED = "machine_accepted"
    MACHINE_EDITED = "machine_edited"
    IMPORTED = "imported"


class LabelSegment(NamedTuple):
    """start <= step < end. source: what proposed it, where a machine did; confidence: of that proposal.

    A named tuple, because pages about datasets load tens of thousands: a frozen dataclass takes seven times as long to
    make.
    """

    start: int
    end: int
    text: str
    provenance: Provenance
    source: str | None = None
    confidence: float | None = None


class ProposalSegment(NamedTuple):
    """start <= step < end. confidence: 0 .. 1."""

    start: int
    end: int
    text: str
    confidence: float


_PROVENANCES = {one.value: one for one in Provenance}


class LabelSegments(TypeDecorator[tuple[LabelSegment, ...]]):
    """A list of objects with the names of LabelSegment; what rows of older studios leave out is None."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Sequence[LabelSegment] | None, dialect: Dialect) -> list[dict[str, Any]] | None:
        return None if value is None else [one._asdict() for one in value]

    def process_result_value(self, value: list[Any] | None, dialect: Dialect) -> tuple[LabelSegment, ...] | None:
        if value is None:
            return None
        return tuple(
            [
                LabelSegment(
                    one["start"],
                    one["end"],
                    one["text"],
                    _PROVENANCES[one["provenance"]],
                    one.get("source"),
                    one.get("confidence"),
                )
                for one in value
            ]
        )


class ProposalSegments(TypeDecorator[tuple[ProposalSegment, ...]]):
    """A list of objects with the names of ProposalSegment."""

    impl = JSON
    cache_ok = True

    def process_bind_param(
        self, value: Sequence[ProposalSegment] | None, dialect: Dialect
    ) -> list[dict[str, Any]] | None:
        return None if value is None else [one._asdict() for one in value]

    def process_result_value(self, value: list[Any] | None, dialect: Dialect) -> tuple[ProposalSegment, ...] | None:
        if value is None:
            return None
        return tuple([ProposalSegment(one["start"], one["end"], one["text"], one["confidence"]) for one in value])

"""Which episodes an edited one was made of, and what its dimensions are called: attributes of the file."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dexvla.episodes.entries import Entries, as_text
from dexvla.episodes.format import DIMENSION_NAMES, LINEAGE
from dexvla.spec import Lineage, first_error

_LONGEST = 2**18  # characters; a thousand pieces are a sixth of it


def lineage_of(entries: Entries, steps: int) -> Lineage | None:
    """Raises UnfitError for an attribute that is no lineage of an episode of so many steps."""
    value = entries.attribute(LINEAGE)
    if value is None:
        return None
    try:
        text = as_text(value)
        found = Lineage.model_validate_json(text) if len(text) <= _LONGEST else None
    except (TypeError, UnicodeError) as error:
        raise entries.wrong(LINEAGE, value, "the text of an edit") from error
    except ValidationError as error:
        raise entries.unfit(f"attribute {LINEAGE} is not what an edit writes: {first_error(error)}") from error
    if found is None or not _fits(found, steps):
        raise entries.unfit(f"attribute {LINEAGE} is that of another episode")
    return found


def lineage_read(value: Any, steps: int) -> Lineage | None:
    """What `lineage_facts` made; None for what is no lineage of an episode of so many steps."""
    try:
        found = Lineage.model_validate(value)
    except ValidationError:
        return None
    return found if _fits(found, steps) else None


def lineage_facts(lineage: Lineage | None) -> dict[str, Any] | None:
    """As JSON, for datasets of other formats."""
    return None if lineage is None else lineage.model_dump(mode="json", exclude_defaults=True)


def lineage_within(lineage: Lineage, first: int, last: int) -> Lineage | None:
    """That of the steps first <= step < last alone, counted from `first`; None where no piece holds any of them.

    Pieces are clipped, joints moved along; a joint at `first` is none any more. The sources keep their numbers.
    """
    pieces, position = [], 0
    for piece in lineage.pieces:
        start = max(first - position, 0) + piece.start
        end = min(last - position, piece.steps) + piece.start
        if start < end:
            pieces.append(piece.model_copy(update={"start": start, "end": end}))
        position += piece.steps
    if not pieces:
        return None
    joints = {
        name: tuple(step - first for step in getattr(lineage, name) if first < step < last)
        for name in ("joined_at", "jumps_at")
    }
    return lineage.model_copy(update={"pieces": tuple(pieces), **joints})


def _fits(lineage: Lineage, steps: int) -> bool:
    return all(0 < step < steps for step in (*lineage.joined_at, *lineage.jumps_at))


def dimension_names_of(entries: Entries, *, state: int, action: int) -> dict[str, tuple[str, ...]]:
    """By attribute; those that are not there or have another number of names are left out, the latter with a
    warning."""
    found = {}
    for attribute, count in zip(DIMENSION_NAMES, (state, action), strict=True):
        text = entries.optional(lambda attribute=attribute: entries.word(attribute))  # type: ignore[misc]
        if text is None:
            continue
        names = tuple(name.strip() for name in text.split(","))
        if len(names) == count and all(names):
            found[attribute] = names
        else:
            entries.warn(f"{attribute} holds {len(names)} names for {count} dimensions; left out")
    return found


def lineage_attributes(lineage: Lineage | None, names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """As they stand in a file."""
    found = {attribute: ", ".join(each) for attribute, each in names.items()}
    if lineage is not None:
        found[LINEAGE] = lineage.model_dump_json(exclude_defaults=True)
    return found

"""What renaming a text does to segments and to the vocabulary, and what taking that back does."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.tables.segment import LabelSegment


def renamed(segments: Sequence[LabelSegment], old: str, new: str) -> tuple[LabelSegment, ...]:
    """Boundaries and provenance stay."""
    return tuple(one._replace(text=new) if one.text == old else one for one in segments)


def renamed_texts(texts: Sequence[str], old: str, new: str) -> list[str]:
    """In the same order; where both are there they become one, at the place of the first."""
    return list(dict.fromkeys(new if text == old else text for text in texts))


def renamed_guideline(details: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """By text. An entry that is there already keeps its own."""
    found = dict(details)
    if old in found:
        moved = found.pop(old)
        found.setdefault(new, moved)
    return found


def restored_texts(texts: Sequence[str], before: Sequence[str], old: str, new: str) -> list[str]:
    """Of a vocabulary that somebody changed since it was `before`: the old text is back in it, in the place of the new
    one unless that was there before too; what else changed stays."""
    if new not in before:
        return [old if text == new else text for text in texts]
    return [*texts] if old in texts else [*texts, old]

"""What stops labels from being handed in or published, and what is worth a second look."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from backend.annotations.schemas import CheckOut, FindingCode, FindingOut, Provenance, SegmentOut
from backend.episodes.limits import wrong_with
from backend.errors import InvalidError
from backend.labelling.schemas import Labelling

_ALIKE = 0.8  # difflib's ratio from which two texts are taken for spellings of one: a letter of five differs
_SEEN = 5  # times that a text must have been followed by others before a new successor is unusual
_MOST = 5  # places that a message names


@dataclass(frozen=True, kw_only=True)
class Custom:
    """What is usual in a dataset. successors: how often text follows text in published labels."""

    labelling: Labelling
    vocabulary: Sequence[str] = ()
    successors: Mapping[str, Counter[str]] = field(default_factory=dict)
    fps: float | None = None


def successors(sequences: Iterable[Sequence[str]]) -> dict[str, Counter[str]]:
    """Of each text, the texts that follow it and how often."""
    found: dict[str, Counter[str]] = {}
    for texts in sequences:
        for text, following in pairwise(texts):
            found.setdefault(text, Counter())[following] += 1
    return found


def blocking(segments: Sequence[SegmentOut], steps: int) -> list[FindingOut]:
    """By place. Empty: the labels are complete."""
    found: list[FindingOut] = []
    end = segments[-1].end if segments else 0
    if end != steps:
        found.append(_finding(FindingCode.LENGTH, segments[-1], f"the labels end at step {end}, not at {steps}"))
    for one in segments:
        if not one.text.strip():
            found.append(_finding(FindingCode.BLANK, one, "it has no text"))
        elif wrong := wrong_with(one.text):
            found.append(_finding(FindingCode.CHARACTERS, one, f"its text holds {wrong}"))
        elif one.provenance is Provenance.PROPOSED:
            found.append(_finding(FindingCode.UNREVIEWED, one, "nobody has looked at this proposal yet"))
    return found


def refuse_incomplete(segments: Sequence[SegmentOut], steps: int) -> None:
    """Raise InvalidError that names every kind of defect and the first places of each."""
    found = blocking(segments, steps)
    if not found:
        return
    advice = {
        FindingCode.LENGTH: ("are not as long as the episode", "Reload the page."),
        FindingCode.BLANK: ("have no text", "Label them, or merge them with a neighbour."),
        FindingCode.CHARACTERS: ("hold what no label may hold", "Type them again."),
        FindingCode.UNREVIEWED: ("are proposals that nobody has looked at", "Accept, edit or reject them."),
    }
    parts = []
    for code, (what, todo) in advice.items():
        places = [f"steps {one.start} to {one.end - 1}" for one in found if one.code is code]
        if places:
            more = f" and {len(places) - _MOST} more" if len(places) > _MOST else ""
            parts.append(f"{len(places)} of {len(segments)} substeps {what}: {', '.join(places[:_MOST])}{more}. {todo}")
    raise InvalidError(
        " ".join(parts),
        detail={
            "findings": [one.model_dump(mode="json") for one in found],
            "blank": [[one.start, one.end] for one in found if one.code is FindingCode.BLANK],
        },
    )


def warnings(segments: Sequence[SegmentOut], custom: Custom) -> list[FindingOut]:
    """By place."""
    found: list[FindingOut] = []
    order = {text: place for place, text in enumerate(custom.labelling.template)}
    previous: SegmentOut | None = None
    for one in segments:
        found += _length(one, custom)
        if one.text:
            found += _spelling(one, custom)
            if previous is not None and previous.text:
                found += _order(previous, one, order, custom)
        if one.provenance in {Provenance.SCRIPTED, Provenance.IMPORTED} and one.text:
            found.append(_finding(FindingCode.NOT_LOOKED_AT, one, "it is as the file brought it"))
        previous = one
    return found


def check(segments: Sequence[SegmentOut], steps: int, custom: Custom) -> CheckOut:
    return CheckOut(blocking=blocking(segments, steps), warnings=warnings(segments, custom))


def _length(one: SegmentOut, custom: Custom) -> list[FindingOut]:
    if not custom.fps:
        return []
    seconds, settings = (one.end - one.start) / custom.fps, custom.labelling
    if seconds < settings.short_seconds:
        return [_finding(FindingCode.SHORT, one, f"{seconds:.2f} s is less than {settings.short_seconds:g} s")]
    if seconds > settings.long_seconds:
        return [_finding(FindingCode.LONG, one, f"{seconds:.1f} s is more than {settings.long_seconds:g} s")]
    return []


def _spelling(one: SegmentOut, custom: Custom) -> list[FindingOut]:
    if not custom.vocabulary or one.text in custom.vocabulary:
        return []
    plain = {text.casefold(): text for text in custom.vocabulary}
    alike = difflib.get_close_matches(one.text.casefold(), plain, n=1, cutoff=_ALIKE)
    if alike:
        meant = plain[alike[0]]
        message = f"it is spelled almost like {meant!r} of the vocabulary"
        return [_finding(FindingCode.NEAR_DUPLICATE, one, message, suggestion=meant)]
    return [_finding(FindingCode.OUT_OF_VOCABULARY, one, "the vocabulary does not have it")]


def _order(previous: SegmentOut, one: SegmentOut, order: Mapping[str, int], custom: Custom) -> list[FindingOut]:
    if previous.text == one.text:
        return [_finding(FindingCode.SAME_NEIGHBOUR, one, "it says the same as the one before; merge them")]
    if previous.text in order and one.text in order:
        if order[one.text] < order[previous.text]:
            message = f"in the dataset's template it comes before {previous.text!r}"
            return [_finding(FindingCode.UNUSUAL_ORDER, one, message)]
        return []
    followers = custom.successors.get(previous.text)
    if followers is not None and followers.total() >= _SEEN and one.text not in followers:
        message = f"it never follows {previous.text!r} in the {followers.total()} published places"
        return [_finding(FindingCode.UNUSUAL_ORDER, one, message)]
    return []


def _finding(code: FindingCode, one: SegmentOut, message: str, *, suggestion: str | None = None) -> FindingOut:
    stops = code in {FindingCode.LENGTH, FindingCode.BLANK, FindingCode.CHARACTERS, FindingCode.UNREVIEWED}
    return FindingOut(
        code=code,
        blocking=stops,
        start=one.start,
        end=one.end,
        text=one.text,
        message=message,
        suggestion=suggestion,
    )

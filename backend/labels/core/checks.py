"""What stops labels from being submitted or published, and what is worth a second look."""

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from backend.core.errors import InvalidError
from backend.core.limits import MAX_STEPS, wrong_with
from backend.labels.core.findings import CheckOut, FindingCode, FindingOut
from backend.labels.core.settings import Labelling
from backend.tables.segment import LabelSegment, Provenance

_ALIKE = 0.8  # difflib's ratio from which two texts are taken for spellings of one: a letter of five differs
_SEEN = 5  # times that a text must have been followed by others before a new successor is unusual
_MOST = 5  # places that a message names
_SPELLINGS = 20_000  # texts in memory


_wrong = lru_cache(_SPELLINGS)(wrong_with)  # the same texts come again and again


class _Found(NamedTuple):
    code: FindingCode
    segment: LabelSegment
    message: str
    meant: str | None = None


@dataclass(frozen=True, kw_only=True)
class UsualRange:
    """What is usual in a dataset; what lies outside of it is worth a look.

    successors: how often text follows text in published labels.
    """

    labelling: Labelling
    vocabulary: Sequence[str] = ()
    successors: Mapping[str, Counter[str]] = field(default_factory=dict)
    fps: float | None = None

    @cached_property
    def known(self) -> dict[str, None]:
        """The vocabulary, in its order."""
        return dict.fromkeys(self.vocabulary)

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        return tuple(self.vocabulary)

    @cached_property
    def order(self) -> dict[str, int]:
        """Places in the template."""
        return {text: place for place, text in enumerate(self.labelling.template)}


def successors(sequences: Iterable[Sequence[str]]) -> dict[str, Counter[str]]:
    """Of each text, the texts that follow it and how often."""
    found: dict[str, Counter[str]] = {}
    for texts in sequences:
        for text, following in pairwise(texts):
            found.setdefault(text, Counter())[following] += 1
    return found


def blocking(segments: Sequence[LabelSegment], steps: int) -> list[FindingOut]:
    """By place. Empty: the labels are complete."""
    return [_out(found) for found in _blocking(segments, steps)]


def _blocking(segments: Sequence[LabelSegment], steps: int) -> list[_Found]:
    found: list[_Found] = []
    end = segments[-1].end if segments else 0
    if end != steps:
        found.append(_Found(FindingCode.LENGTH, segments[-1], f"the labels end at step {end}, not at {steps}"))
    for segment in segments:
        found += _content(segment)
    return found


def _content(segment: LabelSegment) -> list[_Found]:
    if not segment.text.strip():
        return [_Found(FindingCode.BLANK, segment, "it has no text")]
    if wrong := _wrong(segment.text):
        return [_Found(FindingCode.CHARACTERS, segment, f"its text holds {wrong}")]
    if segment.provenance == Provenance.PROPOSED:
        return [_Found(FindingCode.UNREVIEWED, segment, "nobody has looked at this proposal yet")]
    return []


def refuse_incomplete(segments: Sequence[LabelSegment], steps: int) -> None:
    """Raise InvalidError that names every kind of defect and the first places of each."""
    found = blocking(segments, steps)
    if not found:
        return
    advice = {
        FindingCode.LENGTH: ("are not as long as the episode", "Reload the page."),
        FindingCode.BLANK: ("have no text", "Label them, or merge them with a neighbour."),
        FindingCode.CHARACTERS: ("contain characters that no label may contain", "Type them again."),
        FindingCode.UNREVIEWED: ("are proposals that nobody has looked at", "Accept, edit or reject them."),
    }
    parts = []
    for code, (what, todo) in advice.items():
        places = [f"steps {finding.start} to {finding.end - 1}" for finding in found if finding.code is code]
        if places:
            more = f" and {len(places) - _MOST} more" if len(places) > _MOST else ""
            parts.append(f"{len(places)} of {len(segments)} substeps {what}: {', '.join(places[:_MOST])}{more}. {todo}")
    raise InvalidError(
        " ".join(parts),
        detail={
            "findings": [finding.model_dump(mode="json") for finding in found],
            "blank": [[finding.start, finding.end] for finding in found if finding.code is FindingCode.BLANK],
        },
    )


def warnings(segments: Sequence[LabelSegment], usual: UsualRange) -> list[FindingOut]:
    """By place."""
    return [_out(found) for found in _warnings(segments, usual)]


def _warnings(segments: Sequence[LabelSegment], usual: UsualRange) -> list[_Found]:
    found: list[_Found] = []
    previous: LabelSegment | None = None
    for segment in segments:
        found += _length(segment, usual)
        found += _saying(previous, segment, usual)
        previous = segment
    return found


def _saying(previous: LabelSegment | None, segment: LabelSegment, usual: UsualRange) -> list[_Found]:
    if not segment.text:
        return []
    found = _spelling(segment, usual)
    if previous is not None and previous.text:
        found += _order(previous, segment, usual)
    if segment.provenance in {Provenance.SCRIPTED, Provenance.IMPORTED}:
        found.append(_Found(FindingCode.NOT_LOOKED_AT, segment, "it is as it came from the file"))
    return found


def check(segments: Sequence[LabelSegment], steps: int, usual: UsualRange) -> CheckOut:
    return CheckOut(blocking=blocking(segments, steps), warnings=warnings(segments, usual))


def codes(segments: Sequence[LabelSegment], steps: int, usual: UsualRange) -> list[tuple[int, FindingCode]]:
    """(start, what was found there) of everything that `check` finds, for those who look at many episodes."""
    found = [*_blocking(segments, steps), *_warnings(segments, usual)]
    return [(each.segment.start, each.code) for each in found]


def codes_of(before: str | None, text: str, provenance: Provenance, usual: UsualRange) -> list[FindingCode]:
    """What `check` finds in any segment that says this after one that says `before` (None: at the start), whatever its
    length: many episodes have the same few of them."""
    segment = LabelSegment(0, 1, text, provenance)
    previous = None if before is None else LabelSegment(0, 1, before, Provenance.HUMAN)
    return [each.code for each in (*_content(segment), *_saying(previous, segment, usual))]


def length_bounds(usual: UsualRange) -> tuple[int, int] | None:
    """(least, most) steps of a segment that is neither short nor long: the same as `_length`, in whole steps. None: the
    rate is unknown, and no length is found odd."""
    fps, settings = usual.fps, usual.labelling
    if not fps:
        return None
    lengths = range(MAX_STEPS + 2)
    least = bisect_left(lengths, True, key=lambda steps: steps / fps >= settings.short_seconds)
    return least, bisect_left(lengths, True, key=lambda steps: steps / fps > settings.long_seconds) - 1


def _length(segment: LabelSegment, usual: UsualRange) -> list[_Found]:
    if not usual.fps:
        return []
    seconds, settings = (segment.end - segment.start) / usual.fps, usual.labelling
    if seconds < settings.short_seconds:
        return [_Found(FindingCode.SHORT, segment, f"{seconds:.2f} s is less than {settings.short_seconds:g} s")]
    if seconds > settings.long_seconds:
        return [_Found(FindingCode.LONG, segment, f"{seconds:.1f} s is more than {settings.long_seconds:g} s")]
    return []


def _spelling(segment: LabelSegment, usual: UsualRange) -> list[_Found]:
    if not usual.vocabulary or segment.text in usual.known:
        return []
    meant = _meant(segment.text, usual.spellings)
    if meant is not None:
        message = f"it is spelled almost like {meant!r} of the vocabulary"
        return [_Found(FindingCode.NEAR_DUPLICATE, segment, message, meant)]
    return [_Found(FindingCode.OUT_OF_VOCABULARY, segment, "the vocabulary does not have it")]


@lru_cache(_SPELLINGS)  # to compare a text with all entries takes longer than everything else
def _meant(text: str, vocabulary: tuple[str, ...]) -> str | None:
    """The entry that is spelled almost like this."""
    plain = {entry.casefold(): entry for entry in vocabulary}
    alike = difflib.get_close_matches(text.casefold(), plain, n=1, cutoff=_ALIKE)
    return plain[alike[0]] if alike else None


def _order(previous: LabelSegment, segment: LabelSegment, usual: UsualRange) -> list[_Found]:
    if previous.text == segment.text:
        return [_Found(FindingCode.SAME_NEIGHBOUR, segment, "it says the same as the one before; merge them")]
    order = usual.order
    if previous.text in order and segment.text in order:
        if order[segment.text] < order[previous.text]:
            message = f"in the dataset's template it comes before {previous.text!r}"
            return [_Found(FindingCode.UNUSUAL_ORDER, segment, message)]
        return []
    followers = usual.successors.get(previous.text)
    if followers is not None and followers.total() >= _SEEN and segment.text not in followers:
        message = f"it never follows {previous.text!r} in the {followers.total()} published places"
        return [_Found(FindingCode.UNUSUAL_ORDER, segment, message)]
    return []


def _out(found: _Found) -> FindingOut:
    code, segment, message, meant = found
    stops = code in {FindingCode.LENGTH, FindingCode.BLANK, FindingCode.CHARACTERS, FindingCode.UNREVIEWED}
    return FindingOut(
        code=code,
        blocking=stops,
        start=segment.start,
        end=segment.end,
        text=segment.text,
        message=message,
        meant=meant,
    )

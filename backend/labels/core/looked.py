"""Labels that a script or a file brought: published only by somebody who says that they looked at them."""

from collections.abc import Iterable, Sequence

from backend.core.errors import NotLookedAtError
from backend.tables.segment import LabelSegment, Provenance

_BROUGHT = {Provenance.SCRIPTED, Provenance.IMPORTED}
_MOST = 5  # places that the message names


def not_looked_at(segments: Iterable[LabelSegment], published: Iterable[LabelSegment] = ()) -> list[LabelSegment]:
    """Those that are still as they came from a script or a file. published: segments of the newest revision;
    whoever published them looked at them."""
    seen = {_key(one) for one in published}
    return [one for one in segments if one.provenance in _BROUGHT and one.text and _key(one) not in seen]


def _key(segment: LabelSegment) -> tuple[int, int, str, Provenance]:
    return segment.start, segment.end, segment.text, segment.provenance


def refuse_not_looked_at(found: Sequence[LabelSegment], of: int) -> None:
    """Raise NotLookedAtError if there are any. of: segments of the draft."""
    if not found:
        return
    places = ", ".join(f"steps {one.start} to {one.end - 1}" for one in found[:_MOST])
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    raise NotLookedAtError(
        f"{len(found)} of {of} substeps are as they came from a script or a file, and nobody has changed them: {places}"
        f"{more}. Look at them, and publish with looked_at: true.",
        detail={"segments": [one._asdict() for one in found], "of": of},
    )

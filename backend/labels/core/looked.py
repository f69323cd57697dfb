"""Labels that a script or a file brought: published only by somebody who says that they looked at them."""

from collections.abc import Iterable, Sequence
from typing import Any

from backend.core.errors import NotLookedAtError
from backend.labels.core.segments import Provenance, SegmentOut

_BROUGHT = {Provenance.SCRIPTED, Provenance.IMPORTED}
_MOST = 5  # places that the message names


def not_looked_at(segments: Iterable[SegmentOut], published: Iterable[Any] = ()) -> list[SegmentOut]:
    """Those that are still as a script or a file brought them. published: segments of the newest revision, stored;
    whoever published them looked at them."""
    seen = {_key(SegmentOut.model_validate(one)) for one in published}
    return [one for one in segments if one.provenance in _BROUGHT and one.text and _key(one) not in seen]


def _key(one: SegmentOut) -> tuple[int, int, str, Provenance]:
    return one.start, one.end, one.text, one.provenance


def refuse_not_looked_at(found: Sequence[SegmentOut], of: int) -> None:
    """Raise NotLookedAtError if there are any. of: segments of the draft."""
    if not found:
        return
    places = ", ".join(f"steps {one.start} to {one.end - 1}" for one in found[:_MOST])
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    raise NotLookedAtError(
        f"{len(found)} of {of} substeps are as a script or a file brought them, and nobody has changed them: {places}"
        f"{more}. Look at them, and publish with looked_at: true.",
        detail={"segments": [one.model_dump(mode="json") for one in found], "of": of},
    )

"""What loading took from files, what it made up, and why: for people, manifests and `dexvla convert --json`."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """loaded: tensors per part. fresh: tensor or part -> why it was not in the file. left_out: the file's, and why."""

    source: str
    kind: str
    tensors: int
    parameters: int
    loaded: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes)}


PARTS = {
    "backbone.model.visual.": "vision tower",
    "backbone.": "language model",
    "fusion.": "fusion",
    "expert.": "action expert",
}


def per_part(names: Iterable[str]) -> dict[str, int]:
    """Number of tensors in each part of a policy; names are ours."""
    counts: dict[str, int] = {}
    for name in names:
        part = next((part for prefix, part in PARTS.items() if name.startswith(prefix)), name)
        counts[part] = counts.get(part, 0) + 1
    return counts

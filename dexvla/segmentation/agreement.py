"""How far two people's labels of an episode agree: boundaries within a tolerance, Cohen's kappa over steps."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dexvla.spec import Segment


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Boundaries of `left` and `right`, and how many pairs of them lie within the tolerance, each used once."""

    left: int = 0
    right: int = 0
    matched: int = 0

    def __add__(self, other: "Matches") -> "Matches":
        return Matches(
            left=self.left + other.left, right=self.right + other.right, matched=self.matched + other.matched
        )

    @property
    def precision(self) -> float:
        """Of the right side's boundaries, those that the left has too; 1 if there are none."""
        return self.matched / self.right if self.right else 1.0

    @property
    def recall(self) -> float:
        return self.matched / self.left if self.left else 1.0

    @property
    def f1(self) -> float:
        """1 where neither side has a boundary."""
        total = self.left + self.right
        return 2 * self.matched / total if total else 1.0


def boundaries(segments: Sequence[Segment]) -> list[int]:
    """Steps at which the text changes; two segments with the same text have none between them."""
    return [after.start for before, after in pairwise(segments) if before.text != after.text]


def match_boundaries(left: Sequence[int], right: Sequence[int], tolerance: int) -> Matches:
    """left, right: ascending steps. As many pairs as possible within +- tolerance steps, each boundary used once.

    For points on a line with one tolerance, taking the earliest partner that is in reach is the largest matching.
    """
    matched = a = b = 0
    while a < len(left) and b < len(right):
        if abs(left[a] - right[b]) <= tolerance:
            matched, a, b = matched + 1, a + 1, b + 1
        elif left[a] < right[b]:
            a += 1
        else:
            b += 1
    return Matches(left=len(left), right=len(right), matched=matched)


def confusion(left: Sequence[Segment], right: Sequence[Segment]) -> Counter[tuple[str, str]]:
    """(text of left, text of right) -> steps. Both cover the same steps; counted by segments, so that long episodes
    cost nothing."""
    found: Counter[tuple[str, str]] = Counter()
    a = b = position = 0
    while a < len(left) and b < len(right):
        end = min(left[a].end, right[b].end)
        found[left[a].text, right[b].text] += end - position
        position = end
        a, b = a + (left[a].end == end), b + (right[b].end == end)
    return found


def kappa(counts: Counter[tuple[str, str]]) -> float:
    """Cohen's kappa (Educational and Psychological Measurement 20, 1960) of a confusion; 1 where both sides say one
    and the same thing throughout, because then chance explains everything and nothing disagrees."""
    total = counts.total()
    if not total:
        raise ValueError("no steps to compare")
    rows: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    for (one, other), steps in counts.items():
        rows[one] += steps
        columns[other] += steps
    chance = sum(rows[text] * columns[text] for text in rows) / total**2
    return 1.0 if chance == 1 else (same_share(counts) - chance) / (1 - chance)


def same_share(counts: Counter[tuple[str, str]]) -> float:
    """Share of steps on which both say the same."""
    return sum(steps for (one, other), steps in counts.items() if one == other) / counts.total()


def pooled(counts: Iterable[Counter[tuple[str, str]]]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for one in counts:
        found.update(one)
    return found

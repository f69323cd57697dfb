"""What is measured of an episode once, and what a dataset looks like made of that: specs, stored as JSON."""

from enum import StrEnum

from pydantic import Field

from dexvla.spec.base import Spec

QUANTILES = tuple(k / 16 for k in range(17))  # of a dimension over an episode, the ends included
TRAITS_VERSION = 1  # of what is measured: what an older studio measured is measured anew
SKETCH_POINTS = 16  # states of the sketch of an episode's motion, evenly in time


class DimensionTraits(Spec):
    """One dimension of state or action over an episode, in its own unit.

    quantiles: at `QUANTILES`, so the first and the last are its lowest and highest value. largest_change: from one step
    to the next, at the step it leads to (0 where there is one step only).
    """

    mean: float
    std: float
    quantiles: tuple[float, ...]
    largest_change: float
    largest_change_at: int

    @property
    def low(self) -> float:
        return self.quantiles[0]

    @property
    def high(self) -> float:
        return self.quantiles[-1]


class CameraTraits(Spec):
    """What one camera's frames look like from afar.

    repeated: frames that are, bit for bit, the one before. frozen_from, frozen_steps: the longest run of them while the
    robot moved. black: of the frames looked at, the share that is black; black_from: the first such step.
    """

    name: str
    height: int
    width: int
    repeated: int
    frozen_from: int
    frozen_steps: int
    black: float
    black_from: int | None


class Run(Spec):
    """Steps start <= step < end."""

    start: int
    end: int


class EpisodeTraits(Spec):
    """Measured once; everything that a dataset's survey needs of an episode.

    sketch: (SKETCH_POINTS, S) states, evenly in time. mismatch: of each dimension, the median of what the state of the
    next step differs from the action; None where state and action have different dimensions. late_steps: steps that
    came more than half an interval late by the robot's clock; largest_gap_s: the longest time between two steps; None
    without time stamps. idle: runs of half a second and more in which nothing moved.
    """

    steps: int
    fps: float | None
    state: tuple[DimensionTraits, ...]
    action: tuple[DimensionTraits, ...]
    sketch: tuple[tuple[float, ...], ...]
    mismatch: tuple[float, ...] | None
    late_steps: int | None
    largest_gap_s: float | None
    idle: tuple[Run, ...]
    cameras: tuple[CameraTraits, ...]

    @property
    def duration_s(self) -> float | None:
        return None if self.fps is None else self.steps / self.fps

    @property
    def idle_head(self) -> int:
        """Steps of rest at the beginning."""
        return self.idle[0].end if self.idle and self.idle[0].start == 0 else 0

    @property
    def idle_tail(self) -> int:
        """Steps of rest at the end."""
        return self.idle[-1].end - self.idle[-1].start if self.idle and self.idle[-1].end == self.steps else 0


class OutlierKind(StrEnum):
    LENGTH = "length"
    JUMP = "jump"
    RANGE = "range"
    MISMATCH = "mismatch"
    FROZEN = "frozen"
    BLACK = "black"
    REPEATED = "repeated"
    CLOCK = "clock"


class Outlier(Spec):
    """An episode that differs, and why. episode: its place in the list that was looked at. score: 1 is where it begins
    to be told, ten is ten times that. step: where to look; None for the whole episode."""

    episode: int
    kind: OutlierKind
    score: float
    step: int | None
    text: str


class NearDuplicate(Spec):
    """Two episodes whose motion is nearly the same. distance: root mean square over their sketches, in standard
    deviations of the dataset."""

    first: int
    second: int
    distance: float


class DimensionSurvey(Spec):
    """A dimension over all episodes. counts: of steps in bins of equal width from low to high, estimated from the
    quantiles of the episodes and exact to a sixteenth of an episode. lowest, highest: the episodes that reach the ends.
    """

    low: float
    high: float
    mean: float
    std: float
    counts: tuple[float, ...]
    lowest: int
    highest: int


class Survey(Spec):
    """A dataset at one look. outliers: the worst first. scatter: the two dimensions of the state that differ most at
    the beginning of episodes, and `starts`, the first state of each episode in them."""

    episodes: int
    steps: int
    duration_s: float | None = Field(description="Of all episodes that say their rate, seconds")
    state: tuple[DimensionSurvey, ...]
    action: tuple[DimensionSurvey, ...]
    scatter: tuple[int, ...]
    starts: tuple[tuple[float, ...], ...]
    outliers: tuple[Outlier, ...]
    near_duplicates: tuple[NearDuplicate, ...]

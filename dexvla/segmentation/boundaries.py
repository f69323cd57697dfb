"""Where one substep may end and the next begin, read from the motion alone: proposals for people, never labels.

A boundary b is the first step of the later segment, 0 < b < T. Three readings of each arm:

gripper   it begins to open or to close: the step at which it leaves an extremum that it then leaves for good
speed     the arm comes to rest or sets off again, or slows down and speeds up between two movements
change    the joint velocities change for longer: the best piecewise constant description has a break there

What is measured says how sure each is (confidence 0 .. 1); how often people accept it is for the studio to count.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.arms import Arm

Floats = NDArray[np.floating[Any]]

_GETS_READY = 0.3


class BoundarySource(StrEnum):
    """mark: made by who drove. scripted: of the expert's plan. The others: see the module."""

    MARK = "mark"
    SCRIPTED = "scripted"
    GRIPPER = "gripper"
    SPEED = "speed"
    CHANGE = "change"


@dataclass(frozen=True, kw_only=True)
class BoundarySettings:
    """Units: s, rad/s; a gripper's travel is 1 from closed to open. Values: tuned on scripted ALOHA demonstrations of
    other seeds than the benchmark's (benchmarks/proposals.py)."""

    smooth_seconds: float = 0.06  # standard deviation of the Gaussian over positions
    edge_seconds: float = 0.2  # nothing so near to the first or last step
    gripper_travel: float = 0.15  # the least that counts as opening or closing, also of its range in the episode
    gripper_hold_seconds: float = 0.06  # debounce: what does not last so long did not happen
    still_speed: float = 0.03  # of all joints together; below it an arm rests
    dip: float = 2.5  # between two movements the speed falls to less than 1 / dip of both
    onset: float = 0.08  # part of the next peak's speed at which an arm has stopped, or set off
    rest_seconds: float = 0.3  # a dip so long is two boundaries: where the arm stops and where it sets off
    change_seconds: float = 0.1  # one sample of the piecewise constant description
    change_samples: int = 800  # of which it has at most so many
    change_penalty: float = 0.3  # what one more break costs, see `breaks`
    merge_seconds: float = 0.2  # nearer ones are the same boundary


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """arm: of the robot; None where it is about all of it."""

    step: int
    confidence: float
    source: BoundarySource
    arm: str | None = None


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """Candidates that mean the same moment. step: of the surest among those whose source tells moments best;
    confidence: that at least one is right, as if they erred independently."""

    step: int
    confidence: float
    parts: tuple[Candidate, ...]


def candidates(qpos: Floats, fps: float, arms: Sequence[Arm], settings: BoundarySettings) -> list[Candidate]:
    """All readings of all arms, by step. qpos (T, S): radians, grippers 0 closed .. 1 open; fps: control rate, Hz."""
    steps = qpos.shape[0]
    smooth = smoothed(np.asarray(qpos, np.float64), settings.smooth_seconds * fps)
    found: list[Candidate] = []
    for arm in arms:
        if arm.gripper is not None:
            found += _gripper(np.asarray(qpos[:, arm.gripper], np.float64), fps, arm.name, settings)
        velocity = np.gradient(smooth[:, arm.joints], axis=0) * fps if steps > 1 else np.zeros((1, len(arm.joints)))
        found += _speed(np.linalg.norm(velocity, axis=1), fps, arm.name, settings)
        found += _change(velocity, fps, arm.name, settings)
    edge = max(1, round(settings.edge_seconds * fps))
    return sorted((one for one in found if edge <= one.step <= steps - edge), key=lambda one: one.step)


def merged(found: Sequence[Candidate], fps: float, settings: BoundarySettings) -> list[Boundary]:
    """Candidates within `merge_seconds` of a surer one are put together with it; by step.

    How sure a source is that something happened is not how well it knows when: a change of the velocities is known to a
    tenth of a second, the step at which a gripper sets off or an arm stands still nearly to the step.
    """
    within = settings.merge_seconds * fps
    left = sorted(found, key=lambda one: (-one.confidence, one.step))
    groups: list[list[Candidate]] = []
    for one in left:
        near = min(groups, key=lambda group: abs(group[0].step - one.step), default=None)
        if near is not None and abs(near[0].step - one.step) <= within:
            near.append(one)
        else:
            groups.append([one])
    boundaries = [
        Boundary(step=_moment(group), confidence=_any_of(group), parts=tuple(sorted(group, key=lambda one: one.step)))
        for group in groups
    ]
    return sorted(boundaries, key=lambda one: one.step)


def _moment(group: Sequence[Candidate]) -> int:
    return max(group, key=lambda one: (one.source is not BoundarySource.CHANGE, one.confidence)).step


def _any_of(group: Sequence[Candidate]) -> float:
    """Each source counts once: two arms that stop together are one sign, not two."""
    best: dict[BoundarySource, float] = {}
    for one in group:
        best[one.source] = max(best.get(one.source, 0.0), one.confidence)
    return float(1 - np.prod([1 - value for value in best.values()]))


# --- readings -------------------------------------------------------------------------------------------------


def _gripper(opening: Floats, fps: float, arm: str, settings: BoundarySettings) -> list[Candidate]:
    """opening (T,). The longer its way, as a part of its range in the episode, the surer.

    A gripper that opens first has held nothing: it gets ready, while something else goes on."""
    hold = max(1, round(settings.gripper_hold_seconds * fps))
    opening = smoothed(debounced(opening, hold), settings.smooth_seconds * fps)
    travel = float(np.ptp(opening))
    least = max(settings.gripper_travel, settings.gripper_travel * travel)
    turns = turning_points(opening, least)
    found = []
    for number, (begin, end) in enumerate(itertools.pairwise(turns)):
        way = abs(float(opening[end] - opening[begin]))
        moved = np.abs(opening[begin : end + 1] - opening[begin])
        onset = begin + int(np.nonzero(moved <= 0.05 * way)[0][-1])
        confidence = 0.6 + 0.35 * min(1.0, way / max(travel, 1e-9))
        if number == 0 and opening[end] > opening[begin]:
            confidence *= _GETS_READY
        found.append(Candidate(step=onset + 1, confidence=confidence, source=BoundarySource.GRIPPER, arm=arm))
    return found


def _speed(speed: Floats, fps: float, arm: str, settings: BoundarySettings) -> list[Candidate]:
    """speed (T,) of all joints, rad/s. The deeper the dip between two movements, the surer."""
    floor = settings.still_speed
    height = np.log(np.maximum(speed, floor))
    turns = turning_points(height, float(np.log(settings.dip)))
    found = []
    for before, lowest, after in zip(turns, turns[1:], turns[2:], strict=False):
        if height[lowest] > min(height[before], height[after]):
            continue  # a maximum
        peak = float(min(speed[before], speed[after]))
        depth = 1 - max(float(speed[lowest]), floor) / peak
        level = max(floor, float(speed[lowest])) + settings.onset * (peak - float(speed[lowest]))
        stop = before + int(np.nonzero(speed[before : lowest + 1] > level)[0][-1]) + 1
        go = lowest + int(np.nonzero(speed[lowest : after + 1] > level)[0][0])
        resting = go - stop >= settings.rest_seconds * fps
        places = ((stop, 0.35), (go, 0.65)) if resting else ((_middle_of_rest(speed, lowest, floor), 0.5),)
        found += [
            Candidate(step=step, confidence=weight * depth, source=BoundarySource.SPEED, arm=arm)
            for step, weight in places
        ]
    return found


def _middle_of_rest(speed: Floats, lowest: int, floor: float) -> int:
    """The step in the middle of those around `lowest` at which an arm is as slow, or rests."""
    faster = np.nonzero(speed > max(floor, float(speed[lowest])))[0]
    after = int(np.searchsorted(faster, lowest))
    first = int(faster[after - 1]) + 1 if after else 0
    last = int(faster[after]) - 1 if after < len(faster) else len(speed) - 1
    return (first + last + 1) // 2


def _change(velocity: Floats, fps: float, arm: str, settings: BoundarySettings) -> list[Candidate]:
    """velocity (T, J), rad/s. The more a break is worth, the surer."""
    steps = velocity.shape[0]
    stride = max(1, round(settings.change_seconds * fps), -(-steps // settings.change_samples))
    scale = float(np.percentile(np.linalg.norm(velocity, axis=1), 90))
    samples = steps // stride
    if scale < settings.still_speed or samples < 3:
        return []
    series = velocity[: samples * stride].reshape(samples, stride, -1).mean(axis=1) / scale
    return [
        Candidate(step=place * stride, confidence=0.6 * gain / (gain + 1), source=BoundarySource.CHANGE, arm=arm)
        for place, gain in breaks(series, settings.change_penalty)
    ]


# --- signals --------------------------------------------------------------------------------------------------


def smoothed(series: Floats, deviation: float) -> Floats:
    """Gaussian along the first axis, `deviation` in steps; the ends are continued by their last value.

    The kernel reaches no further than the series is long: what lies beyond are its ends again.
    """
    if deviation <= 0.01 or len(series) < 2:  # so narrow, it is one step
        return series
    reach = max(1, round(min(3 * deviation, len(series) - 1)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    padded = np.pad(series, [(reach, reach), *[(0, 0)] * (series.ndim - 1)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    return np.asarray(windows @ (kernel / kernel.sum()))


def debounced(series: Floats, hold: int) -> Floats:
    """(T,) without what lasts `hold` steps or less: a running median, which moves no edge."""
    hold = min(hold, max(1, len(series) - 1))
    padded = np.pad(series, hold, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * hold + 1), axis=1))


def turning_points(series: Floats, least: float) -> list[int]:
    """Steps of alternating minima and maxima of (T,), ends included, each at least `least` from its neighbours.

    A Schmitt trigger without fixed levels: a turn counts when the series is `least` away from the last extremum. A
    series that never is has no turning points.
    """
    turns: list[int] = []
    low = high = 0  # steps of the extrema since the last turn
    direction = 0  # 1 rising, -1 falling, 0 not known yet
    for step, value in enumerate(series.tolist()):
        if value > series[high]:
            high = step
        if value < series[low]:
            low = step
        falling, rising = series[high] - value >= least, value - series[low] >= least
        turned = (direction >= 0 and falling) or (direction <= 0 and rising)
        if not turned:
            continue
        fell = falling and direction >= 0
        turns.append(high if fell else low)
        direction = -1 if fell else 1
        begin = turns[-1]
        part = series[begin : step + 1]
        low, high = begin + int(np.argmin(part)), begin + int(np.argmax(part))
        low, high = (low, low) if fell else (high, high)
    if direction:
        turns.append(low if direction < 0 else high)
    return turns


def breaks(series: Floats, penalty: float) -> list[tuple[int, float]]:
    """Breaks of the best piecewise constant description of (n, d), and what each is worth in penalties.

    Exact: minimises the sum of squared deviations plus penalty x ln(n) for each break, by optimal partitioning
    (Jackson et al. 2005, An algorithm for optimal partitioning of data on an interval). O(n^2 d) time.
    """
    size = len(series)
    price = penalty * float(np.log(max(size, 2)))
    total = np.vstack([np.zeros(series.shape[1]), np.cumsum(series, axis=0)])
    square = np.concatenate([[0.0], np.cumsum((series**2).sum(axis=1))])

    def cost(first: Any, last: int) -> Any:
        """Of the parts first .. last - 1; `first` may be an array."""
        between = total[last] - total[first]
        return square[last] - square[first] - (between**2).sum(axis=-1) / (last - first)

    best = np.zeros(size + 1)
    best[0] = -price
    previous = np.zeros(size + 1, np.int64)
    for last in range(1, size + 1):
        options = best[:last] + cost(np.arange(last), last) + price
        previous[last] = int(options.argmin())
        best[last] = options[previous[last]]
    places = [size]
    while places[-1]:
        places.append(int(previous[places[-1]]))
    places.reverse()
    return [
        (middle, float((cost(first, last) - cost(first, middle) - cost(middle, last)) / price))
        for first, middle, last in zip(places, places[1:], places[2:], strict=False)
    ]

"""A dataset at one look, from the traits of its episodes: ranges, starts, what stands out and what is there twice."""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dexvla.spec.survey import (
    DimensionSurvey,
    DimensionTraits,
    EpisodeTraits,
    NearDuplicate,
    Outlier,
    OutlierKind,
    Survey,
)

_BINS = 40
_MOST_OUTLIERS, _MOST_DUPLICATES = 500, 500
# Where something begins to be told (score 1).
_LENGTH = 4.0  # robust standard deviations of the logarithm of the length
_LENGTH_SPREAD = math.log(1.1)  # the least that counts as one of them: ten per cent
_JUMP_TIMES, _JUMP_PART = 4.0, 0.2  # times what is usual, and part of the dimension's range
_RANGE_PART = 1.0  # of the usual range, beyond it
_MISMATCH_TIMES, _MISMATCH_PART = 5.0, 0.05
_FROZEN_S = 0.3
_BLACK_PART = 0.02
_REPEATED_PART = 0.05  # beyond what is usual for the dataset: cameras slower than the robot repeat all the time
_LATE_PART, _GAP_INTERVALS = 0.01, 5.0
_SAME = 0.03  # standard deviations, root mean square over a sketch
_RATE = 50.0


def survey(episodes: Sequence[EpisodeTraits]) -> Survey:
    """The episodes of a dataset, in an order that `Outlier.episode` and the like refer to.

    Only episodes with the dimensions that most of them have are compared with each other.
    """
    shape = _usual([(len(each.state), len(each.action)) for each in episodes])
    alike = [i for i, each in enumerate(episodes) if (len(each.state), len(each.action)) == shape]
    chosen = [episodes[i] for i in alike]
    seconds = [each.duration_s for each in episodes if each.duration_s is not None]
    scatter = _scatter(chosen)
    outliers = sorted(_outliers(episodes, alike, chosen), key=lambda found: -found.score)
    return Survey(
        episodes=len(episodes),
        steps=sum(each.steps for each in episodes),
        duration_s=sum(seconds) if seconds else None,
        state=_dimensions(alike, [each.state for each in chosen], [each.steps for each in chosen]),
        action=_dimensions(alike, [each.action for each in chosen], [each.steps for each in chosen]),
        scatter=scatter,
        starts=tuple(tuple(each.sketch[0][d] for d in scatter if d < len(each.sketch[0])) for each in episodes),
        outliers=tuple(outliers[:_MOST_OUTLIERS]),
        near_duplicates=near_duplicates(episodes, alike),
    )


def _usual(shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return max(shapes, key=shapes.count) if shapes else (0, 0)


def _dimensions(
    alike: Sequence[int], dimensions: Sequence[tuple[DimensionTraits, ...]], steps: Sequence[int]
) -> tuple[DimensionSurvey, ...]:
    if not dimensions:
        return ()
    weights = np.asarray(steps, np.float64)
    return tuple(_dimension(alike, [each[d] for each in dimensions], weights) for d in range(len(dimensions[0])))


def _dimension(
    alike: Sequence[int], traits: Sequence[DimensionTraits], weights: NDArray[np.float64]
) -> DimensionSurvey:
    quantiles = np.array([each.quantiles for each in traits])
    low, high = float(quantiles.min()), float(quantiles.max())
    means, stds = np.array([each.mean for each in traits]), np.array([each.std for each in traits])
    mean = float(np.average(means, weights=weights))
    spread = float(np.sqrt(np.average(stds**2 + (means - mean) ** 2, weights=weights)))
    edges = np.linspace(low, high, _BINS + 1)
    counts = np.zeros(_BINS)
    if high > low:
        for row, weight in zip(quantiles, weights, strict=True):
            # Equal values in a row are a step of the distribution; interp takes the last of them, as it should.
            at = np.searchsorted(row, edges, side="right") / len(row)
            inside = np.interp(edges, row, np.linspace(0, 1, len(row)))
            part = np.where((edges >= row[0]) & (edges < row[-1]) & (np.diff(row) > 0).all(), inside, at)
            part[0] = 0.0
            counts += np.diff(part) * weight
    else:
        counts[0] = weights.sum()
    return DimensionSurvey(
        low=low,
        high=high,
        mean=mean,
        std=spread,
        counts=tuple(counts.tolist()),
        lowest=alike[int(quantiles[:, 0].argmin())],
        highest=alike[int(quantiles[:, -1].argmax())],
    )


def _scatter(episodes: Sequence[EpisodeTraits]) -> tuple[int, ...]:
    """The two dimensions of the state that differ most at the beginning, in units of what they move at all."""
    if not episodes or not episodes[0].state:
        return ()
    starts = np.array([each.sketch[0] for each in episodes])
    span = np.array([_range(episodes, d) for d in range(starts.shape[1])])
    differ = starts.std(axis=0) / np.where(span > 0, span, 1.0)
    return tuple(sorted(int(d) for d in np.argsort(-differ, kind="stable")[:2]))


def _range(episodes: Sequence[EpisodeTraits], d: int) -> float:
    return max(each.state[d].high for each in episodes) - min(each.state[d].low for each in episodes)


# --- what stands out --------------------------------------------------------------------------------------


def _outliers(
    episodes: Sequence[EpisodeTraits], alike: Sequence[int], chosen: Sequence[EpisodeTraits]
) -> Iterator[Outlier]:
    yield from _lengths(episodes)
    repeats = _usual_repeats(episodes) if len(episodes) > 2 else None
    for index, each in enumerate(episodes):
        yield from _frames(index, each, repeats)
        yield from _clock(index, each)
    state = list(_motion("state", alike, [each.state for each in chosen]))
    yield from state
    told = {(found.episode, found.kind) for found in state}  # a state follows its action: told once
    action = _motion("action", alike, [each.action for each in chosen])
    yield from (found for found in action if (found.episode, found.kind) not in told)
    yield from _mismatches(alike, chosen)


def _lengths(episodes: Sequence[EpisodeTraits]) -> Iterator[Outlier]:
    if len(episodes) < 3:
        return
    logs = np.log([each.steps for each in episodes])
    middle = float(np.median(logs))
    spread = max(float(np.median(np.abs(logs - middle))) * 1.4826, _LENGTH_SPREAD)
    for index, value in enumerate(logs):
        score = abs(float(value) - middle) / spread / _LENGTH
        if score >= 1:
            word, side = ("short", "more") if value < middle else ("long", "fewer")
            usual = f"half of the episodes have {round(math.exp(middle))} or {side}"
            text = f"very {word}: {episodes[index].steps} steps, {usual}"
            yield Outlier(episode=index, kind=OutlierKind.LENGTH, score=score, step=None, text=text)


def _motion(what: str, alike: Sequence[int], traits: Sequence[tuple[DimensionTraits, ...]]) -> Iterator[Outlier]:
    """Jumps, and values outside the range that the others keep to: at most one of each an episode, the worst."""
    if len(traits) < 3:
        return
    changes = np.array([[d.largest_change for d in each] for each in traits])
    lows, highs = (np.array([[getattr(d, end) for d in each] for each in traits]) for end in ("low", "high"))
    # what three of four keep to; no value in between, so that one wild episode of a few does not widen it
    low = np.quantile(lows, 0.25, axis=0, method="higher")
    high = np.quantile(highs, 0.75, axis=0, method="lower")
    span = np.maximum(high - low, 1e-9)
    # A joint that hardly moves in most episodes may move in one: it is odd where other joints would find it far, too.
    span = np.maximum(span, np.median(span) / 2)
    usual = np.maximum(np.median(changes, axis=0), 1e-9)
    jump = np.minimum(changes / usual / _JUMP_TIMES, changes / span / _JUMP_PART)
    beyond = np.maximum(low - lows, highs - high) / span / _RANGE_PART
    for row, index in enumerate(alike):
        d = int(jump[row].argmax())
        if jump[row, d] >= 1:
            found = traits[row][d]
            text = (
                f"{what} {d} jumps by {found.largest_change:.3g} in one step, usual are {usual[d]:.2g} "
                f"(its range is {span[d]:.3g})"
            )
            yield Outlier(
                episode=index,
                kind=OutlierKind.JUMP,
                score=float(jump[row, d]),
                step=found.largest_change_at,
                text=text,
            )
        d = int(beyond[row].argmax())
        if beyond[row, d] >= 1:
            text = (
                f"{what} {d} goes from {lows[row, d]:.3g} to {highs[row, d]:.3g}, the others keep to {low[d]:.3g} to "
                f"{high[d]:.3g}: another unit, or a gripper that was calibrated differently?"
            )
            yield Outlier(episode=index, kind=OutlierKind.RANGE, score=float(beyond[row, d]), step=None, text=text)


def _mismatches(alike: Sequence[int], chosen: Sequence[EpisodeTraits]) -> Iterator[Outlier]:
    rows = [(index, each.mismatch) for index, each in zip(alike, chosen, strict=True) if each.mismatch is not None]
    if len(rows) < 3:
        return
    apart = np.array([mismatch for _, mismatch in rows])
    usual = np.maximum(np.median(apart, axis=0), 1e-9)
    span = np.maximum([_range(chosen, d) for d in range(apart.shape[1])], 1e-9)
    score = np.minimum(apart / usual / _MISMATCH_TIMES, apart / span / _MISMATCH_PART)
    for row, (index, _) in enumerate(rows):
        d = int(score[row].argmax())
        if score[row, d] >= 1:
            text = (
                f"dimension {d} of the state is {apart[row, d]:.3g} from what the action asked for at half of the "
                f"steps; usual are {usual[d]:.2g}"
            )
            yield Outlier(episode=index, kind=OutlierKind.MISMATCH, score=float(score[row, d]), step=None, text=text)


def _frames(index: int, episode: EpisodeTraits, repeats: Mapping[str, float] | None) -> Iterator[Outlier]:
    """repeats: what is usual, None where too few episodes tell."""
    rate = episode.fps or _RATE
    for camera in episode.cameras:
        score = camera.frozen_steps / rate / _FROZEN_S
        if score >= 1:
            text = (
                f"{camera.name} shows the same frame for {camera.frozen_steps} steps "
                f"({camera.frozen_steps / rate:.1f} s) while the robot moves"
            )
            yield Outlier(episode=index, kind=OutlierKind.FROZEN, score=score, step=camera.frozen_from, text=text)
        score = camera.black / _BLACK_PART
        if score >= 1:
            text = f"{camera.name} is black in {camera.black:.0%} of the frames looked at"
            yield Outlier(episode=index, kind=OutlierKind.BLACK, score=score, step=camera.black_from, text=text)
        usual = 1.0 if repeats is None else repeats[camera.name]
        more = camera.repeated / episode.steps - usual
        if more / _REPEATED_PART >= 1:
            text = (
                f"{camera.name} repeats the frame before in {camera.repeated / episode.steps:.0%} of the steps, usual "
                f"are {usual:.0%}: frames were lost"
            )
            yield Outlier(episode=index, kind=OutlierKind.REPEATED, score=more / _REPEATED_PART, step=None, text=text)


def _usual_repeats(episodes: Sequence[EpisodeTraits]) -> dict[str, float]:
    """By camera: the part of the steps whose frame is the one before, in the middle of the episodes."""
    parts: dict[str, list[float]] = {}
    for each in episodes:
        for camera in each.cameras:
            parts.setdefault(camera.name, []).append(camera.repeated / each.steps)
    return {name: float(np.median(found)) for name, found in parts.items()}


def _clock(index: int, episode: EpisodeTraits) -> Iterator[Outlier]:
    if episode.late_steps is None or episode.largest_gap_s is None:
        return
    part = episode.late_steps / episode.steps
    gap = 0.0 if episode.fps is None else episode.largest_gap_s * episode.fps
    score = max(part / _LATE_PART, gap / _GAP_INTERVALS)
    if score >= 1:
        text = (
            f"{episode.late_steps} of {episode.steps} steps came late by the robot's clock, the longest after "
            f"{episode.largest_gap_s:.2g} s"
        )
        yield Outlier(episode=index, kind=OutlierKind.CLOCK, score=score, step=None, text=text)


# --- what is there twice ----------------------------------------------------------------------------------


def near_duplicates(episodes: Sequence[EpisodeTraits], alike: Sequence[int]) -> tuple[NearDuplicate, ...]:
    """Pairs of episodes with nearly the same motion, the closest first.

    Exact, without comparing all with all: two sketches are no further apart than along their first principal axis, so
    only neighbours there are compared.
    """
    if len(alike) < 2:
        return ()
    sketches = np.array([np.ravel(episodes[i].sketch) for i in alike])
    dimensions = len(episodes[alike[0]].state)
    scale = sketches.reshape(len(alike), -1, dimensions).std(axis=(0, 1))
    wide = (sketches.reshape(len(alike), -1, dimensions) / np.where(scale > 0, scale, 1.0)).reshape(len(alike), -1)
    wide = (wide - wide.mean(axis=0)) / math.sqrt(wide.shape[1])  # distances are root mean squares
    _, vectors = np.linalg.eigh(wide.T @ wide)
    along = wide @ vectors[:, -1]
    order = np.argsort(along, kind="stable")
    sorted_along = along[order]
    found: list[tuple[float, int, int]] = []
    for place, row in enumerate(order):
        end = int(np.searchsorted(sorted_along, along[row] + _SAME, side="right"))
        others = order[place + 1 : end]
        if not len(others):
            continue
        distances = np.sqrt(((wide[others] - wide[row]) ** 2).sum(axis=1))
        for other, distance in zip(others[distances < _SAME], distances[distances < _SAME], strict=True):
            first, second = sorted((alike[int(row)], alike[int(other)]))
            found.append((float(distance), first, second))
        if len(found) > 8 * _MOST_DUPLICATES:  # many copies of one episode: their pairs would fill the memory
            found = heapq.nsmallest(_MOST_DUPLICATES, found)
    closest = heapq.nsmallest(_MOST_DUPLICATES, found)
    return tuple(NearDuplicate(first=first, second=second, distance=distance) for distance, first, second in closest)

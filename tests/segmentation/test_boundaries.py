"""Boundary candidates on motions whose truth is known: by construction, by brute force, and by the scripted expert."""

import itertools

import numpy as np
import pytest

from dexvla.episodes.arms import arms_of
from dexvla.segmentation.boundaries import (
    BoundarySettings,
    BoundarySource,
    Candidate,
    breaks,
    candidates,
    merged,
    smoothed,
    turning_points,
)

FPS = 50.0
SETTINGS = BoundarySettings()
ALOHA = arms_of("aloha_sim", 14)


def glide(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Minimum jerk from one pose to the next, as people and planners move."""
    part = np.linspace(0, 1, steps)[:, None]
    return start + (end - start) * (10 * part**3 - 15 * part**4 + 6 * part**5)


def pick_and_place(*, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """The right arm reaches, grasps, carries and lets go; the left one rests. qpos (T, 14) and the boundaries."""
    poses = [np.zeros(6), np.array([0.5, 0.6, -0.4, 0.2, 0.3, 0.0]), np.array([-0.6, 0.2, 0.3, -0.2, 0.1, 0.4])]
    parts: list[tuple[np.ndarray, float, float]] = [
        (glide(poses[0], poses[1], 100), 1.0, 1.0),
        (glide(poses[1], poses[1], 30), 1.0, 0.3),
        (glide(poses[1], poses[2], 90), 0.3, 0.3),
        (glide(poses[2], poses[2], 30), 0.3, 1.0),
    ]
    rows, starts = [], []
    for joints, before, after in parts:
        starts.append(sum(len(row) for row in rows))
        ramp = np.clip(np.arange(len(joints)) / 12, 0, 1)
        opening = before + (after - before) * ramp
        rows.append(np.column_stack([np.zeros((len(joints), 6)), np.ones(len(joints)), joints, opening]))
    motion = np.concatenate(rows)
    return motion + np.random.default_rng(seed).normal(0, noise, motion.shape), starts[1:]


def near(found: list[int], truth: list[int], within: int) -> bool:
    return len(found) == len(truth) and all(abs(a - b) <= within for a, b in zip(sorted(found), truth, strict=True))


@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_the_gripper_says_when_it_closes_and_opens(noise: float) -> None:
    motion, (grasp, _, release) = pick_and_place(noise=noise)
    found = [one for one in candidates(motion, FPS, ALOHA, SETTINGS) if one.source is BoundarySource.GRIPPER]
    assert near([one.step for one in found], [grasp, release], 5), found
    assert {one.arm for one in found} == {"right"}


def test_a_gripper_that_flickers_for_two_steps_says_nothing() -> None:
    motion = np.zeros((200, 14))
    motion[100:102, 13] = 1.0
    assert candidates(motion, FPS, ALOHA, SETTINGS) == []
    motion[150:, 13] = 1.0
    (found,) = candidates(motion, FPS, ALOHA, SETTINGS)
    assert (found.source, found.step) == (BoundarySource.GRIPPER, pytest.approx(150, abs=8))


def test_turning_points_take_turns() -> None:
    wave = np.sin(np.arange(400) / 20)
    turns = turning_points(wave, 0.5)
    assert [round(float(wave[turn])) for turn in turns[1:-1]] == [1, -1] * 3
    assert turning_points(wave, 2.5) == []


def test_the_speed_says_where_an_arm_stops_and_sets_off() -> None:
    motion, (grasp, carry, release) = pick_and_place()
    found = [one for one in candidates(motion, FPS, ALOHA, SETTINGS) if one.source is BoundarySource.SPEED]
    assert near([one.step for one in found], [grasp, carry], 12), found
    stop, go = sorted(found, key=lambda one: one.step)
    assert go.confidence > stop.confidence, "who labels cuts where something begins"
    assert release not in [one.step for one in found], "nothing moves after it"


@pytest.mark.parametrize("pause", [2, 6, 12])
def test_a_short_rest_between_two_movements_is_one_boundary_in_its_middle(pause: int) -> None:
    """Evenly there and on, with a ramp of ten steps at each end: the arm stands still for `pause` steps."""
    speed = np.concatenate([np.ones(60), np.linspace(1, 0, 10), np.zeros(pause), np.linspace(0, 1, 10), np.ones(60)])
    motion = np.zeros((len(speed), 14))
    motion[:, 7:9] = np.cumsum(speed / FPS)[:, None]
    found = [one for one in candidates(motion, FPS, ALOHA, SETTINGS) if one.source is BoundarySource.SPEED]
    assert near([one.step for one in found], [69 + (pause + 1) // 2], 1), found


def test_an_arm_at_rest_has_no_boundaries() -> None:
    noise = np.random.default_rng(0).normal(0, 0.0005, (400, 14))
    assert candidates(noise + 0.5, FPS, ALOHA, SETTINGS) == []


def test_a_bend_without_a_stop_is_a_change() -> None:
    """The same speed all the time, first with one joint, then with another."""
    velocity = np.zeros((200, 14))
    velocity[:120, 0], velocity[120:, 1] = 0.5, 0.5
    found = candidates(np.cumsum(velocity / FPS, axis=0), FPS, ALOHA, SETTINGS)
    change = [one for one in found if one.source is BoundarySource.CHANGE]
    assert near([one.step for one in change], [120], 5), found


def test_breaks_are_the_best_there_are() -> None:
    """Against all ways of cutting ten samples."""
    random = np.random.default_rng(3)
    for _ in range(20):
        series = random.normal(0, 0.3, (10, 2)) + (np.arange(10) >= random.integers(1, 10))[:, None] * 2
        penalty = 0.4

        def total(places: tuple[int, ...], series: np.ndarray = series) -> float:
            parts = np.split(series, places)
            return sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts) + 0.4 * np.log(10) * len(places)

        every = [places for size in range(10) for places in itertools.combinations(range(1, 10), size)]
        assert tuple(place for place, _ in breaks(series, penalty)) == min(every, key=total)


def test_what_a_break_is_worth_is_counted_in_its_price() -> None:
    series = np.concatenate([np.zeros((10, 1)), np.ones((10, 1))])
    ((place, worth),) = breaks(series, 0.1)
    assert place == 10
    assert worth == pytest.approx(5.0 / (0.1 * np.log(20)))  # 20 samples half a unit from their common mean


def test_candidates_of_one_moment_are_one_boundary() -> None:
    def at(step: int, confidence: float, source: BoundarySource, arm: str) -> Candidate:
        return Candidate(step=step, confidence=confidence, source=source, arm=arm)

    found = [
        at(50, 0.5, BoundarySource.SPEED, "left"),
        at(52, 0.8, BoundarySource.GRIPPER, "right"),
        at(54, 0.5, BoundarySource.SPEED, "right"),
        at(80, 0.3, BoundarySource.CHANGE, "left"),
    ]
    first, second = merged(found, FPS, SETTINGS)
    assert (first.step, len(first.parts)) == (52, 3)
    assert first.confidence == pytest.approx(1 - 0.2 * 0.5), "both arms at once are one sign of their speed"
    assert (second.step, second.confidence) == (80, pytest.approx(0.3))


def test_the_moment_is_not_that_of_a_change_while_anything_knows_it_better() -> None:
    """However sure it is: its moment is known to a tenth of a second."""
    change = Candidate(step=95, confidence=0.9, source=BoundarySource.CHANGE, arm="left")
    speed = Candidate(step=100, confidence=0.4, source=BoundarySource.SPEED, arm="left")
    (boundary,) = merged([speed, change], FPS, SETTINGS)
    assert (boundary.step, boundary.parts) == (100, (change, speed))
    (boundary,) = merged([change], FPS, SETTINGS)
    assert boundary.step == 95


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
@pytest.mark.parametrize("dimensions", [1, 7, 14])
def test_short_episodes_and_other_robots(steps: int, dimensions: int) -> None:
    motion = np.random.default_rng(0).normal(0, 1, (steps, dimensions))
    found = candidates(motion, FPS, arms_of(None, dimensions), SETTINGS)
    assert all(0 < one.step < steps and 0 <= one.confidence <= 1 for one in found)


def test_smoothing_keeps_a_constant_and_the_mean_of_a_step() -> None:
    assert smoothed(np.full(30, 2.0), 3.0) == pytest.approx(np.full(30, 2.0))
    edge = smoothed((np.arange(60) >= 30).astype(float), 3.0)
    assert edge[30] == pytest.approx(0.5, abs=0.1)
    assert (np.diff(edge) >= 0).all()

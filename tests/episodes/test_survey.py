"""What stands out in a dataset is found, with where and why; what is ordinary is not."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.reader import open_episode
from dexvla.episodes.survey import survey
from dexvla.episodes.traits import episode_traits
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError
from dexvla.spec.survey import EpisodeTraits, OutlierKind, Run, Survey

STEPS, FPS = 120, 50.0


class Drawn:
    """An ordinary episode, to be made odd: ten steps of rest, a smooth reach, frames that all differ."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        time = np.clip((np.arange(STEPS) - 10) / 80, 0, 1)[:, None]
        goal = random.uniform(0.5, 1.5, (1, 4))
        self.qpos = (random.uniform(0, 0.2, (1, 4)) + goal * (3 * time**2 - 2 * time**3)).astype(np.float32)
        self.action = np.concatenate([self.qpos[1:], self.qpos[-1:]]) + np.float32(0.001)
        self.frames = [
            encode_jpeg(np.full((24, 32, 3), 60, np.uint8) + random.integers(0, 60, (24, 32, 3), np.uint8))
            for _ in range(STEPS)
        ]
        self.timestamp: NDArray[np.float64] = np.arange(STEPS) / FPS

    def traits(self, path: Path) -> EpisodeTraits:
        data = EpisodeData(
            action=self.action,
            qpos=self.qpos,
            qvel=np.zeros_like(self.qpos),
            images={"cam": self.frames},
            instruction="Reach.",
            attributes=EpisodeAttributes(sim=True, fps=FPS),
            timestamp=self.timestamp,
        )
        write_episode(path, data)
        with open_episode(path) as episode:
            return episode_traits(episode)


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeTraits]:
    folder = tmp_path_factory.mktemp("ordinary")
    return [Drawn(seed).traits(folder / f"episode_{seed}.hdf5") for seed in range(6)]


def look(ordinary: list[EpisodeTraits], odd: Drawn, folder: Path) -> Survey:
    return survey([*ordinary, odd.traits(folder / "odd.hdf5")])


def test_nothing_stands_out_among_ordinary_episodes(ordinary: list[EpisodeTraits]) -> None:
    found = survey(ordinary)
    assert found.outliers == ()
    assert found.near_duplicates == ()
    assert found.episodes == 6
    assert found.steps == 6 * STEPS
    assert found.duration_s == pytest.approx(6 * STEPS / FPS)
    assert EpisodeTraits.model_validate_json(ordinary[0].model_dump_json()) == ordinary[0]


def black(odd: Drawn) -> None:
    odd.frames[60:] = [encode_jpeg(np.full((24, 32, 3), k % 3, np.uint8)) for k in range(60)]


def frozen(odd: Drawn) -> None:
    odd.frames[30:70] = [odd.frames[30]] * 40


def jump(odd: Drawn) -> None:
    odd.qpos[50:, 2] += np.float32(0.4)


def gripper(odd: Drawn) -> None:
    odd.qpos[:, 3] *= 1000


def mismatch(odd: Drawn) -> None:
    odd.action[:, 1] += np.float32(0.3)


def late(odd: Drawn) -> None:
    odd.timestamp = odd.timestamp + np.where(np.arange(STEPS) >= 44, 0.5, 0.0)


@pytest.mark.parametrize(
    ("spoil", "kind", "step", "words"),
    [
        (black, OutlierKind.BLACK, range(60, 64), "cam is black in 50% of the frames"),
        (frozen, OutlierKind.FROZEN, [30], "same frame for 39 steps (0.8 s) while the robot moves"),
        (jump, OutlierKind.JUMP, [50], "state 2 jumps by 0.4"),
        (gripper, OutlierKind.RANGE, [None], "state 3 goes from"),
        (mismatch, OutlierKind.MISMATCH, [None], "dimension 1 of the state is 0.3"),
        (late, OutlierKind.CLOCK, [None], "1 of 120 steps came late by the robot's clock, the longest after 0.52 s"),
    ],
)
def test_what_is_odd_is_found_with_its_place_and_reason(
    ordinary: list[EpisodeTraits],
    tmp_path: Path,
    spoil: Callable[[Drawn], None],
    kind: OutlierKind,
    step: list[int | None],
    words: str,
) -> None:
    odd = Drawn(100)
    spoil(odd)
    found = [each for each in look(ordinary, odd, tmp_path).outliers if each.kind is kind]
    assert [each.episode for each in found] == [6]
    assert words in found[0].text
    assert found[0].step in step
    assert found[0].score >= 1


def test_a_short_episode_is_told(ordinary: list[EpisodeTraits]) -> None:
    found = survey([*ordinary, ordinary[0].model_copy(update={"steps": 30})])
    assert [(each.kind, each.episode) for each in found.outliers] == [(OutlierKind.LENGTH, 6)]
    assert found.outliers[0].text == "very short: 30 steps, half of the episodes have 120 or more"


def test_episodes_that_are_nearly_the_same_are_paired(ordinary: list[EpisodeTraits], tmp_path: Path) -> None:
    again = Drawn(2)
    again.qpos += np.float32(0.0005)
    found = look(ordinary, again, tmp_path).near_duplicates
    assert [(pair.first, pair.second) for pair in found] == [(2, 6)]
    assert 0 < found[0].distance < 0.03


def test_near_duplicates_are_those_that_comparing_all_finds(ordinary: list[EpisodeTraits]) -> None:
    random = np.random.default_rng(5)
    states = random.normal(size=(60, 16, 3)) * 0.02 + random.normal(size=(1, 16, 3))
    three = {"state": ordinary[0].state[:3], "action": ordinary[0].action[:3], "mismatch": None}
    with_sketches = [
        ordinary[0].model_copy(update={**three, "sketch": tuple(map(tuple, state.tolist()))}) for state in states
    ]
    found = {(pair.first, pair.second): pair.distance for pair in survey(with_sketches).near_duplicates}
    scaled = states / states.std(axis=(0, 1))
    expected = {}
    for first in range(60):
        for second in range(first + 1, 60):
            distance = float(np.sqrt(((scaled[first] - scaled[second]) ** 2).mean()))
            if distance < 0.03:
                expected[first, second] = pytest.approx(distance, rel=1e-6)
    assert expected, "the test has pairs to find"
    assert found == expected


def test_rest_at_both_ends_is_known(tmp_path: Path) -> None:
    still = Drawn(3)
    still.qpos = np.concatenate(
        [np.repeat(still.qpos[:1], 40, 0), still.qpos[20:60], np.repeat(still.qpos[59:60], 40, 0)]
    )
    traits = still.traits(tmp_path / "still.hdf5")
    assert traits.idle[0].start == 0
    assert 30 <= traits.idle_head <= 45
    assert traits.idle[-1].end == STEPS
    assert 30 <= traits.idle_tail <= 45
    assert all(isinstance(run, Run) for run in traits.idle)
    assert len(traits.idle) == 2


def test_histograms_count_every_step(ordinary: list[EpisodeTraits]) -> None:
    found = survey(ordinary)
    tops = [each.state[0].high for each in ordinary]
    assert tops[found.state[0].highest] == max(tops) == found.state[0].high
    for dimension in (*found.state, *found.action):
        assert sum(dimension.counts) == pytest.approx(6 * STEPS)
        assert dimension.low < dimension.mean < dimension.high
    assert len(found.scatter) == 2
    assert len(found.starts) == 6
    assert len(found.starts[0]) == 2


def test_an_episode_within_another_is_counted_once(ordinary: list[EpisodeTraits]) -> None:
    """Its lowest value lies on the edge of a bin."""
    wide, narrow = (
        ordinary[0].state[0].model_copy(update={"quantiles": tuple(np.linspace(low, high, 17).tolist())})
        for low, high in ((0, 40), (5, 35))
    )
    pair = [
        ordinary[0].model_copy(update={"steps": steps, "state": (each, *ordinary[0].state[1:])})
        for each, steps in ((wide, 401), (narrow, 3001))
    ]
    counts = survey(pair).state[0].counts
    assert min(counts) >= 0
    assert sum(counts) == pytest.approx(3402)


def test_many_copies_of_an_episode_are_told_by_the_closest_pairs(ordinary: list[EpisodeTraits]) -> None:
    found = survey([*[ordinary[0]] * 120, ordinary[1]]).near_duplicates
    assert len(found) == 500
    assert {pair.distance for pair in found} == {0.0}
    assert all(pair.first < pair.second < 120 for pair in found)


def test_motion_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.hdf5"
    Drawn(0).traits(path)
    with h5py.File(path, "r+") as file:
        file["action"][3, 1] = np.nan
    with open_episode(path) as episode, pytest.raises(EpisodeError, match="not finite"):
        episode_traits(episode)

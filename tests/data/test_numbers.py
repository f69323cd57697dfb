"""Statistics, normalisation and chunks, against the reference's numbers (see tests/parity for where they come from)."""

import json

import numpy as np
import pytest

from dexvla.data.chunks import action_chunk, action_source
from dexvla.data.normalise import normalise_actions, normalise_state, unnormalise_actions
from dexvla.data.statistics import norm_stats
from dexvla.episodes.reader import load_episode
from dexvla.errors import UserError
from dexvla.spec import NormStats, PaddedActions
from tests.support.paths import ROOT

SHARED = ROOT.parent / "shared" / "parity" / "episode"
DATA = SHARED if SHARED.is_dir() else ROOT / "tests" / "data" / "parity" / "episode"
SETS = {
    "sim": ["episode_0_sim"],
    "real": ["episode_1_real"],
    "all": ["episode_0_sim", "episode_1_real", "episode_2_real_short"],
}


@pytest.mark.parametrize("name", SETS)
def test_statistics_chunks_masks_and_states_equal_the_reference(name: str) -> None:
    expected = np.load(DATA / "dataset_expected.npz")
    listed = json.loads((DATA / "dataset_expected.json").read_text())[name]
    episodes = [load_episode(DATA / f"{file}.hdf5") for file in SETS[name]]
    stats = norm_stats((episode.action, episode.qpos) for episode in episodes)
    for field in ("action_mean", "action_std", "action_min", "action_max", "qpos_mean", "qpos_std", "example_qpos"):
        np.testing.assert_allclose(getattr(stats, field), expected[f"{name}.stats.{field}"], rtol=1e-6, atol=1e-6)
    for row, (number, step) in enumerate(listed["locate"]):
        episode = episodes[number]
        source = action_source(episode.action, step, sim=episode.sim)
        chunk, is_pad = action_chunk(source, 8, PaddedActions.ZEROS)
        np.testing.assert_array_equal(is_pad, expected[f"{name}.is_pad"][row].astype(bool))
        np.testing.assert_allclose(
            normalise_actions(chunk, stats), expected[f"{name}.action"][row], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(
            normalise_state(episode.qpos[step], stats), expected[f"{name}.state"][row], rtol=1e-5, atol=1e-5
        )


def test_a_chunk_has_its_full_length_however_short_the_episode() -> None:
    action = np.arange(6, dtype=np.float32).reshape(3, 2)
    chunk, is_pad = action_chunk(action_source(action, 1, sim=True), 5, PaddedActions.REPEAT_LAST)
    np.testing.assert_array_equal(chunk, [[2, 3], [4, 5], [4, 5], [4, 5], [4, 5]])
    np.testing.assert_array_equal(is_pad, [False, False, True, True, True])


def test_normalising_and_back_gives_the_same_actions() -> None:
    rng = np.random.default_rng(0)
    action, qpos = rng.normal(size=(50, 10)), rng.normal(size=(50, 7))
    stats = norm_stats([(action, qpos)])
    normalised = normalise_actions(action, stats)
    assert np.abs(normalised).max() < 1
    np.testing.assert_allclose(unnormalise_actions(normalised, stats), action, atol=1e-6)
    assert stats.steps == 50
    with pytest.raises(UserError, match="action has 9 values, the norm statistics have 10"):
        normalise_actions(action[:, :9], stats)


def test_one_step_has_finite_statistics() -> None:
    stats = norm_stats([(np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32))])
    assert stats.action_std == (0.01, 0.01)
    assert NormStats.model_validate_json(stats.model_dump_json()) == stats


@pytest.mark.parametrize("value", [0.0, 0.25, 57_000.125, -90_000.0, 3e7, 1e15])
def test_a_dimension_that_stands_still_is_normalised_to_nought_and_back_whatever_its_value(value: float) -> None:
    actions = np.stack([np.linspace(-1, 1, 5), np.full(5, value)], axis=1).astype(np.float32)
    stats = norm_stats([(actions, actions)])
    normalised = normalise_actions(actions, stats)
    np.testing.assert_allclose(normalised[:, 1], 0, atol=1e-3)
    np.testing.assert_allclose(normalise_state(actions, stats)[:, 1], 0, atol=1e-3)
    for predicted in (-1.0, 0.0, 0.3, 1.0):
        back = unnormalise_actions(np.asarray([[0.0, predicted]], np.float32), stats)
        np.testing.assert_allclose(back[0, 1], value, rtol=1e-7, atol=1.1e-4)

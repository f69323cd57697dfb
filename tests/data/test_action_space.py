"""Actions as positions, deltas and differences: there and back, their statistics, and a policy that predicts them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexvla.data.action_space import delta_sums, from_space, to_space
from dexvla.data.chunks import action_source
from dexvla.data.statistics import action_stats
from dexvla.episodes.sums import together
from dexvla.errors import CheckpointError, UserError
from dexvla.spec import ActionKind, ActionSpace, TrainSpec
from dexvla.train.prepare import prepare_data

pytestmark = pytest.mark.slow

DELTA = ActionSpace(kind=ActionKind.DELTA, absolute=(2,))


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_deltas_come_back_as_the_positions_they_were(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    source, state = rng.normal(size=(steps, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    values = to_space(source, state, DELTA)
    np.testing.assert_allclose(values[:, :2], source[:, :2] - state[:2], atol=1e-6)
    np.testing.assert_array_equal(values[:, 2], source[:, 2])
    np.testing.assert_allclose(from_space(values, state, DELTA), source, atol=1e-5)


def test_differences_add_up_from_the_state() -> None:
    source = np.float32([[1.0, 5.0], [1.5, 5.0], [3.0, 4.0]])
    space = ActionSpace(kind=ActionKind.DIFFERENCE)
    values = to_space(source, np.float32([0.9, 5.1]), space)
    np.testing.assert_allclose(values, [[0.5, 0.0], [1.5, -1.0], [0.0, 0.0]])
    np.testing.assert_allclose(from_space(values, source[0], space), [[1.5, 5.0], [3.0, 4.0], [3.0, 4.0]])


@pytest.mark.parametrize("sim", [True, False])
def test_statistics_are_of_every_delta_of_every_chunk(sim: bool) -> None:
    rng = np.random.default_rng(0)
    motions = [(rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), sim) for n in (9, 14)]
    sums = together(delta_sums(a, q, sim=sim, space=DELTA, chunk_size=5) for a, q, sim in motions)
    all_of_them = np.concatenate(
        [
            to_space(action_source(action, step, sim=sim)[:5], qpos[step], DELTA)
            for action, qpos, _ in motions
            for step in range(len(action))
        ]
    ).astype(np.float64)
    stats = action_stats(sums)
    np.testing.assert_allclose(stats["action_mean"], all_of_them.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(stats["action_std"], all_of_them.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(stats["action_max"], all_of_them.max(axis=0) + 1e-4, rtol=1e-12)


def test_a_policy_of_deltas_acts_in_positions(make_spec: Callable[..., TrainSpec], tmp_path: Path) -> None:
    from dexvla.act.base import PolicyInput
    from dexvla.act.policy import CheckpointPolicy
    from dexvla.data.normalise import unnormalise_actions
    from dexvla.model import load_policy
    from dexvla.train.loop import train

    space = {"kind": "delta", "absolute": [6, 13]}
    spec = make_spec(action_space=space, validation_fraction=0.34, validation_max_tokens=4, steps=2)
    result = train(spec)
    trained = load_policy(result.checkpoint)
    assert trained.spec.action_space == ActionSpace(kind=ActionKind.DELTA, absolute=(6, 13))
    assert trained.norm_stats is not None
    assert trained.norm_stats.action_max != prepare_data(make_spec()).stats.action_max
    policy = CheckpointPolicy.load(result.checkpoint, device="cpu", max_new_tokens=4)
    state = np.linspace(-1, 1, 14, dtype=np.float32)
    images = {camera.name: np.zeros((48, 64, 3), np.uint8) for camera in policy.metadata.cameras}
    chunk = policy.infer(PolicyInput(images=images, state=state, instruction="Move."))
    predicted = unnormalise_actions(chunk.normalised, trained.norm_stats)
    moving = [index for index in range(14) if index not in (6, 13)]
    np.testing.assert_allclose(chunk.actions[:, moving], predicted[:, moving] + state[moving], atol=1e-5)
    np.testing.assert_allclose(chunk.actions[:, [6, 13]], predicted[:, [6, 13]], atol=1e-5)
    third = make_spec(stage=3, init_from=str(result.run), output_dir=str(tmp_path / "third"), steps=1)
    assert load_policy(train(third).checkpoint).spec.action_space == trained.spec.action_space
    other = third.model_copy(update={"output_dir": str(tmp_path / "other"), "action_space": ActionSpace()})
    with pytest.raises(CheckpointError, match="action_space is"):
        train(other)


def test_actions_and_states_that_differ_have_no_deltas(make_spec: Callable[..., TrainSpec], seed_example: Path) -> None:
    with pytest.raises(UserError, match="same dimensions; found 10 and 7; use absolute"):
        prepare_data(make_spec(data=[{"path": str(seed_example)}], action_space={"kind": "delta"}))
    with pytest.raises(UserError, match="names dimension 14; actions have 14, from 0"):
        prepare_data(make_spec(action_space={"kind": "delta", "absolute": [14]}))

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexvla.act.chunks import ChunkExecutor, ChunkRefused, ExecutionMode, RefusalReason, StampedChunk
from dexvla.errors import UserError

pytestmark = pytest.mark.clockless

SIZE = 8


def executor(**options):
    return ChunkExecutor(**{"chunk_size": SIZE, "action_dim": 2, "execute_steps": 4, **options})


def chunk(step, *, epoch=0, offset=0.0, size=SIZE):
    """Action i is [step + i + offset, -(step + i)]: its first entry names the step that it belongs to."""
    steps = step + np.arange(size, dtype=np.float32)
    return StampedChunk(actions=np.stack([steps + offset, -steps], axis=1), step=step, epoch=epoch)


def test_synchronous_execution_asks_every_execute_steps():
    plan = executor()
    asked = []
    for step in range(12):
        if plan.wants_chunk(step):
            asked.append(step)
            assert plan.add(chunk(step), step=step) == 0
        planned = plan.action(step)
        np.testing.assert_array_equal(planned.action, np.float32([step, -step]))
        assert planned.action.dtype == np.float32
        assert planned.index == step % 4
        assert planned.chunks == 1
    assert asked == [0, 4, 8]


def test_a_late_chunk_loses_what_has_elapsed_and_the_reserve_bridges():
    plan = executor()
    plan.add(chunk(0), step=0)
    for step in range(6):  # the answer to the question of step 4 comes at step 6
        assert plan.action(step).action[0] == step
    assert plan.add(chunk(4, offset=0.5), step=6) == 2
    planned = plan.action(6)
    assert planned.action[0] == 6.5
    assert planned.index == 2
    assert not plan.wants_chunk(7)


def test_an_empty_queue_says_so():
    plan = executor()
    assert plan.wants_chunk(0)
    assert plan.action(0) is None
    plan.add(chunk(1), step=1)
    assert all(plan.action(step) is not None for step in range(1, 1 + SIZE))
    assert plan.wants_chunk(1 + SIZE)
    assert plan.action(1 + SIZE) is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: StampedChunk(actions=np.zeros((SIZE, 3)), step=2, epoch=0), RefusalReason.WRONG_SHAPE),
        (lambda: chunk(2, size=SIZE - 1), RefusalReason.WRONG_SHAPE),
        (lambda: StampedChunk(actions=np.full((SIZE, 2), "a"), step=2, epoch=0), RefusalReason.WRONG_SHAPE),
        (lambda: StampedChunk(actions=np.full((SIZE, 2), 1e300), step=2, epoch=0), RefusalReason.NON_FINITE),
        (lambda: chunk(2, epoch=1), RefusalReason.STALE_EPOCH),
        (lambda: chunk(4), RefusalReason.FROM_FUTURE),
        (lambda: chunk(-1), RefusalReason.OUT_OF_ORDER),
    ],
)
def test_a_bad_chunk_is_refused_whole_and_the_old_one_goes_on(make, reason):
    plan = executor()
    plan.add(chunk(0), step=0)
    plan.action(0)
    with pytest.raises(ChunkRefused) as refusal:
        plan.add(make(), step=3)
    assert refusal.value.reason is reason
    assert plan.action(3).action[0] == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_non_finite_value_refuses_the_chunk_and_is_named(bad):
    actions = np.zeros((SIZE, 2), np.float32)
    actions[5, 1] = bad
    with pytest.raises(ChunkRefused, match="1 non-finite values, the first in action 5, entry 1"):
        executor().add(StampedChunk(actions=actions, step=0, epoch=0), step=0)


def test_a_chunk_that_has_elapsed_altogether_is_refused():
    plan = executor()
    with pytest.raises(ChunkRefused) as refusal:
        plan.add(chunk(0), step=SIZE)
    assert refusal.value.reason is RefusalReason.ELAPSED


def test_a_flush_forgets_and_refuses_the_answers_to_older_questions():
    plan = executor()
    plan.add(chunk(0), step=0)
    plan.action(0)
    assert plan.flush() == 1
    assert plan.action(1) is None
    with pytest.raises(ChunkRefused) as refusal:
        plan.add(chunk(1), step=1)
    assert refusal.value.reason is RefusalReason.STALE_EPOCH
    plan.add(chunk(2, epoch=plan.epoch), step=2)
    assert plan.action(2).action[0] == 2


def test_ensembling_weighs_the_oldest_most_as_act_does():
    plan = executor(mode=ExecutionMode.ENSEMBLE, execute_steps=1, ensemble_decay=0.5)
    for step in range(3):
        assert plan.wants_chunk(step)
        plan.add(chunk(step, offset=100.0 * step), step=step)
        planned = plan.action(step)
    weights = np.exp(-0.5 * np.arange(3))
    expected = (weights * (2 + 100.0 * np.arange(3))).sum() / weights.sum()
    np.testing.assert_allclose(planned.action, [expected, -2], rtol=1e-6)
    assert planned.chunks == 3
    assert planned.index == 0


def test_ensembling_leaves_out_chunks_that_have_ended():
    plan = executor(mode=ExecutionMode.ENSEMBLE, execute_steps=1)
    for step in range(3 * SIZE):
        plan.add(chunk(step), step=step)
        planned = plan.action(step)
        np.testing.assert_allclose(planned.action, [step, -step], rtol=1e-6)
        assert planned.chunks == min(step + 1, SIZE)


def test_the_chunk_is_copied():
    plan, given_chunk = executor(), chunk(0)
    plan.add(given_chunk, step=0)
    given_chunk.actions[:] = np.nan
    assert np.isfinite(plan.action(0).action).all()


def test_steps_only_go_forward():
    plan = executor()
    plan.add(chunk(0), step=0)
    plan.action(3)
    with pytest.raises(ValueError, match="only go forward"):
        plan.action(3)


def test_more_steps_than_a_chunk_has_is_a_users_error():
    with pytest.raises(UserError, match=r"execute_steps is 9, expected 1 \.\. 8"):
        executor(execute_steps=9)


@given(
    execute=st.integers(1, SIZE),
    mode=st.sampled_from(ExecutionMode),
    delays=st.lists(st.integers(0, 2 * SIZE), max_size=20),
)
def test_whatever_the_delays_an_action_is_the_one_of_its_step_or_there_is_none(execute, mode, delays):
    """An asynchronous caller: the answer to a question comes after any delay; no answer is ever played out of step."""
    plan = executor(execute_steps=execute, mode=mode)
    pending, waiting = list(delays), None
    for step in range(60):
        if waiting is not None and waiting[0] <= step:
            asked, waiting = waiting[1], None
            if step - asked < SIZE:
                assert plan.add(chunk(asked), step=step) == step - asked
        if waiting is None and plan.wants_chunk(step):
            delay = pending.pop() if pending else 0
            if delay == 0:
                plan.add(chunk(step), step=step)
            else:
                waiting = (step + delay, step)
        planned = plan.action(step)
        if planned is None:
            assert waiting is not None
        else:
            np.testing.assert_allclose(planned.action, [step, -step], rtol=1e-6, atol=1e-6)

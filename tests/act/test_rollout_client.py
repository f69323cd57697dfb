"""The rollout's logic, step by step, with chunks whose actions say which step they belong to."""

import numpy as np
import pytest

from dexvla.act.base import ActionChunk, PolicyMetadata
from dexvla.act.rollout import Request, Rollout, cameras_for, misfits
from dexvla.errors import UserError
from dexvla.robots.base import RobotInfo
from dexvla.spec import CameraSpec

pytestmark = pytest.mark.clockless

HIGH = CameraSpec(name="cam_high", height=480, width=640)
TABLE = CameraSpec(name="cam_table", height=112, width=112)
METADATA = PolicyMetadata(
    cameras=(CameraSpec(name="cam_table", height=56, width=56),),
    recorded_cameras=(TABLE,),
    action_dim=2,
    state_dim=2,
    chunk_size=10,
    fps=50,
    robot="arm",
    render_profile="fast",
    checkpoint="tiny",
)


def chunk_at(step: int, *, offset: float = 0.0, reasoning: str = "Reach.") -> ActionChunk:
    """Action i is (step + i + offset) twice."""
    actions = (step + np.arange(10, dtype=np.float32) + offset)[:, None].repeat(2, axis=1)
    return ActionChunk(actions=actions, normalised=actions, reasoning=reasoning, infer_ms=1.0)


def new_rollout(**options: object) -> Rollout:
    return Rollout(METADATA, instruction="red", control_hz=50.0, **{"execute_steps": 4, **options})


def first_chunk(rollout: Rollout, *, frames: int = 0, step: int = 2) -> Request:
    request = rollout.ask(step=step, frames_step=frames)
    assert rollout.answer(request, chunk_at(frames), step=step, latency_s=0.04)
    return request


def test_what_has_elapsed_is_dropped_and_every_action_is_of_its_own_step() -> None:
    rollout = new_rollout()
    assert rollout.wants(0)
    request = rollout.ask(step=0, frames_step=0)
    assert not rollout.wants(1), "one request at a time"
    assert rollout.action(0) is None
    assert rollout.answer(request, chunk_at(0), step=3, latency_s=0.06)
    assert [rollout.action(step)[0] for step in range(3, 10)] == [3, 4, 5, 6, 7, 8, 9]
    assert rollout.action(10) is None
    assert rollout.late_steps == 1, "waiting for the first chunk is not late"


def test_it_asks_after_the_steps_to_execute_or_as_soon_as_the_latency_calls_for() -> None:
    rollout = new_rollout()
    first_chunk(rollout, frames=0, step=0)
    asked = []
    for step in range(0, 6):
        asked.append(rollout.wants(step))
        rollout.action(step)
    assert asked == [False, False, False, False, True, True]
    slow = new_rollout(execute_steps=10)
    request = slow.ask(step=0, frames_step=0)
    slow.answer(request, chunk_at(0), step=0, latency_s=0.1)  # five steps, and two to spare
    asked = []
    for step in range(0, 6):
        asked.append(slow.wants(step))
        slow.action(step)
    assert asked == [False, False, False, True, True, True], "ten actions less seven"


def test_the_reserve_is_played_while_the_answer_is_late_and_then_it_says_so() -> None:
    rollout = new_rollout()
    first_chunk(rollout, frames=0, step=0)
    for step in range(5):
        rollout.action(step)
    request = rollout.ask(step=5, frames_step=4)
    assert rollout.action(9)[0] == 9
    assert rollout.action(60) is None
    assert "no answer for 1.1 s" in (rollout.why(60) or "")
    assert not rollout.answer(request, chunk_at(4), step=61, latency_s=1.2)
    assert "have elapsed" in (rollout.refused or "")
    assert rollout.wants(61)


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (np.full((10, 2), np.nan, np.float32), "non-finite"),
        (np.zeros((10, 3), np.float32), r"(10, 3)"),
        (np.zeros((4, 2), np.float32), r"(4, 2)"),
    ],
)
def test_what_cannot_be_used_is_refused_and_the_old_chunk_goes_on(actions: np.ndarray, reason: str) -> None:
    rollout = new_rollout()
    first_chunk(rollout, frames=0, step=0)
    request = rollout.ask(step=4, frames_step=4)
    bad = ActionChunk(actions=actions, normalised=actions, reasoning="", infer_ms=1.0)
    assert not rollout.answer(request, bad, step=5, latency_s=0.02)
    assert reason in (rollout.refused or "")
    assert rollout.action(5)[0] == 5
    assert rollout.action(20) is None
    assert reason in (rollout.why(20) or "")
    for _ in range(4):
        assert not rollout.broken
        rollout.fail(rollout.ask(step=21, frames_step=21), "again")
    assert rollout.broken
    assert not rollout.wants(22)
    rollout.flush()
    assert rollout.wants(22), "a person resumed it"


def test_a_new_instruction_is_asked_for_at_once_and_the_old_answer_dropped() -> None:
    rollout = new_rollout()
    first_chunk(rollout, frames=0, step=0)
    rollout.action(0)
    assert not rollout.wants(1)
    rollout.instruct("red")
    assert not rollout.wants(1), "the same words change nothing"
    rollout.instruct("blue")
    assert rollout.wants(1)
    request = rollout.ask(step=1, frames_step=1)
    assert request.instruction == "blue"
    rollout.instruct("green")
    assert not rollout.answer(request, chunk_at(1, offset=100), step=2, latency_s=0.02)
    assert rollout.refused is None
    assert rollout.action(2)[0] == 2
    request = rollout.ask(step=2, frames_step=2)
    assert rollout.answer(request, chunk_at(2, offset=100), step=3, latency_s=0.02)
    assert rollout.action(3)[0] == 103


def test_after_a_flush_no_answer_of_before_is_taken() -> None:
    rollout = new_rollout()
    request = rollout.ask(step=0, frames_step=0)
    rollout.flush()
    assert not rollout.answer(request, chunk_at(0), step=1, latency_s=0.02)
    rollout.on_token(request, "Grab")
    assert rollout.reasoning is None
    rollout.fail(request, "nobody cares")
    assert rollout.refused is None
    assert rollout.action(1) is None
    assert rollout.late_steps == 0


def test_the_reasoning_is_told_while_it_grows() -> None:
    rollout = new_rollout()
    request = rollout.ask(step=3, frames_step=1)
    rollout.on_token(request, "Move")
    assert rollout.reasoning is not None
    assert (rollout.reasoning.step, rollout.reasoning.text, rollout.reasoning.done) == (1, "Move", False)
    rollout.answer(request, chunk_at(1, reasoning="Move left."), step=4, latency_s=0.1)
    assert (rollout.reasoning.text, rollout.reasoning.done) == ("Move left.", True)


def test_execute_steps_beyond_the_chunk_are_refused() -> None:
    with pytest.raises(UserError, match=r"expected 1 \.\. 10"):
        new_rollout(execute_steps=11)


def robot(*cameras: CameraSpec, **changes: object) -> RobotInfo:
    ones = np.ones(2, np.float32)
    values = {
        "name": "arm", "joint_names": ("a", "b"), "action_names": ("a", "b"), "action_low": -ones, "action_high": ones,
        "control_hz": 50.0, "simulated": True, "cameras": cameras,
    }  # fmt: skip
    return RobotInfo(**{**values, **changes})


def test_what_does_not_fit_is_told_reason_by_reason() -> None:
    assert misfits(METADATA, robot(HIGH, TABLE), render_profile="fast") == []
    three = np.ones(3, np.float32)
    other = robot(
        HIGH, name="leg", joint_names=("a", "b", "c"), action_names=("a", "b", "c"), action_low=-three,
        action_high=three, control_hz=30.0,
    )  # fmt: skip
    assert misfits(METADATA, other, render_profile="full") == [
        "it was trained on the robot arm, this is leg",
        "it has 2 action values, the robot 3",
        "it has 2 state values, the robot 3",
        "it was trained at 50 Hz, the robot runs at 30",
        "the robot has no camera cam_table (it has cam_high)",
        "its training images were rendered with the profile fast, these are full",
    ]
    small = TABLE.model_copy(update={"height": 48})
    assert misfits(METADATA, robot(small)) == ["cam_table was 112x112 in training, the robot's is 48x112"]


def test_a_scene_gets_the_policys_cameras_beside_the_others() -> None:
    assert cameras_for(METADATA, (HIGH, TABLE.model_copy(update={"height": 48}))) == (TABLE, HIGH)


def test_a_robot_that_waits_takes_no_step_beyond_what_was_answered() -> None:
    rollout = new_rollout(waits=True, execute_steps=8)  # asks four steps ahead: half of them
    assert rollout.stands_still(0), "nothing is known of the first step"
    request = rollout.ask(step=0, frames_step=0)
    for _ in range(500):
        assert rollout.stands_still(0), "however long it takes"
    assert rollout.answer(request, chunk_at(0), step=0, latency_s=10.0)
    played = []
    for step in range(8):
        assert not rollout.stands_still(step)
        if rollout.wants(step):
            request = rollout.ask(step=step, frames_step=step - 1)
        action = rollout.action(step)
        assert action is not None
        played.append(action[0])
    assert played == list(range(8))
    assert (request.sent_at, request.step) == (4, 3), "asked for before it stands still"
    assert rollout.stands_still(8)
    assert rollout.answer(request, chunk_at(3, offset=100), step=8, latency_s=10.0), "no answer is too late"
    assert not rollout.stands_still(8)
    assert rollout.action(8)[0] == 108
    assert (rollout.late_steps, rollout.refused) == (0, None)


def test_a_robot_that_waits_does_not_stand_still_where_the_policy_is_quick() -> None:
    rollout = new_rollout(waits=True, execute_steps=8)
    first_chunk(rollout, frames=0, step=0)
    request = None
    for step in range(40):
        if request is not None and step - request.sent_at == 2:
            assert rollout.answer(request, chunk_at(request.step), step=step, latency_s=0.04)
            request = None
        assert not rollout.stands_still(step)
        if rollout.wants(step):
            request = rollout.ask(step=step, frames_step=step)
        action = rollout.action(step)
        assert action is not None
        assert action[0] == step


def test_a_robot_that_waits_stands_still_for_a_better_answer_and_not_for_a_broken_policy() -> None:
    rollout = new_rollout(waits=True)
    for _ in range(5):
        assert rollout.stands_still(0)
        rollout.fail(rollout.ask(step=0, frames_step=0), "nonsense")
    assert rollout.broken
    assert not rollout.stands_still(0), "it is paused, and time goes on"
    rollout.flush()
    assert rollout.stands_still(1)


def test_a_new_instruction_holds_time_only_after_some_steps() -> None:
    rollout = new_rollout(waits=True, execute_steps=8)
    first_chunk(rollout, frames=0, step=0)
    rollout.action(0)
    rollout.instruct("blue")
    still = []
    for step in range(1, 7):
        still.append(rollout.stands_still(step))
        if not still[-1]:
            rollout.action(step)
    assert still == [False, False, False, False, True, True]
    assert not any(new_rollout().stands_still(step) for step in range(5)), "a real robot's time does not wait"

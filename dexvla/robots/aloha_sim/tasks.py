"""The tasks: where objects start, what a step is worth, and whether the object is held.

Reward and success are gym-aloha's published rules (0 .. 4, success at 4) and are checked against it step by step in
tests/robots. `held` is ours and stricter. gym-aloha grants reward 4 of the cube task as soon as one finger of the left
gripper touches a lifted cube, that is before the left gripper has closed; a roll-out may drop the cube afterwards.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import pick_colour
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.base import TaskOutcome

MAX_REWARD = 4.0
# Of ACT's demonstrations; gym-aloha stops at 300, which is too short for a careful insertion.
MAX_STEPS = 400
HELD_STEPS = 10

INSTRUCTIONS = {
    AlohaTask.TRANSFER_CUBE: "Transfer the red cube to the left arm.",
    AlohaTask.INSERTION: "Insert the red peg into the blue socket.",
}

# Start positions, metres: (x, y, z) low and high. The objects start in the air and fall onto the table (gym-aloha).
_CUBE = np.array([[0.0, 0.4, 0.05], [0.2, 0.6, 0.05]])
_PEG = np.array([[0.1, 0.4, 0.05], [0.2, 0.6, 0.05]])
_SOCKET = np.array([[-0.2, 0.4, 0.05], [-0.1, 0.6, 0.05]])
_UPRIGHT = (1.0, 0.0, 0.0, 0.0)

_SOCKET_WALLS = ("socket-1", "socket-2", "socket-3", "socket-4")


def max_steps(task: AlohaTask) -> int:
    return pick_colour.MAX_STEPS if task is AlohaTask.PICK_COLOUR else MAX_STEPS


def max_reward(task: AlohaTask) -> float:
    return pick_colour.MAX_REWARD if task is AlohaTask.PICK_COLOUR else MAX_REWARD


def check_seed(seed: int) -> int:
    """Returns the seed. Raises RobotError unless a scene can be drawn from it."""
    if not 0 <= seed < 2**32:
        raise RobotError(f"the seed of a scene is {seed}; it must be at least 0 and below 2**32")
    return seed


def object_poses(task: AlohaTask, seed: int) -> NDArray[np.float64]:
    """Start poses of the objects of gym-aloha's tasks, (7,) or (14,): position, metres, and quaternion wxyz of each.

    The generator is numpy's RandomState, whose stream never changes, drawn in gym-aloha's order: the same seed is the
    same scene here and there, so figures can be compared seed by seed.
    """
    random = np.random.RandomState(check_seed(seed))
    ranges = (_CUBE,) if task is AlohaTask.TRANSFER_CUBE else (_PEG, _SOCKET)
    return np.concatenate([[*random.uniform(low, high), *_UPRIGHT] for low, high in ranges])


@dataclass(frozen=True)
class Touching:
    """Which named geoms of a scene touch at this moment."""

    pairs: frozenset[frozenset[str]]

    def __call__(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.pairs

    def any(self, these: tuple[str, ...], other: str) -> bool:
        return any(self(one, other) for one in these)


SIDES = ("left", "right")


def touching(model: Any, data: Any) -> Touching:
    """Contacts of a mujoco.MjData; positions must be up to date (mj_step1 or mj_forward after the last step)."""
    geoms = np.unique(np.asarray(data.contact.geom).reshape(-1, 2), axis=0)
    return Touching(frozenset(frozenset((model.geom(a).name, model.geom(b).name)) for a, b in geoms))


def finger(side: str, which: str) -> str:
    """Name of a finger's geom: side and which are "left" or "right"."""
    return f"vx300s_{side}/10_{which}_gripper_finger"


def _transfer_cube(touch: Touching) -> tuple[float, bool]:
    cube = "red_box"
    on_table = touch(cube, "table")
    # The published rule looks at one finger of each gripper: the left one's left and the right one's right.
    left = touch(cube, finger("left", "left"))
    right = touch(cube, finger("right", "right"))
    if left:
        reward = 3.0 if on_table else 4.0
    elif right:
        reward = 1.0 if on_table else 2.0
    else:
        reward = 0.0
    pinched = left and touch(cube, finger("left", "right"))
    released = not right and not touch(cube, finger("right", "left"))
    return reward, pinched and released and not on_table


def _insertion(touch: Touching) -> tuple[float, bool]:
    peg = "red_peg"
    lifted = not touch(peg, "table") and not touch.any(_SOCKET_WALLS, "table")
    right = touch(peg, finger("right", "right"))
    left = touch.any(_SOCKET_WALLS, finger("left", "left"))
    inserted = touch(peg, "pin")
    if inserted:
        reward = 4.0
    elif touch.any(_SOCKET_WALLS, peg) and lifted:
        reward = 3.0
    elif left and right:
        reward = 2.0 if lifted else 1.0
    else:
        reward = 0.0
    pinched = (
        right and touch(peg, finger("right", "left")) and left and touch.any(_SOCKET_WALLS, finger("left", "right"))
    )
    return reward, pinched and inserted and lifted


def _pick_colour(touch: Touching, data: Any, scene: pick_colour.PickScene) -> tuple[float, bool, bool]:
    """Reward, is the named cube held up, is another one."""
    named = pick_colour.cube(scene.named)
    pinched = any(touch(named, finger(side, "left")) and touch(named, finger(side, "right")) for side in SIDES)
    holding = pinched and pick_colour.lifted(data, scene.named)
    others = any(pick_colour.lifted(data, colour) for colour in scene.places if colour != scene.named)
    return float(pinched) + float(holding), holding, others


_RULES = {AlohaTask.TRANSFER_CUBE: _transfer_cube, AlohaTask.INSERTION: _insertion}


@dataclass
class Judge:
    """Keeps the outcome of an episode up to date.

    held, transfer_cube: both left fingers touch the cube, no right finger does, the cube is off the table.
    held, insertion: the peg touches the pin inside the socket while the right gripper pinches the peg, the left one
    the socket, and neither touches the table. Either must be so in most of the last 0.2 s: the contacts of a firm
    grip come and go for single steps.
    pick: the scene of pick_colour, where held and success are: both fingers of one gripper touch the named cube and it
    is lifted. Another cube that is lifted before that makes the episode a failure for good, worth nothing any more.
    """

    task: AlohaTask
    pick: pick_colour.PickScene | None = None
    outcome: TaskOutcome = field(init=False)
    _recent: deque[bool] = field(default_factory=lambda: deque([False] * HELD_STEPS, maxlen=HELD_STEPS))

    def __post_init__(self) -> None:
        wrong = None if self.pick is None else False
        self.outcome = TaskOutcome(reward=0.0, success=False, held=False, wrong=wrong)

    def look(self, model: Any, data: Any) -> None:
        """Take the contacts after a step into account."""
        touch = touching(model, data)
        wrong = self.outcome.wrong
        if self.pick is None:
            reward, holding = _RULES[self.task](touch)
        else:
            reward, holding, others = _pick_colour(touch, data, self.pick)
            wrong = wrong or (others and not self.outcome.success)
            if wrong:
                reward, holding = 0.0, False
        self._recent.append(holding)
        self.outcome = TaskOutcome(
            reward=reward,
            success=self.outcome.success or reward == max_reward(self.task),
            held=2 * sum(self._recent) > HELD_STEPS,
            wrong=wrong,
        )

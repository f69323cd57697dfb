"""Which dimensions of a state belong to which arm."""

from dataclasses import dataclass

from dexvla.spec import ALOHA_SIM_JOINTS

_ARM = 7  # ALOHA: six joints and a gripper


@dataclass(frozen=True, kw_only=True)
class Arm:
    """joints: columns of qpos, radians. gripper: column of qpos, 0 closed .. 1 open, or None."""

    name: str
    joints: tuple[int, ...]
    gripper: int | None


def is_aloha(robot: str | None, dimensions: int) -> bool:
    """Two arms of six joints and a gripper; a file that names no robot but has as many dimensions is taken for one."""
    return dimensions == ALOHA_SIM_JOINTS and (robot is None or robot.startswith("aloha"))


def arms_of(robot: str | None, state_dim: int) -> tuple[Arm, ...]:
    """ALOHA's two arms; of another robot one arm of all dimensions, of which none is known to be a gripper."""
    if not is_aloha(robot, state_dim):
        return (Arm(name="robot", joints=tuple(range(state_dim)), gripper=None),)
    return tuple(
        Arm(name=name, joints=tuple(range(first, first + _ARM - 1)), gripper=first + _ARM - 1)
        for name, first in (("left", 0), ("right", _ARM))
    )


def dimension_names(robot: str | None, dimensions: int) -> list[str]:
    """Of a state or an action: ALOHA's joints by name, others by number."""
    if is_aloha(robot, dimensions):
        joints = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
        return [f"{side}_{joint}" for side in ("left", "right") for joint in joints]
    return [f"dimension {number}" for number in range(dimensions)]

"""What the dimensions of an action and a state are called in plots."""

from dexvla.spec import ALOHA_SIM_JOINTS


def _is_aloha(robot: str | None, dimensions: int) -> bool:
    return dimensions == ALOHA_SIM_JOINTS and (robot is None or robot.startswith("aloha"))


def dimension_names(robot: str | None, dimensions: int) -> list[str]:
    """ALOHA's joints by name, others by number."""
    if _is_aloha(robot, dimensions):
        joints = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
        return [f"{side}_{joint}" for side in ("left", "right") for joint in joints]
    return [f"dimension {number}" for number in range(dimensions)]


def gripper_dimensions(robot: str | None, dimensions: int) -> list[int]:
    return [6, 13] if _is_aloha(robot, dimensions) else []

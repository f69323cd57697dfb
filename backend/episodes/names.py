"""What the dimensions of an action and a state are called in plots."""

from dexvla.episodes.arms import arms_of, is_aloha


def dimension_names(robot: str | None, dimensions: int) -> list[str]:
    """ALOHA's joints by name, others by number."""
    if is_aloha(robot, dimensions):
        joints = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
        return [f"{side}_{joint}" for side in ("left", "right") for joint in joints]
    return [f"dimension {number}" for number in range(dimensions)]


def gripper_dimensions(robot: str | None, dimensions: int) -> list[int]:
    return [arm.gripper for arm in arms_of(robot, dimensions) if arm.gripper is not None]

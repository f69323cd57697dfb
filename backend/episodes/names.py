"""What the dimensions of an action and a state are called in plots."""

from dexvla.episodes.arms import arms_of, dimension_names

__all__ = ["dimension_names", "gripper_dimensions"]


def gripper_dimensions(robot: str | None, dimensions: int) -> list[int]:
    return [arm.gripper for arm in arms_of(robot, dimensions) if arm.gripper is not None]

"""What the dimensions of an action and a state are called in plots."""

from backend.tables.episode import EpisodeRow
from dexvla.episodes.arms import arms_of, dimension_names

__all__ = ["dimension_names", "gripper_dimensions", "names_of"]


def names_of(row: EpisodeRow) -> list[str]:
    """As the file says, or by the robot, or by number; one for each dimension of the longer of state and action."""
    count = max(row.action_dim, row.state_dim)
    told = [list(names) for names in (row.dimension_names or {}).values() if len(names) == count]
    return told[0] if told else dimension_names(row.robot, count)


def gripper_dimensions(robot: str | None, dimensions: int) -> list[int]:
    return [arm.gripper for arm in arms_of(robot, dimensions) if arm.gripper is not None]

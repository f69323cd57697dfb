"""Limits between a policy and a robot: position first, then the change per step. Pure logic, no I/O.

A: entries of an action.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import UserError
from dexvla.robots.base import RobotInfo


class ActionRefused(UserError):
    """An action that must not be sent, not even limited."""


@dataclass(frozen=True, kw_only=True)
class LimitedAction:
    """action: (A,) float32, what may be sent. position, velocity: (A,) bool, entries on which that limit acted."""

    action: NDArray[np.float32]
    position: NDArray[np.bool_]
    velocity: NDArray[np.bool_]

    @property
    def acted(self) -> bool:
        return bool(self.position.any() or self.velocity.any())


class SafetyLimits:
    """Position limits and, if given, a largest change per step.

    low, high: (A,) in the robot's units. max_velocity: (A,) or one number, the robot's units per second; needs
    control_hz, steps a second. None sets no limit to the change.
    """

    def __init__(
        self,
        *,
        low: NDArray[np.floating[Any]],
        high: NDArray[np.floating[Any]],
        max_velocity: NDArray[np.floating[Any]] | float | None = None,
        control_hz: float | None = None,
    ) -> None:
        self._low = np.asarray(low, dtype=np.float64)
        self._high = np.asarray(high, dtype=np.float64)
        if self._low.ndim != 1 or self._low.shape != self._high.shape:
            raise ValueError(f"limits have the shapes {self._low.shape} and {self._high.shape}, expected (A,) twice")
        if not (np.isfinite(self._low).all() and np.isfinite(self._high).all() and (self._low <= self._high).all()):
            raise ValueError("position limits must be finite, each low at most its high")
        self._max_change: NDArray[np.float64] | None = None
        if max_velocity is not None:
            if control_hz is None or not control_hz > 0 or not np.isfinite(control_hz):
                raise ValueError(f"a velocity limit needs the steps a second, found control_hz={control_hz}")
            velocity = np.broadcast_to(np.asarray(max_velocity, dtype=np.float64), self._low.shape)
            if not (np.isfinite(velocity).all() and (velocity > 0).all()):
                raise ValueError("velocity limits must be finite and above 0")
            self._max_change = velocity / control_hz

    @classmethod
    def for_robot(
        cls, info: RobotInfo, *, max_velocity: NDArray[np.floating[Any]] | float | None = None
    ) -> "SafetyLimits":
        """The robot's own position limits, with a velocity limit in its units per second if wanted."""
        return cls(low=info.action_low, high=info.action_high, max_velocity=max_velocity, control_hz=info.control_hz)

    def apply(
        self, action: NDArray[np.floating[Any]], *, last_sent: NDArray[np.floating[Any]] | None = None
    ) -> LimitedAction:
        """Limit one action, (A,).

        last_sent: (A,) the command sent at the step before; for the first command the measured position. Needed
        where a velocity limit is set. The change is limited last: from a position outside its limits the robot
        moves back at the allowed speed. Raises ActionRefused on a wrong shape or a non-finite value.
        """
        wanted = self._checked(action, "action")
        inside = np.clip(wanted, self._low, self._high)
        position = inside != wanted
        sent = inside
        if self._max_change is not None:
            if last_sent is None:
                raise ValueError("a velocity limit is set: pass last_sent (the measured position at the first step)")
            last = self._checked(last_sent, "last command")
            sent = np.clip(inside, last - self._max_change, last + self._max_change)
        return LimitedAction(action=sent.astype(np.float32), position=position, velocity=sent != inside)

    def _checked(self, values: NDArray[np.floating[Any]], name: str) -> NDArray[np.float64]:
        result = np.asarray(values, dtype=np.float64)
        if result.shape != self._low.shape:
            raise ActionRefused(f"{name} has the shape {result.shape}, expected {self._low.shape}")
        if not np.isfinite(result).all():
            where = ", ".join(str(i) for i in np.flatnonzero(~np.isfinite(result)))
            raise ActionRefused(f"{name} has non-finite values at {where} (counted from 0); nothing may be sent")
        return result

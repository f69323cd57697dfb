"""Limits between a policy and a robot: position first, then velocity and acceleration. Pure logic, no I/O.

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
    """Position limits and, if given, a largest velocity and acceleration.

    low, high: (A,) in the robot's units. max_velocity, max_acceleration: (A,) or one number, the robot's units per
    second and per second squared; they need control_hz, Hz. None sets no such limit.
    """

    def __init__(
        self,
        *,
        low: NDArray[np.floating[Any]],
        high: NDArray[np.floating[Any]],
        max_velocity: NDArray[np.floating[Any]] | float | None = None,
        max_acceleration: NDArray[np.floating[Any]] | float | None = None,
        control_hz: float | None = None,
    ) -> None:
        self._low = np.asarray(low, dtype=np.float64)
        self._high = np.asarray(high, dtype=np.float64)
        if self._low.ndim != 1 or self._low.shape != self._high.shape:
            raise ValueError(f"limits have the shapes {self._low.shape} and {self._high.shape}, expected (A,) twice")
        if not (np.isfinite(self._low).all() and np.isfinite(self._high).all() and (self._low <= self._high).all()):
            raise ValueError("position limits must be finite, each low at most its high")
        limited = max_velocity is not None or max_acceleration is not None
        if limited and (control_hz is None or not control_hz > 0 or not np.isfinite(control_hz)):
            raise ValueError(
                f"a velocity or acceleration limit needs the control rate in Hz, found control_hz={control_hz}"
            )
        # Both per step: entries a step, and entries a step more or less than the step before.
        self._max_change = self._per_step(max_velocity, control_hz or 1.0, "velocity")
        self._max_gain = self._per_step(max_acceleration, (control_hz or 1.0) ** 2, "acceleration")

    @classmethod
    def for_robot(cls, info: RobotInfo) -> "SafetyLimits":
        """The robot's own limits."""
        return cls(
            low=info.action_low,
            high=info.action_high,
            max_velocity=info.max_velocity,
            max_acceleration=info.max_acceleration,
            control_hz=info.control_hz,
        )

    def apply(
        self,
        action: NDArray[np.floating[Any]],
        *,
        last_sent: NDArray[np.floating[Any]] | None = None,
        before: NDArray[np.floating[Any]] | None = None,
    ) -> LimitedAction:
        """Limit one action, (A,).

        last_sent: (A,) the command sent at the step before; for the first command the measured position. Needed
        where a velocity or acceleration is limited. before: (A,) the command before that; None: the robot was at rest.
        The change is limited last: from a position outside its limits the robot moves back at the allowed speed. Where
        the acceleration is limited, a target is approached no faster than the robot can brake. Raises ActionRefused on
        a wrong shape or a non-finite value.
        """
        wanted = self._checked(action, "action")
        inside = np.clip(wanted, self._low, self._high)
        sent = inside
        if self._max_change is not None or self._max_gain is not None:
            if last_sent is None:
                raise ValueError("the change is limited: pass last_sent (the measured position at the first step)")
            last = self._checked(last_sent, "last command")
            change = self._limited_change(inside - last, self._last_change(last, before))
            sent = np.where(change == inside - last, inside, self._not_further_out(last, last + change))
        return LimitedAction(action=sent.astype(np.float32), position=inside != wanted, velocity=sent != inside)

    def brake(
        self, *, last_sent: NDArray[np.floating[Any]], before: NDArray[np.floating[Any]] | None = None
    ) -> LimitedAction:
        """What to send, (A,), where nothing is asked for: decelerate as fast as allowed, then hold. As in `apply`."""
        last = self._checked(last_sent, "last command")
        change = self._last_change(last, before)
        slower = np.zeros_like(change)
        if self._max_gain is not None:
            slower = np.sign(change) * np.maximum(np.abs(change) - self._max_gain, 0.0)
        sent = self._not_further_out(last, last + slower)
        none = np.zeros(last.shape, bool)
        return LimitedAction(action=sent.astype(np.float32), position=none, velocity=none)

    def _limited_change(self, change: NDArray[np.float64], last_change: NDArray[np.float64]) -> NDArray[np.float64]:
        """Entries a step, within both limits. change: what is left to the target."""
        left = np.abs(change)
        if self._max_change is not None:
            change = np.clip(change, -self._max_change, self._max_change)
        if self._max_gain is not None:
            # The largest change v from which n ever smaller ones, v, v - gain, ..., end at the target and not beyond.
            gain = self._max_gain
            steps = np.maximum(np.ceil((np.sqrt(1 + 8 * left / gain) - 1) / 2), 1)
            braking = left / steps + gain * (steps - 1) / 2
            change = np.clip(change, -braking, braking)
            change = np.clip(change, last_change - gain, last_change + gain)
        return change

    def _last_change(self, last: NDArray[np.float64], before: NDArray[np.floating[Any]] | None) -> NDArray[np.float64]:
        return np.zeros_like(last) if before is None else last - self._checked(before, "command before the last")

    def _not_further_out(self, last: NDArray[np.float64], sent: NDArray[np.float64]) -> NDArray[np.float64]:
        """A position limit goes before a gentle deceleration."""
        result: NDArray[np.float64] = np.clip(sent, np.minimum(self._low, last), np.maximum(self._high, last))
        return result

    def _per_step(
        self, limit: NDArray[np.floating[Any]] | float | None, steps: float, name: str
    ) -> NDArray[np.float64] | None:
        if limit is None:
            return None
        values = np.broadcast_to(np.asarray(limit, dtype=np.float64), self._low.shape)
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"{name} limits must be finite and above 0")
        result: NDArray[np.float64] = values / steps
        return result

    def _checked(self, values: NDArray[np.floating[Any]], name: str) -> NDArray[np.float64]:
        result = np.asarray(values, dtype=np.float64)
        if result.shape != self._low.shape:
            raise ActionRefused(f"{name} has the shape {result.shape}, expected {self._low.shape}")
        if not np.isfinite(result).all():
            where = ", ".join(str(i) for i in np.flatnonzero(~np.isfinite(result)))
            raise ActionRefused(f"{name} has non-finite values at {where} (counted from 0); nothing may be sent")
        return result

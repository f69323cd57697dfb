"""Trainings that are stopped on purpose."""

from collections.abc import Callable


def stop_at(step: int) -> Callable[[], bool]:
    """`stop` of a training, which asks once a step: ends it after step `step`."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == step

    return stop

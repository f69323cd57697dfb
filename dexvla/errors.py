"""What went wrong because of what a user gave us.

Commands print these as one line on standard error, without a traceback; a service turns them into a 4xx.
Anything else that escapes is a defect of ours and keeps its traceback.
"""


class UserError(ValueError):
    """Bad input: the message says what was found, what was expected and what to do."""


class EpisodeError(UserError):
    """An episode file that cannot be read, or does not hold what an episode must hold."""


class EpisodeExistsError(EpisodeError):
    """The file that an episode was to be written to is there already; episodes are never overwritten."""


class CheckpointError(UserError):
    """A base model or checkpoint directory that is missing, incomplete or does not fit."""


class OutOfMemoryError(UserError):
    """The work found no room in memory. advice: what would, in words for people; empty where nobody knows."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.advice = advice


class RobotError(UserError):
    """A robot that is unknown, cannot start, or was asked for something it does not have."""


class OptionsError(RobotError):
    """Options that a robot or its task does not have, or values that they may not take."""

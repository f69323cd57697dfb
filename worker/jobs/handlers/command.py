"""A handler's work in a process of its own: `python -m MODULE JOB_ID`, started by the runner, which is told its end."""

import sys
from collections.abc import Callable

from backend.core.settings import Settings
from dexvla import progress
from dexvla.errors import UserError


def as_command(work: Callable[[Settings, str], None]) -> None:
    """Do it; what a user did wrong is one line and exit status 1, a defect keeps its traceback."""
    try:
        work(Settings(), sys.argv[1])
    except (UserError, OSError) as error:
        message = " ".join(str(error).split())
        progress.tell_failure(error, message)
        sys.exit(f"dexvla: {message}")
    except Exception as error:
        progress.tell_failure(error)
        raise

"""Where a process of the studio writes its log: its standard output, one JSON object a line.

A line that cannot be written (a full disk) is lost. It must not end whoever wanted to say something.
"""

from contextlib import suppress
from typing import Any

import structlog


class _Lines(structlog.PrintLogger):
    """Standard output, as long as it takes anything."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _lines(*_: Any) -> _Lines:
    return _Lines()


def configure() -> None:
    """For the whole process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=_lines,
    )

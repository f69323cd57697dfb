"""Requests whose bodies or answers still flow, by whoever asked: they end when that person's access ends.

The application lets a request in once, when it begins; an archive or an upload goes on for minutes. What is cut is a
flow alone: a request that was read whole and is not answered yet may be the one that ends the access (signing out,
disabling), and has its answer.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backend.core.roles import Role
from backend.studio.directory import Directory

# Answers in several pieces that everybody may have, also with the cookie of a session that is over.
_PUBLIC = frozenset(("/api/openapi.json", "/api/health"))


class EndedError(Exception):
    """The access of whoever asked has ended."""


class Flow:
    """One request. reading, answering: whether its body or its answer is under way."""

    def __init__(self, credential: str, role: Role | None, cut: Callable[[], object]) -> None:
        self.credential, self.role, self._cut = credential, role, cut
        self.began = time.monotonic()
        self.reading = self.answering = self.ended = False

    def judge(self, now: Role | None) -> None:
        """now: the role that the credential has, None if nobody's. Cuts what flows for somebody who had more."""
        if self.role is None:
            self.role = now
        elif now is None or not now.allows(self.role):
            self._end()

    def settle(self, role: Role | None) -> None:
        """Whose credential it is, by the database, while a private answer is under way; None: nobody's any more."""
        self.role = role
        if role is None:
            self._end()

    def _end(self) -> None:
        if (self.reading or self.answering) and not self.ended:
            self.ended = True
            self._cut()


class Running:
    """Belongs to the gateway's event loop; looks at every copy of who may ask that the directory makes."""

    def __init__(self) -> None:
        self._flows: set[Flow] = set()
        self._directory: Directory | None = None

    def follow(self, directory: Directory) -> None:
        loop = asyncio.get_running_loop()
        self._directory = directory

        def refreshed() -> None:  # in the directory's thread
            if self._flows and not loop.is_closed():
                loop.call_soon_threadsafe(self._look)

        directory.on_refresh = refreshed

    def _look(self) -> None:
        for flow in tuple(self._flows):
            self.judge(flow)

    def judge(self, flow: Flow) -> None:
        """From the copy in memory, if it is newer than the request: an older one may not know a new sign-in yet."""
        assert self._directory is not None
        if self._directory.taken < flow.began:
            return
        actor = self._directory.known(flow.credential)
        flow.judge(None if actor is None else actor.role)

    @contextmanager
    def flow(self, credential: str, cut: Callable[[], object]) -> Iterator[Flow]:
        """A request under way. cut: called once, in this loop, when it has to end."""
        assert self._directory is not None
        actor = self._directory.known(credential)
        flow = Flow(credential, None if actor is None else actor.role, cut)
        self._flows.add(flow)
        try:
            yield flow
        finally:
            self._flows.discard(flow)


def is_private(path: str) -> bool:
    """Whether a long answer of this address is given to nobody but people who are signed in."""
    return path.startswith("/api/") and path not in _PUBLIC

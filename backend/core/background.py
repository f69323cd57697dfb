"""Work that outlasts its request, in threads of the API process: waiting for other people's servers, not computing.

What has to survive a restart is a job (backend.jobs); what is begun here is lost with the process.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import BoundedSemaphore

from backend.core.errors import TooManyError, UnavailableError

Task = Callable[[], None]


class Background:
    """`threads` at a time, at most `waiting` begun and not over. Threads start with the first task."""

    def __init__(self, *, threads: int, waiting: int) -> None:
        self.threads, self.waiting = threads, waiting
        self._room = BoundedSemaphore(waiting)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="background")

    @contextmanager
    def place(self) -> Iterator[Callable[[Task], None]]:
        """A place for one task, which is begun by calling what this yields. Raises TooManyError where all are taken.

        The task says by itself what became of it.
        """
        if not self._room.acquire(blocking=False):
            raise TooManyError("Too much is being asked at once; wait until one of the others is answered.")
        begun = False

        def begin(task: Task) -> None:
            nonlocal begun
            try:
                self._pool.submit(task).add_done_callback(lambda _: self._room.release())
            except RuntimeError:
                raise UnavailableError("The studio is being stopped; try again when it is back.") from None
            begun = True

        try:
            yield begin
        finally:
            if not begun:
                self._room.release()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

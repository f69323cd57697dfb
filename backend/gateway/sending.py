"""Pieces of an answer sent past the event loop: files by sendfile, in the kernel. A slow disk holds up a thread of
these and nothing else."""

import asyncio
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from backend.core.pieces import Piece, Stretch
from backend.gateway import limits

_TURN_SECONDS = 0.25  # for which one download may have a thread
_WAIT_MS = 20  # in a thread for somebody who is quick; the others are waited for without one
_AT_ONCE = 1 << 24  # bytes a call, of which a connection takes what it has room for
_THREADS = ThreadPoolExecutor(16, thread_name_prefix="send")


class Sending:
    """To one connection, of which nothing is written in any other way meanwhile."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection.dup()  # its number stays ours, whatever becomes of the connection
        self._left: deque[Piece] = deque()
        self._file: int | None = None
        self._name: str | None = None
        self._turn: asyncio.Future[bool] | None = None

    async def send(self, pieces: Iterable[Piece]) -> None:
        """All of them. Raises ConnectionError where the connection is lost, OSError for a file that has vanished or
        shrunk, TimeoutError."""
        self._left.extend(pieces)
        loop = asyncio.get_running_loop()
        while self._left:
            self._turn = loop.run_in_executor(_THREADS, self._send_some)
            if not await asyncio.shield(self._turn):
                async with asyncio.timeout(limits.READ_SECONDS):
                    await self._until_writable(loop)

    async def _until_writable(self, loop: asyncio.AbstractEventLoop) -> None:
        writable: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._socket, _settle, writable)
        try:
            await writable
        finally:
            loop.remove_writer(self._socket)

    def _send_some(self) -> bool:
        """Whether the connection takes more."""
        end = time.monotonic() + _TURN_SECONDS
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        while self._left and time.monotonic() < end:
            if not poll.poll(_WAIT_MS):
                return False
            self._send_of(self._left.popleft())
        return True

    def _send_of(self, piece: Piece) -> None:
        try:
            if not isinstance(piece, Stretch):
                if rest := piece[self._socket.send(piece) :]:
                    self._left.appendleft(rest)
                return
            sent = os.sendfile(
                self._socket.fileno(), self._opened(str(piece.file)), piece.offset, min(piece.size, _AT_ONCE)
            )
        except BlockingIOError:
            self._left.appendleft(piece)
            return
        if not sent:
            raise OSError(f"{piece.file}: shorter than {piece.offset + piece.size} bytes")
        if sent < piece.size:
            self._left.appendleft(Stretch(file=piece.file, offset=piece.offset + sent, size=piece.size - sent))

    def _opened(self, name: str) -> int:
        if self._file is None or self._name != name:
            self._close_file()
            self._file, self._name = os.open(name, os.O_RDONLY | os.O_CLOEXEC), name
        return self._file

    def close(self) -> None:
        """At once; what a thread is sending breaks off."""
        if self._turn is None or self._turn.done():
            self._close()
            return
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._turn.add_done_callback(self._closed_after)

    def _closed_after(self, turn: "asyncio.Future[bool]") -> None:
        if not turn.cancelled():
            turn.exception()  # nobody waits for it any more
        self._close()

    def _close(self) -> None:
        self._close_file()
        self._socket.close()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)

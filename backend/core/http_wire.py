"""HTTP/1.1 to a server of ours over one kept connection, without a thread: the gateway's way to the application and to
robot hosts. httptools parses; answers are handed on in pieces as they come, and who does not read holds them up."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import cast

import httptools

Header = tuple[bytes, bytes]

_HELD_BYTES = 256 * 1024  # of an answer that wait for whoever reads it


class WireError(OSError):
    """The other side closed the connection, or said what is no HTTP."""


class Wire(asyncio.Protocol):
    """One connection. `send` and `write` a request, then `head` and `read` its answer; one request at a time.

    reusable: the answer was read to its end and the connection stays. used: answers read so far.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost: BaseException | None = None
        self._begin(bodiless=False)
        self.used = 0

    def _begin(self, *, bodiless: bool) -> None:
        self._headers: list[Header] = []
        self._status = 0
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._complete = False
        self._bodiless = bodiless
        self._keeps = True

    @property
    def reusable(self) -> bool:
        return self._complete and self._keeps and self._lost is None and self._transport is not None

    @property
    def open(self) -> bool:
        return self._lost is None and self._transport is not None and not self._transport.is_closing()

    # --- asking -----------------------------------------------------------------------------------------------------

    def send(self, method: bytes, target: bytes, headers: Iterable[Header], body: bytes = b"") -> None:
        """The head of a request, and the beginning of its body."""
        self._begin(bodiless=method == b"HEAD")
        lines = [method, b" ", target, b" HTTP/1.1\r\n"]
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n", body)
        self._put(b"".join(lines))

    async def write(self, data: bytes) -> None:
        """More of the body; waits while the other side does not take it."""
        self._put(data)
        if not self._writable.is_set():
            await self._writable.wait()

    def _put(self, data: bytes) -> None:
        if self._lost is not None or self._transport is None or self._transport.is_closing():
            raise WireError("the connection is closed")
        self._transport.write(data)

    # --- the answer -------------------------------------------------------------------------------------------------

    async def head(self) -> tuple[int, list[Header]]:
        """Status and headers, names in lower case."""
        while not self._status:
            await self._wait()
        return self._status, self._headers

    async def read(self) -> tuple[bytes, bool]:
        """What has come of the body since, and whether there will be more."""
        while not self._pieces and not self._complete:
            await self._wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        if self._complete:
            self.used += 1
        return data, not self._complete

    async def _wait(self) -> None:
        if self._lost is not None:
            raise WireError("the connection was closed before the answer was complete") from self._lost
        self._waiting = self._loop.create_future()
        await self._waiting

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """At once; whoever waits for an answer is told."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.connection_lost(error)
            self.close()
            return
        if self._held > _HELD_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost = self._lost or exc or ConnectionResetError("closed")
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- httptools --------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._bodiless:  # the parser waits for a body that does not follow: this connection is done with
            self._complete, self._keeps = True, False

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        self._complete = True
        self._keeps = self._keeps and self._parser.should_keep_alive()


async def connect(address: str) -> Wire:
    """address: host:port. Raises OSError."""
    host, _, port = address.rpartition(":")
    _, wire = await asyncio.get_running_loop().create_connection(Wire, host.strip("[]"), int(port))
    return wire


async def connect_unix(path: str) -> Wire:
    """Raises OSError."""
    _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, path)
    return wire

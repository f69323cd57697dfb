"""HTTP requests handed on to the application and its answers back, in pieces, at the pace of whoever is slower."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from backend.core.http_wire import Header, Wire, WireError, connect_unix
from backend.core.pieces import ASKED, Piece, Reading
from backend.gateway import limits

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    )
)
_KEPT = 64  # connections to the application that wait for the next request
_SAFE = frozenset((b"GET", b"HEAD"))


class TooLargeError(Exception):
    """A body of more bytes than its request may have."""


class TooSlowError(Exception):
    """A body that does not come."""


class GoneError(Exception):
    """Whoever asked has left."""


class Connection(Protocol):
    """Whose request it is."""

    def sending_pieces(self) -> AbstractAsyncContextManager[Callable[[list[Piece]], Awaitable[None]]]: ...


class Upstream:
    """The application's unix socket, with connections that are kept. ready: whether the application answers; its socket
    is there all the time."""

    def __init__(self, path: str, ready: Callable[[], bool]) -> None:
        self.path, self._ready = path, ready
        self._idle: deque[Wire] = deque()
        self._used: set[Wire] = set()

    async def take(self, *, fresh: bool = False) -> Wire:
        """Raises OSError if nobody listens."""
        while self._idle and not fresh:
            wire = self._idle.pop()
            if wire.open:
                self._used.add(wire)
                return wire
        wire = await connect_unix(self.path)
        if not self._ready():
            wire.close()
            raise ConnectionRefusedError("the application has ended")
        self._used.add(wire)
        return wire

    def give_back(self, wire: Wire) -> None:
        self._used.discard(wire)
        if wire.reusable and len(self._idle) < _KEPT:
            self._idle.append(wire)
        else:
            wire.close()

    def close(self) -> None:
        """The application has ended: its socket stays, where requests would wait for the next one."""
        for wire in (*self._used, *self._idle):
            wire.close()
        self._used.clear()
        self._idle.clear()


class Body:
    """The body of a request, read when it is wanted; counted and timed."""

    def __init__(self, receive: Receive, *, most: int) -> None:
        self._receive, self._most = receive, most
        self._count = 0
        self._began = time.monotonic()
        self._waited = 0.0

    async def next(self) -> tuple[bytes, bool]:
        """A piece, and whether there is more. Raises TooLargeError, TooSlowError, GoneError."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(limits.BODY_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise TooSlowError from None
        if message["type"] == "http.disconnect":
            raise GoneError
        self._waited += time.monotonic() - began
        piece: bytes = message.get("body", b"")
        self._count += len(piece)
        if self._count > self._most:
            raise TooLargeError
        if self._waited > limits.BODY_SECONDS and self._count < limits.BODY_BYTES_PER_SECOND * self._waited:
            raise TooSlowError
        return piece, message.get("more_body", False)


async def forward(upstream: Upstream, scope: Scope, receive: Receive, send: Send, *, most: int) -> bool:
    """Whether an answer was given; False where whoever asked has left before. Raises OSError where the application did
    not begin to answer, TooLargeError and TooSlowError likewise; what fails later ends the connection."""
    method: bytes = scope["method"].encode()
    headers: list[Header] = [
        (name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP and name != ASKED
    ]
    if method == b"GET":
        headers.append((ASKED, b"1"))
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if chunked:
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    target: bytes = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    has_body = chunked or any(name == b"content-length" and value != b"0" for name, value in headers)
    exchange = _Exchange(receive, Body(receive, most=most) if has_body else None, chunked=chunked)
    wire = await upstream.take()
    try:
        try:
            status, answer = await exchange.begin(wire, method, target, headers)
        except WireError:
            if not wire.used or method not in _SAFE or has_body:
                raise
            # A kept connection that the application closed at this moment, so that nothing was done yet.
            await exchange.end()
            wire = await upstream.take(fresh=True)
            status, answer = await exchange.begin(wire, method, target, headers)
        kept = [(name, value) for name, value in answer if name not in _HOP_BY_HOP and name != ASKED]
        size = next((value for name, value in answer if name == ASKED), None)
        if size is not None:
            kept.append((b"content-length", size))
        await send({"type": "http.response.start", "status": status, "headers": kept})
        if size is not None:
            await _send_pieces(exchange, wire, scope["state"]["connection"], send)
            return True
        more = True
        while more:
            piece, more = await exchange.read(wire)
            if not more and not await exchange.end():
                scope["state"]["connection"].refuse_rest()
                wire.close()
            async with asyncio.timeout(limits.READ_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        return True
    except GoneError:
        wire.close()
        return False
    except BaseException:
        wire.close()
        raise
    finally:
        await exchange.end()
        upstream.give_back(wire)


async def _send_pieces(exchange: "_Exchange", wire: Wire, connection: Connection, send: Send) -> None:
    """Raises GoneError, OSError."""
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    reading, more = Reading(), True
    async with connection.sending_pieces() as send_pieces:
        while more:
            data, more = await exchange.read(wire)
            try:
                await send_pieces(reading.feed(data))
            except ConnectionError:
                raise GoneError from None
    await send({"type": "http.response.body", "body": b""})


class _Exchange:
    """A request under way: its body goes one way while its answer comes the other, and whoever asked may leave."""

    def __init__(self, receive: Receive, body: Body | None, *, chunked: bool) -> None:
        self._receive, self._body, self._chunked = receive, body, chunked
        self._sending: asyncio.Task[None] | None = None
        self._sent = body is None
        self._failed: Exception | None = None

    async def begin(self, wire: Wire, method: bytes, target: bytes, headers: list[Header]) -> tuple[int, list[Header]]:
        """Status and headers of the answer."""
        wire.send(method, target, headers)
        self._sending = asyncio.ensure_future(self._send(wire))
        try:
            return await wire.head()
        except WireError as error:
            raise self._failed or error from None

    async def read(self, wire: Wire) -> tuple[bytes, bool]:
        try:
            return await wire.read()
        except WireError as error:
            raise self._failed or error from None

    async def end(self) -> bool:
        """Whether all of the body was sent."""
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
            self._sending = None
        return self._sent

    async def _send(self, wire: Wire) -> None:
        try:
            if self._body is not None:
                more = True
                while more:
                    piece, more = await self._body.next()
                    if self._chunked:
                        piece = (b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"") + (
                            b"" if more else b"0\r\n\r\n"
                        )
                    if piece:
                        await wire.write(piece)
                self._sent = True
            while (await self._receive())["type"] != "http.disconnect":
                continue
            self._failed = GoneError()
        except (GoneError, TooLargeError, TooSlowError) as error:
            self._failed = error
        except OSError:
            return  # the application has closed it: its answer, or that there is none, is heard by who reads
        wire.close()


async def answer_error(
    scope: Scope, send: Send, status: int, code: str, message: str, *, retry: int | None = None, close: bool = False
) -> None:
    """An error in the API's own shape. close: what else the connection carries is not read."""
    content = json.dumps({"error": {"code": code, "message": message, "fields": {}, "detail": None}}).encode()
    await answer(scope, send, status, content, retry=retry, close=close)


async def answer(
    scope: Scope, send: Send, status: int, content: bytes, *, retry: int | None = None, close: bool = False
) -> None:
    """content: JSON. retry: seconds. close: what else the connection carries is not read."""
    headers: list[Header] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if retry is not None:
        headers.append((b"retry-after", str(retry).encode()))
    if close:
        headers.append((b"connection", b"close"))
        scope["state"]["connection"].refuse_rest()
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": content})

"""The server's side of a connection: uvicorn's own, with bounds on time, size and number, and tunnels for sockets.

uvicorn has a timeout for idle connections and none for one that never says what it wants.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from backend.core.pieces import Piece, size_of
from backend.gateway import limits
from backend.gateway.forwarded import Proxies, rewritten
from backend.gateway.sending import Sending

_LINGER_SECONDS = 1.0  # for an answer to arrive although the other side is still sending
_LINGER_BYTES = 256 * 1024
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Owner(Protocol):
    """What connections want of the gateway."""

    proxies: Proxies
    register: limits.Register

    def tunnel(self, client: "GatewayProtocol") -> None: ...


class GatewayProtocol(HttpToolsProtocol):
    """`config.app` is an `Owner`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gateway: Owner = self.config.app  # type: ignore[assignment]
        self.peer = ""
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = self._in_message = False
        self._progress = 0  # pieces of bodies, and ends of messages
        self._unread_bytes = 0  # since the last of them: heads, sizes of chunks, trailers
        self._trailers = 0
        self._upgraded = False
        self._discarding: int | None = None

    # --- who is connected -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else "unix"
        bounded = not self.gateway.proxies.trusts(self.peer)
        if not self.gateway.register.admit(self.peer, self, bounded=bounded):
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.left()
        super().connection_lost(exc)

    def left(self) -> None:
        """The connection is over."""
        self._cancel_head()
        self.gateway.register.leave(self.peer, self)

    @property
    def idle(self) -> bool:
        return not self._upgraded and (self.cycle is None or self.cycle.response_complete)

    @property
    def sending(self) -> bool:
        return not self._upgraded and self.cycle is not None and self.cycle.more_body

    def evict(self) -> None:
        self.left()
        self.transport.abort()

    # --- heads ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._discarding is not None:
            self._discarding += len(data)
            if self._discarding > _LINGER_BYTES:
                self.transport.pause_reading()
            return
        awaited, progress = self._head_timer is not None, self._progress
        super().data_received(data)
        if self._progress != progress:
            self._unread_bytes = 0
        elif self._in_message or (awaited and self._head_timer is not None):
            self._count_unread(len(data))

    def _count_unread(self, count: int) -> None:
        """What is no body is held, and looked at again with every piece: it costs the square of its size."""
        self._unread_bytes += count
        if self._unread_bytes <= limits.HEAD_BYTES or self.transport.is_closing():
            return
        if self._in_head or self.cycle is None:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        else:
            self.transport.abort()  # an answer may be on its way

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._trailers = 0
        self.scope["state"]["connection"] = self
        if self._head_timer is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)
        else:
            self._trailers += 1  # not among the headers, which have been looked at and rewritten
        if max(len(self.headers), self._trailers) > limits.HEADERS:
            raise ValueError("too many headers")  # answered 400

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel_head()
        self._refuse_odd_framing()
        self.gateway.register.touch(self.peer, self)
        peer_scheme = self.scheme or "http"
        address, scheme = self.gateway.proxies.origin(self.peer, peer_scheme, self.headers)
        self.headers[:] = rewritten(self.headers, address, scheme)
        if address != self.peer:
            self.scope["client"] = (address, 0)
        self.scope["scheme"] = scheme
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._progress += 1
        super().on_message_complete()

    def _refuse_odd_framing(self) -> None:
        """Raises ValueError, answered 400. The parser takes any coding that ends in chunked, and a body before a
        socket, which nobody would read, time or count."""
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or self.parser.get_http_version() == "1.0"):
            raise ValueError("a transfer coding other than chunked")
        if self.parser.should_upgrade() and self._should_upgrade():
            lengths = [value for name, value in self.headers if name == b"content-length" and value.strip(b"0 ")]
            if codings or lengths or self.parser.get_method() != b"GET":
                raise ValueError("a socket is opened by a GET without a body")

    def _await_head(self) -> None:
        self._unread_bytes = 0
        self._head_timer = self.loop.call_later(limits.HEAD_SECONDS, self._no_head)

    def _cancel_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _no_head(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.abort()

    # --- ends -------------------------------------------------------------------------------------------------------

    def linger(self) -> None:
        """Close when the answer has had time to arrive: whoever is still sending would otherwise lose it."""
        if self._discarding is not None or self.transport.is_closing():
            return
        self._discarding = 0
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def refuse_rest(self) -> None:
        """The body of the request that is being answered is not read; the connection ends after the answer."""
        self.cycle.keep_alive = False
        self.cycle.transport = _Lingering(self)  # type: ignore[assignment]

    # --- answers past the event loop ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def sending_pieces(self) -> AsyncIterator[Callable[[list[Piece]], Awaitable[None]]]:
        """Between the head of an answer and its end: what sends its body, of whose bytes the server then knows. Raises
        ConnectionError where the connection is lost."""
        self.transport.set_write_buffer_limits(high=0)
        await self.flow.drain()  # until nothing of the head waits
        self.transport.set_write_buffer_limits()
        if self.transport.is_closing():
            raise ConnectionResetError
        sending = Sending(self.transport.get_extra_info("socket"))

        async def send(pieces: list[Piece]) -> None:
            if self.transport.is_closing():
                raise ConnectionResetError
            self.cycle.expected_content_length -= sum(map(size_of, pieces))
            await sending.send(pieces)

        try:
            yield send
        finally:
            sending.close()

    # --- sockets ----------------------------------------------------------------------------------------------------

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        self._unset_keepalive_if_required()
        path = self.url.partition(b"?")[0]
        if path.startswith(b"/api/live/"):
            super().handle_websocket_upgrade()
            self._watch_end()
        else:
            self.connections.discard(self)
            self.gateway.tunnel(self)

    def _watch_end(self) -> None:
        """The connection has another protocol now, whose end is the connection's."""
        protocol: Any = self.transport.get_protocol()
        lost = protocol.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            self.left()
            lost(exc)

        protocol.connection_lost = connection_lost


class _Lingering:
    """A transport of which `close` waits for a moment."""

    def __init__(self, protocol: GatewayProtocol) -> None:
        self._protocol, self._transport = protocol, protocol.transport

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._protocol.linger()

"""A socket of a page joined to the application byte by byte: neither side is looked into."""

import asyncio
from collections.abc import Callable
from typing import cast


class Side(asyncio.Protocol):
    """One end of a tunnel. What comes goes to `other`; who does not read holds up who sends."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        other, self.other = self.other, None
        self._on_end()
        if other is not None and other.transport is not None:
            other.transport.close()


async def join(page: asyncio.Transport, first: bytes, path: str, on_end: Callable[[], None]) -> None:
    """page: reading is paused. first: what the application on the unix socket `path` is sent at once. Raises OSError if
    it is away."""
    far, near = Side(lambda: None), Side(on_end)
    await asyncio.get_running_loop().create_unix_connection(lambda: far, path)
    assert far.transport is not None
    near.transport, near.other, far.other = page, far, near
    page.set_protocol(near)
    far.transport.write(first)
    if page.is_closing():
        near.connection_lost(None)
    else:
        page.resume_reading()

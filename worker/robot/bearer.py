"""Bearer authentication: a host talks to whoever knows the token that the studio has for it."""

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from worker.robot import wire

Endpoint = Callable[[Request], Awaitable[Response]]
SocketEndpoint = Callable[[WebSocket], Awaitable[None]]


class BearerAuth:
    """Wraps endpoints: `Authorization: Bearer TOKEN`, or 401 (a socket's handshake: 403)."""

    def __init__(self, token: str | None) -> None:
        """token: None lets nobody in until `expect`."""
        self._expected: bytes | None = None
        if token is not None:
            self.expect(token)

    def expect(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def _knows(self, connection: HTTPConnection) -> bool:
        given = connection.headers.get("authorization", "").encode()
        return self._expected is not None and hmac.compare_digest(given, self._expected)

    def http(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            if not self._knows(request):
                return wire.error(401, "the studio's secret is missing or wrong")
            return await endpoint(request)

        return checked

    def socket(self, endpoint: SocketEndpoint) -> SocketEndpoint:
        async def checked(socket: WebSocket) -> None:
            if not self._knows(socket):
                await socket.close()  # before it is accepted: the handshake is answered 403
                return
            await endpoint(socket)

        return checked

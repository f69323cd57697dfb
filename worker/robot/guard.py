"""Who may talk to a host: whoever knows the token that the studio has for it."""

import hmac
from collections.abc import Awaitable, Callable

from pydantic import ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

MAX_BODY = 16_384

Endpoint = Callable[[Request], Awaitable[Response]]
SocketEndpoint = Callable[[WebSocket], Awaitable[None]]


class TooLargeError(Exception):
    """A body of more than MAX_BODY bytes."""


class Guard:
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
        async def guarded(request: Request) -> Response:
            if not self._knows(request):
                return error(401, "the studio's secret is missing or wrong")
            return await endpoint(request)

        return guarded

    def socket(self, endpoint: SocketEndpoint) -> SocketEndpoint:
        async def guarded(socket: WebSocket) -> None:
            if not self._knows(socket):
                await socket.close()  # before it is accepted: the handshake is answered 403
                return
            await endpoint(socket)

        return guarded


async def body(request: Request) -> bytes:
    """Raises TooLargeError."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BODY:
            raise TooLargeError
    return content


def error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status)


def plainly(error: ValidationError) -> str:
    """What is wrong with a message, in one line, without repeating it."""
    parts = [f"{'.'.join(map(str, one['loc'])) or 'the message'}: {one['msg']}" for one in error.errors()[:5]]
    return "; ".join(parts)

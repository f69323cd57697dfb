"""What the host's endpoints share: a request's body within bounds, and errors as an answer."""

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MAX_BODY = 16_384


class TooLargeError(Exception):
    """A body of more than MAX_BODY bytes."""


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

"""What no client of ours sends is refused before anything reads it: hosts that are none, NUL, half characters, numbers
that no column holds, and JSON so deep that reading it ends the interpreter's stack.

Everything behind it (validation, SQL, JSON columns, templates of messages) may rely on that.
"""

import json
import re
from collections.abc import Iterable
from math import isfinite
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1
MAX_PATH = 2048
_BESIDE_THE_LOOP = 64 * 1024  # bytes from which a body is looked at in a thread

_HOST = re.compile(r"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\])?(?::[0-9]{0,5})?")
_DIGITS = 25  # no integer of 64 bits has more
# A string as a whole, also one that does not end, so that no bracket in it counts and nothing is looked at twice.
_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_ODD_TEXT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_ODD_NUMBER = re.compile(r"NaN|Infinity|[0-9]{18}|[eE][+-]?[0-9]{3}")


def fault_in_json(body: bytes) -> str | None:
    """Why a body is refused, in words, or None. What is no JSON at all is left to whoever parses it."""
    try:
        text = body.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return f"The body is no UTF-8 from byte {error.start} on; send JSON as UTF-8."
    if "\0" in text:
        return "The body holds the character NUL; send JSON as UTF-8 without it."
    if text.count("[") + text.count("{") > MAX_DEPTH and _too_deep(text):
        return f"The JSON is nested more than {MAX_DEPTH} levels deep."
    if not _ODD_TEXT.search(text) and not _ODD_NUMBER.search(text):
        return None
    try:
        found = json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=_constant)
    except json.JSONDecodeError:
        return None
    except ValueError as error:
        return str(error)
    return _fault_in_texts(found)


def _too_deep(text: str) -> bool:
    depth = 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) <= _DIGITS else None
    if number is None or not -MAX_INTEGER - 1 <= number <= MAX_INTEGER:
        raise ValueError(f"The number {digits[:30]} is beyond 64 bits.")
    return number


def _real(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"The number {digits[:30]} is beyond what a double holds.")
    return number


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON.")


def _fault_in_texts(found: Any) -> str | None:
    """Of all texts in it, keys too. It is at most MAX_DEPTH deep; what is to be looked at is kept in a list."""
    waiting: list[Any] = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if "\0" in one:
                return "A text holds the character NUL, which nothing can store."
            if any("\ud800" <= letter <= "\udfff" for letter in one):
                return "A text holds half a character (a lone surrogate); send whole ones."
        elif isinstance(one, dict):
            waiting.extend(one.keys())
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return None


def fault_in_head(path: str, query: bytes, hosts: Iterable[str]) -> str | None:
    """Why a request is refused for its address, in words, or None."""
    hosts = list(hosts)
    if len(hosts) > 1 or any(not _HOST.fullmatch(host) for host in hosts):
        return f"The header Host is {', '.join(hosts)[:100]!r}; expected one name or address, and a port."
    if len(path) > MAX_PATH:
        return f"The path has {len(path)} characters; at most {MAX_PATH} are accepted."
    if "\0" in path or b"%00" in query or b"\0" in query:
        return "The address holds the character NUL."
    return None


class Screening:
    """Refuses addresses with 400, sockets before they are accepted, and JSON with 422 when its last piece has come."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        fault = fault_in_head(scope["path"], scope["query_string"], headers.getlist("host"))
        if fault is not None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1002, "reason": fault[:100]})
                return
            error: dict[str, object] = {"code": "bad_request", "message": fault, "fields": {}, "detail": None}
            await JSONResponse({"error": error}, status_code=400)(scope, receive, send)
            return
        if scope["type"] == "http" and _says_json(headers.get("content-type", "")):
            receive = _screened(receive)
        await self.app(scope, receive, _in_words(scope, receive, send))


def _in_words(scope: Scope, receive: Receive, send: Send) -> Send:
    """The framework's own refusal of a body that is too large is plain text; ours have one shape."""
    replaced = False

    async def answer(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] == 413:
            plain = Headers(raw=message["headers"]).get("content-type", "").startswith("text/plain")
            if plain:
                replaced = True
                text = "The body of the request is larger than what belongs here. Nothing of it was kept."
                error: dict[str, object] = {"code": "too_large", "message": text, "fields": {}, "detail": None}
                await JSONResponse({"error": error}, status_code=413)(scope, receive, send)
        if not replaced:
            await send(message)

    return answer


def _says_json(content_type: str) -> bool:
    return "json" in content_type.lower()


def _screened(receive: Receive) -> Receive:
    """The same pieces as they come, so that whoever limits the body can stop at any; the last after a look at all."""
    pieces: list[bytes] = []

    async def next_piece() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(pieces)
                pieces.clear()
                beside = len(body) > _BESIDE_THE_LOOP
                fault = await run_in_threadpool(fault_in_json, body) if beside else fault_in_json(body)
                if fault is not None:
                    raise HTTPException(422, fault)
        return message

    return next_piece

"""Where the server keeps things is its administrator's business: in what everybody else is told, folders have names.

Errors of the library name files, jobs' messages and logs do, and so do a robot's faults. Rather than trusting each of
them, whatever leaves the API as text for somebody below admin is gone through once: the data folder becomes
$STUDIO_DATA, which a command line understands where it is set, a root its name. Text that is downloaded as a file, too
(a spec, a report, labels). A file that comes with its sum is left as it is: it is what was saved, byte by byte. So is
the built page, which knows of no place: its own addresses may be spelt as a root is (/models).
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import backend
from backend.core.roles import Role
from backend.core.s3_place import S3Place
from backend.core.settings import Settings

_TEXT = ("application/json", "application/problem+json", "application/x-ndjson", "application/yaml", "text/")
_NOT_OURS = {"/", "/usr", "/usr/local"}  # an interpreter's place that says nothing about this machine


class HiddenPaths:
    """Replaces the server's paths in answers and socket messages to whoever is not known to be an administrator."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self._names = _names(settings)
        alternatives = b"|".join(re.escape(path) for path in sorted(self._names, key=len, reverse=True))
        self._pattern = re.compile(rb"(?<![\w.\-])(?:" + alternatives + rb")(?![\w\-])")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            answer = _Answer(self, scope, send)
            await self.app(scope, receive, answer)
            if answer.ranged:  # a name that a range cuts in two would not be found: all of it is sent, as HTTP allows
                headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
                await self.app({**scope, "headers": headers}, receive, _Answer(self, scope, send))
        elif scope["type"] == "websocket":

            async def say(message: Message) -> None:
                if message["type"] == "websocket.send" and message.get("text") and not _admin(scope):
                    message = {**message, "text": self.hide(message["text"].encode()).decode()}
                await send(message)

            await self.app(scope, receive, say)
        else:
            await self.app(scope, receive, send)

    def hide(self, text: bytes) -> bytes:
        return self._pattern.sub(lambda found: self._names[found[0]], text)


class _Answer:
    """Sends an answer on: text is held back until it is whole, everything else goes at once. ranged: it was a part of a
    text, of which nothing was sent."""

    def __init__(self, paths: HiddenPaths, scope: Scope, send: Send) -> None:
        self._paths, self._scope, self._send = paths, scope, send
        self._start: Message | None = None
        self._body: list[bytes] = []
        self.ranged = False

    async def __call__(self, message: Message) -> None:
        if self.ranged:
            return
        if message["type"] == "http.response.start" and self._to_go_through(message):
            self._start = message
            self.ranged = message["status"] == 206
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._finish()
        else:
            await self._send(message)

    def _to_go_through(self, start: Message) -> bool:
        headers = Headers(raw=start["headers"])
        kind = headers.get("content-type", "")
        plain = "repr-digest" not in headers and "content-encoding" not in headers
        return plain and kind.startswith(_TEXT) and self._scope["method"] != "HEAD" and not _admin(self._scope)

    async def _finish(self) -> None:
        assert self._start is not None
        body = self._paths.hide(b"".join(self._body))
        headers = MutableHeaders(raw=list(self._start["headers"]))
        if "content-length" in headers:
            headers["content-length"] = str(len(body))
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})


def _admin(scope: Scope) -> bool:
    actor = scope.get("state", {}).get("actor")
    return actor is not None and actor.role is Role.ADMIN


def _names(settings: Settings) -> dict[bytes, bytes]:
    """Path as it stands in JSON -> what stands for it."""
    code = Path(backend.__file__).parent.parent
    known: list[tuple[Path, str]] = [(code, "(program)"), (Path(sys.prefix), "(program)")]
    known += [(root, f"({root.name or 'root'})") for root in _roots(settings)]
    known.append((settings.data, "$STUDIO_DATA"))
    found: dict[bytes, bytes] = {}
    for path, name in known:
        for form in {path.absolute(), path.resolve()}:
            if str(form) not in _NOT_OURS:
                for text in {str(form), _escaped(str(form), True), _escaped(str(form), False)}:
                    found[text.encode(errors="surrogateescape")] = _escaped(name, False).encode(errors="replace")
    for place, said in _places(settings):
        found[place.url.encode()] = said
        if place.endpoint is not None:
            found[place.endpoint.encode()] = b"(its server)"
    return found


def _roots(settings: Settings) -> tuple[Path, ...]:
    return (*settings.import_roots, *settings.model_roots, *settings.export_roots)


def _places(settings: Settings) -> list[tuple[S3Place, bytes]]:
    targets = [(place, f"({name})".encode()) for name, place in settings.export_targets.items()]
    return targets if settings.store_place is None else [*targets, (settings.store_place, b"(the store)")]


def _escaped(text: str, ascii_only: bool) -> str:
    escaped: Any = json.dumps(text, ensure_ascii=ascii_only)
    return str(escaped)[1:-1]

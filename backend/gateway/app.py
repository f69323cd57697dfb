"""What the gateway answers itself, what it refuses, and what it hands on."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog
from fastapi import FastAPI
from fastapi.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

import dexvla
from backend.core import errors
from backend.core.settings import Settings
from backend.gateway import limits, tunnel
from backend.gateway.forwarded import Proxies, rewritten
from backend.gateway.protocol import GatewayProtocol
from backend.gateway.proxy import TooLargeError, TooSlowError, Upstream, answer, answer_error, forward
from backend.gateway.running import EndedError, Flow, Running, is_private
from backend.live.sockets import router as live_sockets
from backend.robot_hosts import keys
from backend.robots.endpoints import stop_router
from backend.robots.stopping import Stopping
from backend.studio.context import Studio
from backend.studio.directory import AwayError, credential_of
from backend.system.schemas import Health
from backend.web.headers import with_headers
from backend.web.hidden_paths import HiddenPaths
from backend.web.origin import OriginCheck
from backend.web.screening import Screening

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_ROBOT_HOST = re.compile(r"/api/robot-hosts/([^/]+)/")
_WAITS = "What has arrived is kept for some days, for whoever may go on."
_RETRY_SECONDS = 2  # told to whoever asks while the application is away


class Application(Protocol):
    """The process behind. ready: it answers requests. on_end: called when it does not any more."""

    on_end: Callable[[], None]

    @property
    def ready(self) -> bool: ...

    @property
    def socket(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Gateway:
    """An ASGI application whose server is made of `GatewayProtocol`s."""

    def __init__(self, settings: Settings, application: Application) -> None:
        self.settings = settings
        self.application = application
        self.proxies = Proxies(settings.trusted_proxies)
        self.register = limits.Register(limits.raise_file_limit())
        self._upstream = Upstream(application.socket, lambda: application.ready)
        application.on_end = self._upstream.close
        self._tunnels: set[asyncio.Task[None]] = set()
        self._running = Running()
        self._own = self._made()

    def _made(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            studio = app.state.studio = Studio.open(self.settings)
            self._running.follow(studio.directory)
            await asyncio.to_thread(studio.directory.start)
            stopping = app.state.stopping = Stopping(studio, keep=True)
            stopping.start()
            access = asyncio.create_task(studio.access_watch.listen(self.settings.events_url))
            await self.application.start()
            try:
                yield
            finally:
                await self.application.stop()
                while not access.done():
                    access.cancel()  # again: a connection that is just being made may swallow the first
                    await asyncio.wait({access}, timeout=0.5)
                self._upstream.close()
                stopping.close()
                await asyncio.to_thread(studio.close)

        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
        errors.install(app)
        app.add_middleware(OriginCheck)
        app.add_middleware(HiddenPaths, settings=self.settings)
        app.add_middleware(Screening)
        app.include_router(stop_router, max_body_size=limits.UNSIGNED_BODY)
        app.include_router(live_sockets)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            send = with_headers(send)  # on what is refused here, too
        if scope["type"] != "http" or _is_own(scope):
            await self._own(scope, receive, send)
        else:
            await self._hand_on(scope, receive, send)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        length, chunked = _length(scope)
        most = limits.most_bytes(scope["method"], scope["path"], self.settings)
        if length > most:
            await answer_error(scope, send, 413, "too_large", _too_large(length, most), close=True)
            return
        if length > limits.UNSIGNED_BODY and not await self._signed_in(scope):
            message = "Sign in first: so large a request is read only from somebody who is signed in."
            await answer_error(scope, send, 401, "not_signed_in", message, close=True)
            return
        if chunked and not await self._signed_in(scope):
            most = min(most, limits.UNSIGNED_BODY)
        if not self.application.ready:
            await self._away(scope, send)
            return
        exchange = _HandedOn(scope, receive, send, length=length, chunked=chunked)
        try:
            await self._forward(exchange, most)
        except (OSError, TooLargeError, TooSlowError, EndedError) as error:
            if exchange.started:
                raise
            if isinstance(error, TooLargeError):
                await answer_error(scope, send, 413, "too_large", _too_large(None, most), close=True)
            elif isinstance(error, TooSlowError):
                message = "The request's body did not come in time; send it again."
                await answer_error(scope, send, 408, "too_slow", message, close=True)
            elif isinstance(error, EndedError):
                kept = _WAITS if scope["path"].startswith("/api/uploads/") else "Nothing of it was kept."
                message = f"Your access ended while this was being sent. {kept}"
                await answer_error(scope, send, 401, "not_signed_in", message, close=True)
            else:
                await self._away(scope, send)

    async def _forward(self, exchange: "_HandedOn", most: int) -> None:
        """Raises EndedError where the access of whoever asked ended while their body was read; an answer that has begun
        breaks off."""
        scope = exchange.scope
        credential = credential_of(HTTPConnection(scope))
        if credential is None:
            await forward(self._upstream, scope, exchange.receive, exchange.send, most=most)
            return
        task = asyncio.current_task()
        assert task is not None
        with self._running.flow(credential, task.cancel) as flow:
            exchange.follow(flow, lambda: self._begin_to_answer(scope, flow))
            try:
                await forward(self._upstream, scope, exchange.receive, exchange.send, most=most)
            except asyncio.CancelledError:
                if not flow.ended:
                    raise
                task.uncancel()
                if exchange.started:
                    scope["state"]["connection"].evict()
                    return
                raise EndedError from None

    async def _begin_to_answer(self, scope: Scope, flow: Flow) -> None:
        """More of an answer follows: access may have ended before it began."""
        flow.answering = True
        if flow.role is None and is_private(scope["path"]):
            directory = self._own.state.studio.directory
            with suppress(AwayError):
                actor = await directory.find_actor(flow.credential, seconds=_LOOK_SECONDS)
                flow.settle(None if actor is None else actor.role)
        else:
            self._running.judge(flow)

    async def _signed_in(self, scope: Scope) -> bool:
        connection, directory = HTTPConnection(scope), self._own.state.studio.directory
        found = _ROBOT_HOST.match(scope["path"])
        if found is not None:  # a robot host on another machine has a key of its own
            given = connection.headers.get("authorization", "")
            return await asyncio.to_thread(keys.opens, self.settings.folder.secrets, found[1], given)
        credential = credential_of(connection)
        if credential is None:
            return False
        if directory.known(credential) is not None:
            return True
        try:
            return await directory.find_actor(credential, seconds=_LOOK_SECONDS) is not None
        except AwayError:
            return False

    async def _away(self, scope: Scope, send: Send) -> None:
        if scope["path"] == "/api/health":
            await answer(scope, send, 503, _health_of_one_away(), retry=_RETRY_SECONDS, close=True)
            return
        message = (
            "The studio's application is starting, or is being started again. Robots can be stopped all the same. "
            "Whether a change that was just sent was made is not known; look before you repeat it."
        )
        await answer_error(scope, send, 503, "unavailable", message, retry=_RETRY_SECONDS, close=True)

    # --- sockets of the application -----------------------------------------------------------------------------------

    def tunnel(self, client: GatewayProtocol) -> None:
        """Hand a socket that is being opened on to the application."""
        address, scheme = self.proxies.origin(client.peer, client.scheme or "http", client.headers)
        lines = [b"GET ", client.url, b" HTTP/1.1\r\n"]
        for name, value in rewritten(client.headers, address, scheme):
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        client.transport.pause_reading()
        task = asyncio.ensure_future(self._tunnel(client, b"".join(lines)))
        self._tunnels.add(task)
        task.add_done_callback(self._tunnels.discard)

    async def _tunnel(self, client: GatewayProtocol, head: bytes) -> None:
        try:
            if not self.application.ready:
                raise ConnectionRefusedError
            await tunnel.join(client.transport, head, self.application.socket, client.left)
        except OSError:
            client.transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            client.transport.close()


class _HandedOn:
    """A request that is handed on. started: its answer has begun."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, length: int, chunked: bool) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self._reading = chunked or length > 0
        self._flow: Flow | None = None
        self._on_more: Callable[[], Awaitable[None]] | None = None
        self.started = False

    def follow(self, flow: Flow, on_more: Callable[[], Awaitable[None]]) -> None:
        """on_more: called once, when the first piece of an answer was sent of which there is more."""
        self._flow, self._on_more = flow, on_more
        flow.reading = self._reading

    async def receive(self) -> Message:
        message = await self._receive()
        if self._flow is not None and not message.get("more_body", False):
            self._flow.reading = False
        return message

    async def send(self, message: Message) -> None:
        self.started = True
        await self._send(message)
        if message.get("more_body", False) and self._on_more is not None:
            on_more, self._on_more = self._on_more, None
            await on_more()
        elif message["type"] == "http.response.body" and self._flow is not None and not message.get("more_body", False):
            self._flow.answering = False


def _is_own(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] == "POST" and path.startswith("/api/robots/") and path.endswith(("/stop", "/arm"))


def _health_of_one_away() -> bytes:
    """In the shape that whoever watches over the studio knows, also while the application cannot say more."""
    unknown = "not known while the application is being started"
    health = Health(
        status="degraded",
        version=dexvla.__version__,
        database=unknown,
        broker=unknown,
        disk=unknown,
        store=unknown,
        workers=0,
        robots=0,
    )
    return health.model_dump_json().encode()


def _length(scope: Scope) -> tuple[int, bool]:
    """Bytes that the body is said to have, and whether it does not say."""
    length, chunked = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)  # the parser takes nothing but digits
        elif name == b"transfer-encoding":
            chunked = True
    return length, chunked


def _too_large(length: int | None, most: int) -> str:
    if length is None:
        return f"The request's body has more than the {most} bytes that are accepted here. Nothing of it was kept."
    return f"The request's body has {length} bytes; at most {most} are accepted here. Nothing of it was read."

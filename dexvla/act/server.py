"""A checkpoint behind openpi's websocket protocol. See docs/decisions/serving.md.

The event loop only moves bytes. Loading, decoding, checking and inference happen in one worker thread, one request
after another, so health checks and pings are answered meanwhile.
"""

import asyncio
import concurrent.futures
import contextlib
import gc
import hmac
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, TypeVar

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websocket_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response as HttpResponse

from dexvla import __version__
from dexvla.act.base import Policy
from dexvla.act.protocol import MAX_MESSAGE_BYTES, ProtocolError, decode, encode, parse_observation
from dexvla.errors import UserError
from dexvla.loading import quick_imports

log = logging.getLogger(__name__)

T = TypeVar("T")

_INTERNAL_ERROR = 1011
_CLOSE_TIMEOUT_S = 2.0
_WORKER_GRACE_S = 10.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class ServedPolicy(Policy, Protocol):
    """A policy that several clients share: each has a session, with a random stream of its own."""

    def session(self, seed: int) -> Policy: ...

    def warm_up(self) -> None: ...


def serve(
    checkpoint: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    device: str = "auto",
    dtype: str | None = None,
    seed: int = 0,
    max_new_tokens: int = 64,
    inference_steps: int | None = None,
    default_prompt: str | None = None,
    on_listening: Callable[[str], None] | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a checkpoint until SIGINT or SIGTERM (the signals work in the main thread only).

    port: 0 picks a free one. api_key: clients must send `Authorization: Api-Key KEY`. seed: of every client's random
    stream. max_new_tokens: longest reasoning. inference_steps: DDIM steps, default the checkpoint's.
    default_prompt: instruction for clients that send none. on_listening: called with the address once clients can
    connect, and loading begins; on_ready: once the model is loaded and warm.

    Raises CheckpointError for a checkpoint that cannot be served and UserError for an address that cannot be used.
    """

    def load() -> ServedPolicy:
        with quick_imports():
            from dexvla.act.policy import CheckpointPolicy  # here, in the worker: it imports torch

        policy = CheckpointPolicy.load(
            checkpoint,
            device=device,
            dtype=dtype,
            seed=seed,
            max_new_tokens=max_new_tokens,
            inference_steps=inference_steps,
        )
        gc.freeze()  # it stays: no request waits 0.1 s and more while all of it is gone through for garbage
        return policy

    server = PolicyServer(
        load,
        host=host,
        port=port,
        api_key=api_key,
        seed=seed,
        default_prompt=default_prompt,
        on_listening=on_listening,
        on_ready=on_ready,
    )
    asyncio.run(server.run())


class PolicyServer:
    """The server without the process around it: `await run()` serves until `stop()`, from whatever thread."""

    def __init__(
        self,
        load: Callable[[], ServedPolicy],
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        api_key: str | None = None,
        seed: int = 0,
        default_prompt: str | None = None,
        on_listening: Callable[[str], None] | None = None,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        if api_key is not None and not api_key.strip():
            raise UserError("the API key is empty; give one, or none to serve without a key")
        self._load = load
        self._host, self._port = host, port
        self._api_key = api_key
        self._seed = seed
        self._default_prompt = default_prompt
        self._on_listening, self._on_ready = on_listening, on_ready
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Future[ServedPolicy] | None = None
        self._clients: set[asyncio.Task[Any]] = set()
        self._worker = _Worker()

    def stop(self) -> None:
        """Ask `run` to end: clients are told (close code 1001), a running inference is waited for."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stop.set)

    async def run(self) -> None:
        """Listen, load, warm up, serve. Raises what loading raised, and UserError if the address cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready = self._loop.create_future()
        if self._api_key is None and self._host not in _LOOPBACK:
            log.warning("serving on %s without an API key: whoever reaches this port can use the policy", self._host)
        remove_signals = _stop_on_signals(self._loop, self._stop)
        loading: asyncio.Task[None] | None = None
        try:
            async with await self._listen() as server:
                address = _address(server.sockets[0].getsockname())
                if self._on_listening is not None:
                    self._on_listening(address)
                loading = asyncio.create_task(self._load_policy(address))
                stopping = asyncio.create_task(self._stop.wait())
                await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if loading.done() and loading.exception() is None:
                    await stopping
                stopping.cancel()
                if loading.done() and loading.exception() is not None and self._clients:
                    await asyncio.wait(self._clients, timeout=_CLOSE_TIMEOUT_S)  # they tell their clients why
            if loading.done():
                loading.result()
        finally:
            if loading is not None:
                loading.cancel()
            remove_signals()
            if not await asyncio.to_thread(self._worker.close, _WORKER_GRACE_S):
                log.warning("an inference is still running after %.0f s; leaving without it", _WORKER_GRACE_S)
            if self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None:
                self._ready.result().close()

    async def _listen(self) -> Any:
        try:
            return await websocket_serve(
                self._handle,
                self._host,
                self._port,
                process_request=self._answer_http,
                origins=[None],  # programs send no Origin; a page in somebody's browser does, and is refused
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=1,
                close_timeout=_CLOSE_TIMEOUT_S,
            )
        except (OSError, OverflowError) as error:
            raise UserError(f"cannot listen on {self._host} port {self._port}: {error}; choose another") from error

    async def _load_policy(self, address: str) -> None:
        assert self._ready is not None
        started = time.monotonic()

        def load() -> ServedPolicy:
            policy = self._load()
            policy.warm_up()
            return policy

        try:
            policy = await self._worker.submit(load)
        except Exception as error:
            self._ready.set_exception(error)
            self._ready.exception()  # it is raised by run(); a future nobody waited for must not complain
            raise
        self._ready.set_result(policy)
        log.info("policy %s is ready after %.1f s", policy.metadata.checkpoint, time.monotonic() - started)
        if self._on_ready is not None:
            self._on_ready(address)

    def _answer_http(self, connection: ServerConnection, request: HttpRequest) -> HttpResponse | None:
        """Health, unknown paths and wrong keys end here; None goes on to the websocket."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            assert self._ready is not None
            if self._ready.done() and self._ready.exception() is None:
                return connection.respond(HTTPStatus.OK, "OK\n")
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the model is loading\n")
        if path != "/":
            return connection.respond(HTTPStatus.NOT_FOUND, "the policy is at /, its health at /healthz\n")
        if self._api_key is not None and not _key_matches(request.headers.get_all("Authorization"), self._api_key):
            return connection.respond(
                HTTPStatus.UNAUTHORIZED, "this server needs its API key in the header Authorization: Api-Key KEY\n"
            )
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        peer = connection.remote_address
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        log.info("client %s connected", peer)
        try:
            await self._converse(connection)
        except (ConnectionClosed, _ClientGone):
            log.info("client %s left", peer)
        except UserError as error:
            log.warning("client %s: %s", peer, error)
            await _refuse(connection, str(error))
        except Exception as error:  # the border of the process: the client gets a line, the log the traceback
            log.exception("client %s: request failed", peer)
            await _refuse(connection, f"the server failed ({type(error).__name__}); its log says more")

    async def _converse(self, connection: ServerConnection) -> None:
        assert self._ready is not None
        policy = await _unless_gone(connection, asyncio.shield(self._ready))
        await connection.send(encode({**policy.metadata.model_dump(mode="json"), "server_version": __version__}))
        session = policy.session(self._seed)
        previous_ms: float | None = None
        while True:
            message = await connection.recv()
            if isinstance(message, str):
                raise ProtocolError("a text message was sent, expected a binary one (msgpack)")
            received = time.monotonic()
            stream = _ReasoningStream(connection)
            answer = self._worker.submit(
                partial(self._answer, session, message, received, previous_ms, stream.on_token)
            )
            try:
                reply: bytes = await _unless_gone(connection, answer)
            finally:
                await stream.end()
            await connection.send(reply)
            previous_ms = (time.monotonic() - received) * 1000

    def _answer(
        self,
        session: Policy,
        data: bytes,
        received: float,
        previous_ms: float | None,
        on_reasoning: Callable[[str], None],
    ) -> bytes:
        """In the worker: one request to one reply."""
        started = time.monotonic()
        request = parse_observation(decode(data), session.metadata, default_prompt=self._default_prompt)
        if request.seed is not None:
            session.reset(request.seed)
        if request.stream_reasoning:
            chunk = session.infer(request.observation, on_reasoning=on_reasoning)
        else:
            chunk = session.infer(request.observation)
        timing = {"infer_ms": (time.monotonic() - started) * 1000, "queue_ms": (started - received) * 1000}
        if previous_ms is not None:
            timing["prev_total_ms"] = previous_ms
        return encode(
            {
                "actions": chunk.actions,
                "normalised_actions": chunk.normalised,
                "reasoning": chunk.reasoning,
                "policy_timing": {"infer_ms": chunk.infer_ms},
                "server_timing": timing,
            }
        )


class _ReasoningStream:
    """Sends a reasoning to a client while it grows. What it cannot take in time is left out: the newest text wins."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._text = ""
        self._sending: asyncio.Task[None] | None = None

    def on_token(self, text: str) -> None:
        """The text so far, from the worker."""
        self._loop.call_soon_threadsafe(self._take, text)

    def _take(self, text: str) -> None:
        self._text = text
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        sent = None
        with contextlib.suppress(ConnectionClosed):
            while sent != self._text:
                sent = self._text
                await self._connection.send(encode({"partial_reasoning": sent}))

    async def end(self) -> None:
        """After this nothing is sent any more."""
        if self._sending is not None:
            await self._sending


class _ClientGone(Exception):
    """The client closed its connection while it was being served."""


class _Worker:
    """One thread that does one thing after another. A daemon: a load that hangs must not keep the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], concurrent.futures.Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="policy-worker", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """A future of the running loop. Cancelled before its turn, the job is never run."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put((job, future))
        return asyncio.wrap_future(future)

    def close(self, grace_s: float) -> bool:
        """Ends the thread after the jobs that are in; False if that takes longer than grace_s."""
        self._jobs.put(None)
        self._thread.join(grace_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:  # handed to whoever waits, as concurrent.futures does
                future.set_exception(error)
            del entry, job, future


async def _unless_gone(connection: ServerConnection, wanted: "asyncio.Future[T]") -> T:
    """The result, or _ClientGone as soon as the client closes; what it asked for is then taken off the queue."""
    gone = asyncio.ensure_future(connection.wait_closed())
    either: set[asyncio.Future[Any]] = {wanted, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            return wanted.result()
        raise _ClientGone
    finally:
        gone.cancel()
        wanted.cancel()


async def _refuse(connection: ServerConnection, reason: str) -> None:
    try:
        await connection.send(reason)
        await connection.close(_INTERNAL_ERROR, "see the text message before")
    except ConnectionClosed:
        log.info("client %s left before it could be told", connection.remote_address)


def _key_matches(headers: list[str], api_key: str) -> bool:
    if len(headers) != 1:
        return False
    scheme, _, key = headers[0].strip().partition(" ")
    return scheme.lower() == "api-key" and hmac.compare_digest(key.strip().encode(), api_key.strip().encode())


def _address(socket_name: tuple[Any, ...]) -> str:
    host, port = socket_name[0], socket_name[1]
    return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


def _stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Callable[[], None]:
    """SIGINT and SIGTERM set `stop`, once: a second one acts as usual. Returns what takes the handlers away again."""
    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()

    def remove() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    def on_signal() -> None:
        log.info("stopping")
        remove()
        stop.set()

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    return remove

"""The live page's side of a host: its whole state as one message, the state socket, and the verbs over HTTP.

See backend.live.messages. Rollouts, the recorder and the simulator's scene add their verbs with `verb`.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from backend.live.messages import LiveState, PolicyOut, SceneOut
from dexvla.errors import UserError
from worker.robot_host import guard
from worker.robot_host.cockpit import BusyError, Cockpit
from worker.robot_host.control import ControlLoop
from worker.robot_host.guard import Guard
from worker.robot_host.sources import Recorder
from worker.robot_host.telemetry import Row, rounded, samples

log = logging.getLogger("studio.robot")

_EVERY_SECONDS = 0.09  # at least ten times a second
_LEAST_SECONDS = 0.02  # between two messages, however often something changes
_HISTORY_STEPS = 100  # what a page that has just come is told of the past
UNSUPPORTED = 1003

B = TypeVar("B", bound=BaseModel)


class Predictions(Protocol):
    """What the live state shows of a policy."""

    @property
    def policy(self) -> PolicyOut | None: ...

    def chunk_after(self, step: int) -> tuple[int, list[list[float]]] | None:
        """The newest predicted chunk if it begins after `step`: its first step and (T, A), thinned to 50 rows."""
        ...


@dataclass
class _Verb:
    model: type[BaseModel] | None
    carry_out: Callable[[Any, str], None]


class LiveRoutes:
    """One for a host. `scene`, `holder`, `recorder` and `predictions` are set by who brings them."""

    def __init__(self, *, guarded: Guard, loop: ControlLoop, cockpit: Cockpit) -> None:
        self._loop, self._cockpit = loop, cockpit
        self.recorder: Recorder | None = None
        self.predictions: Predictions | None = None
        self.scene: Callable[[], SceneOut | None] = lambda: None
        self.holder: Callable[[], str | None] = lambda: None
        self._verbs: dict[str, _Verb] = {}
        self._events: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()
        self.routes: list[BaseRoute] = [
            WebSocketRoute("/live/state", guarded.socket(self._state)),
            Route("/live/{verb}", guarded.http(self._carry_out), methods=["POST"]),
        ]
        self.verb("pause", None, lambda _, by: cockpit.pause(f"paused by {by}"))
        self.verb("resume", None, lambda _, by: cockpit.resume())

    def attach(self, events: asyncio.AbstractEventLoop) -> None:
        """Send on this event loop what `changed` tells."""
        self._events = events

    def changed(self) -> None:
        """From any thread: tell every page now. Waits for nothing."""
        if self._events is not None and not self._events.is_closed():
            with suppress(RuntimeError):  # it is closed at this moment
                self._events.call_soon_threadsafe(self._wake)

    def verb(self, name: str, model: type[B] | None, carry_out: Callable[[B, str], None]) -> None:
        """POST /live/NAME: carry_out(body, by) in a thread, where it may wait a little. It raises BusyError (409) or
        UserError (422) with what to do."""
        self._verbs[name] = _Verb(model, carry_out)

    def state(self, *, since: int) -> tuple[LiveState, int]:
        """Everything, with the telemetry after step `since`; and the newest step that is in it."""
        command, recorder, predictions = self._cockpit.now, self.recorder, self.predictions
        rows: list[Row] = self._loop.telemetry.since(since)
        told = samples(rows)
        if told is not None and predictions is not None:
            chunk = predictions.chunk_after(since)
            if chunk is not None:
                told.chunk_step, told.chunk = chunk
        state = LiveState(
            status=self._loop.status(),
            mode=command.mode,
            why=command.why if command.source is None else command.source.why,
            holder=self.holder(),
            policy=None if predictions is None else predictions.policy,
            recording=None if recorder is None else recorder.recording,
            saved=None if recorder is None else recorder.saved,
            scene=self.scene(),
            joint_names=list(self._loop.info.joint_names),
            samples=told,
        )
        return state, rows[-1].step if rows else since

    # --- the state socket -----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    async def _state(self, socket: WebSocket) -> None:
        await socket.accept()
        changed = asyncio.Event()
        self._waiting.add(changed)
        sending = asyncio.create_task(self._send_states(socket, changed))
        try:
            # Also what notices that the page has gone.
            await socket.receive()
            with suppress(RuntimeError, WebSocketDisconnect):  # it was the page that closed
                await socket.close(UNSUPPORTED, "this socket only tells; commands go to /live/control")
        finally:
            sending.cancel()
            self._waiting.discard(changed)

    async def _send_states(self, socket: WebSocket, changed: asyncio.Event) -> None:
        newest = self._loop.telemetry.newest
        since = -1 if newest is None else newest.step - _HISTORY_STEPS
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                changed.clear()
                state, since = self.state(since=since)
                await socket.send_text(state.model_dump_json())
                await asyncio.sleep(_LEAST_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _EVERY_SECONDS - _LEAST_SECONDS)

    # --- verbs ----------------------------------------------------------------------------------------------------

    async def _carry_out(self, request: Request) -> Response:
        verb = self._verbs.get(request.path_params["verb"])
        if verb is None:
            return guard.error(404, f"no verb {request.path_params['verb']}; there are {', '.join(self._verbs)}")
        by = request.headers.get("x-studio-by", "").strip() or "unknown"
        try:
            content = await guard.body(request)
            asked = None if verb.model is None else verb.model.model_validate_json(content)
            await run_in_threadpool(verb.carry_out, asked, by)
        except guard.TooLargeError:
            return guard.error(413, f"the body has more than {guard.MAX_BODY} bytes")
        except ValidationError as error:
            return guard.error(422, guard.plainly(error))
        except BusyError as error:
            return guard.error(409, str(error))
        except UserError as error:
            return guard.error(422, str(error))
        self.changed()
        state, _ = self.state(since=self._loop.telemetry.newest.step if self._loop.telemetry.newest else -1)
        return Response(state.model_dump_json(), media_type="application/json")


def thinned(chunk: Any, most: int = 50) -> list[list[float]]:
    """(T, A) -> at most `most` rows, evenly spaced, the first and the last among them."""
    steps = len(chunk)
    rows = [round(i * (steps - 1) / (most - 1)) for i in range(most)] if steps > most else list(range(steps))
    return rounded(chunk[rows])

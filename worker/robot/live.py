"""The live page's side of a host: its whole state as one message, the state socket, and the verbs over HTTP.

See dexvla.live.messages. Rollouts, the recorder and the simulator's scene add their verbs with `verb`.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dexvla.errors import UserError
from dexvla.live.messages import Failure, LiveState, PolicyOut, Progress, SceneOut, TasksOut
from dexvla.spec.fields import TaskDescription
from worker.robot import wire
from worker.robot.arbiter import Arbiter, BusyError
from worker.robot.bearer import BearerAuth
from worker.robot.control import ControlLoop
from worker.robot.sources import CommandSource, Recorder
from worker.robot.telemetry import rounded, samples

log = logging.getLogger("studio.robot")

_EVERY_SECONDS = 0.09  # at least ten times a second
_LEAST_SECONDS = 0.02  # between two messages, however often something changes
_HISTORY_STEPS = 100  # what a page that has just come is told of the past
UNSUPPORTED = 1003

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """number: 1, 2, ... over all rollouts. step: of the first action. actions: (T, A)."""

    number: int
    step: int
    actions: NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """What a page knows by now: telemetry up to `step`, predicted chunks up to `chunk`."""

    step: int = -1
    chunk: int = 0


class Predictions(Protocol):
    """What the live state shows of a policy."""

    def policy_of(self, source: CommandSource) -> PolicyOut | None:
        """The policy whose source that is."""
        ...

    @property
    def failure(self) -> Failure | None: ...

    def chunk(self) -> Predicted | None:
        """The newest predicted chunk."""
        ...


@dataclass
class _Verb:
    model: type[BaseModel] | None
    carry_out: Callable[[Any, str], None]


class LiveRoutes:
    """One for a host. `scene`, `building`, `holder`, `recorder` and `predictions` are set by who brings them."""

    def __init__(self, *, auth: BearerAuth, loop: ControlLoop, arbiter: Arbiter) -> None:
        self._loop, self._arbiter = loop, arbiter
        self.recorder: Recorder | None = None
        self.predictions: Predictions | None = None
        self.scene: Callable[[], SceneOut | None] = lambda: None
        self.building: Callable[[], Progress | None] = lambda: None
        self.holder: Callable[[], str | None] = lambda: None
        self.tasks: tuple[TaskDescription, ...] = ()  # that the robot can set up
        self.arms = 2  # that a person drives
        self._verbs: dict[str, _Verb] = {}
        self._events: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()
        self.routes: list[BaseRoute] = [
            WebSocketRoute("/live/state", auth.socket(self._state)),
            Route("/live/tasks", auth.http(self._get_tasks), methods=["GET"]),
            Route("/live/{verb}", auth.http(self._carry_out), methods=["POST"]),
        ]
        self.verb("pause", None, lambda _, by: arbiter.pause(f"paused by {by}"))

    def attach(self, events: asyncio.AbstractEventLoop) -> None:
        """Send on this event loop what `changed` tells."""
        self._events = events

    @property
    def followed(self) -> bool:
        """A page has the state socket open. From any thread."""
        return bool(self._waiting)

    def changed(self) -> None:
        """From any thread: tell every page now. Waits for nothing."""
        if self._events is not None and not self._events.is_closed():
            with suppress(RuntimeError):  # it is closed at this moment
                self._events.call_soon_threadsafe(self._wake)

    def verb(self, name: str, model: type[B] | None, carry_out: Callable[[B, str], None]) -> None:
        """POST /live/NAME: carry_out(body, by) in a thread, where it may wait a little. It raises BusyError (409) or
        UserError (422) with what to do."""
        self._verbs[name] = _Verb(model, carry_out)

    def state(self, cursor: Cursor) -> tuple[LiveState, Cursor]:
        """Everything, with the telemetry that the page does not have yet; and what it knows then."""
        command, recorder, predictions = self._arbiter.now, self.recorder, self.predictions
        rows = self._loop.telemetry.since(cursor.step)
        new = samples(rows)
        if new is not None:
            cursor = Cursor(step=rows[-1].step, chunk=cursor.chunk)
            chunk = None if predictions is None else predictions.chunk()
            if chunk is not None and chunk.number > cursor.chunk:
                new.chunk_step, new.chunk_steps = chunk.step, len(chunk.actions)
                new.chunk = thinned(chunk.actions)
                cursor = Cursor(step=cursor.step, chunk=chunk.number)
        state = LiveState(
            status=self._loop.status(),
            mode=command.mode,
            why=command.why if command.source is None else command.source.why,
            holder=self.holder(),
            policy=None if predictions is None or command.policy is None else predictions.policy_of(command.policy),
            failure=None if predictions is None else predictions.failure,
            building=self.building(),
            real_time=self._loop.real_time,
            recording=None if recorder is None else recorder.recording,
            saved=None if recorder is None else recorder.saved,
            scene=self.scene(),
            joint_names=list(self._loop.info.joint_names),
            samples=new,
        )
        return state, cursor

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
                await socket.close(UNSUPPORTED, "this socket only sends; commands go to /live/control")
        finally:
            sending.cancel()
            self._waiting.discard(changed)

    async def _send_states(self, socket: WebSocket, changed: asyncio.Event) -> None:
        newest = self._loop.telemetry.newest
        cursor = Cursor() if newest is None else Cursor(step=newest.step - _HISTORY_STEPS)
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                changed.clear()
                state, cursor = self.state(cursor)
                await socket.send_text(state.model_dump_json())
                await asyncio.sleep(_LEAST_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _EVERY_SECONDS - _LEAST_SECONDS)

    # --- tasks and verbs ---------------------------------------------------------------------------------------------

    async def _get_tasks(self, request: Request) -> Response:
        tasks = TasksOut(tasks=list(self.tasks), arms=self.arms)
        return Response(tasks.model_dump_json(), media_type="application/json")

    async def _carry_out(self, request: Request) -> Response:
        verb = self._verbs.get(request.path_params["verb"])
        if verb is None:
            return wire.error(404, f"no verb {request.path_params['verb']}; there are {', '.join(self._verbs)}")
        by = request.headers.get("x-studio-by", "").strip() or "unknown"
        try:
            content = await wire.body(request)
            message = None if verb.model is None else verb.model.model_validate_json(content)
            await run_in_threadpool(verb.carry_out, message, by)
        except wire.TooLargeError:
            return wire.error(413, f"the body has more than {wire.MAX_BODY} bytes")
        except ValidationError as error:
            return wire.error(422, wire.plainly(error))
        except BusyError as error:
            return wire.error(409, str(error))
        except UserError as error:
            return wire.error(422, str(error))
        self.changed()
        newest = self._loop.telemetry.newest
        state, _ = self.state(Cursor() if newest is None else Cursor(step=newest.step))
        return Response(state.model_dump_json(), media_type="application/json")


def thinned(chunk: NDArray[np.floating[Any]], most: int = 50) -> list[list[float]]:
    """(T, A) -> at most `most` rows, evenly spaced, the first and the last among them."""
    steps = len(chunk)
    rows = [round(i * (steps - 1) / (most - 1)) for i in range(most)] if steps > most else list(range(steps))
    return rounded(chunk[rows])

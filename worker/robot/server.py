"""The host's own small HTTP server, for the API alone: every request carries the secret that both read from disk."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dexvla.live.status import ArmIn, HostStatus, StopIn
from worker.robot import wire
from worker.robot.bearer import BearerAuth
from worker.robot.cameras import CameraHub, EncodedFrame
from worker.robot.control import ControlLoop
from worker.robot.latch import StopLatch

log = logging.getLogger("studio.robot")

FRESH_SECONDS = 0.25  # a frame that is younger is handed out as it is
_FRAME_SECONDS = 1.5
_RECORD_SECONDS = 0.05  # how long a stop's answer waits for its record


class HostServer:
    """Routes of dexvla.live.status, and `routes` of the live page. on_change: called after a stop or a re-arming."""

    def __init__(
        self,
        *,
        auth: BearerAuth,
        loop: ControlLoop,
        latch: StopLatch,
        hub: CameraHub,
        routes: Sequence[BaseRoute],
        on_change: Callable[[], None],
    ) -> None:
        self._loop, self._latch, self._hub, self._on_change = loop, latch, hub, on_change
        self._frames: dict[str, asyncio.Event] = {}
        # Of their own: a disk that hangs holds up neither of the other's work nor what uses the common threads.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="latch")
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="latch-sync")
        self.app = Starlette(
            routes=[
                Route("/state", auth.http(self._state)),
                Route("/stop", auth.http(self._stop), methods=["POST"]),
                Route("/arm", auth.http(self._arm), methods=["POST"]),
                # the path and the header below have the names that clients of every version know
                Route("/picture/{camera}", auth.http(self._frame)),
                *routes,
            ]
        )

    def attach(self, events: asyncio.AbstractEventLoop) -> None:
        """Hear of new frames on this event loop."""

        def tell(name: str) -> None:
            if not events.is_closed():
                events.call_soon_threadsafe(self._wake, name)

        self._hub.listen(tell)

    def _wake(self, name: str) -> None:
        event = self._frames.pop(name, None)
        if event is not None:
            event.set()

    async def _state(self, request: Request) -> Response:
        return _status(self._loop.status())

    async def _stop(self, request: Request) -> Response:
        try:
            stop = StopIn.model_validate_json(await wire.body(request))
        except (ValidationError, wire.TooLargeError):
            stop = StopIn(by="unknown")  # a stop is a stop, whoever it came from
        self._latch.stop(by=stop.by or "unknown", reason=stop.reason)
        log.warning("stopped by %s", stop.by)
        return await self._changed()

    async def _arm(self, request: Request) -> Response:
        try:
            arm = ArmIn.model_validate_json(await wire.body(request))
        except (ValidationError, wire.TooLargeError) as error:
            return wire.error(422, f"to re-arm, say who asks: {error}")
        self._latch.arm()
        log.warning("re-armed by %s", arm.by)
        return await self._changed()

    async def _changed(self) -> Response:
        """Answered when the kernel has the record, or soon if it does not take it: `at_risk` says so then."""
        self._on_change()
        remembering = asyncio.wrap_future(self._writer.submit(self._latch.remember))
        status = self._loop.status()
        try:
            await asyncio.wait_for(asyncio.shield(remembering), _RECORD_SECONDS)
            self._syncer.submit(self._latch.sync)
            status = self._loop.status()
        except TimeoutError:
            status.at_risk = (
                "The disk has not taken the record of this yet: if the robot host were started again now, it might "
                "come back as it was before."
            )
        return _status(status)

    async def _frame(self, request: Request) -> Response:
        name = request.path_params["camera"]
        if name not in self._hub.names:
            return wire.error(404, f"no camera {name}; there are {', '.join(self._hub.names) or 'none'}")
        frame = await self._fresh(name)
        if frame is None:
            fault = self._loop.status().camera_fault
            return wire.error(503, f"{name} gives no frame{f': {fault}' if fault else ''}; try again")
        headers = {
            "X-Picture-Number": str(frame.number),
            "X-Age-Ms": f"{1000 * (time.monotonic() - frame.taken):.1f}",
        }
        return Response(frame.data, media_type="image/jpeg", headers=headers)

    async def _fresh(self, name: str) -> EncodedFrame | None:
        self._hub.show_interest(name)
        oldest = time.monotonic() - FRESH_SECONDS
        deadline = time.monotonic() + _FRAME_SECONDS
        while True:
            event = self._frames.setdefault(name, asyncio.Event())
            newest = self._hub.newest(name)
            if newest is not None and newest.taken >= oldest:
                return newest
            try:
                await asyncio.wait_for(event.wait(), deadline - time.monotonic())
            except TimeoutError:
                return None


def _status(status: HostStatus) -> Response:
    return Response(status.model_dump_json(), media_type="application/json")

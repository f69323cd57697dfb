"""GET /live/video: frames to whoever watches. See dexvla.live.messages.

Each viewer has two credits a camera and is sent the newest frame whenever it has one left; older ones are never kept
for it. A viewer that acknowledges nothing is sent nothing and, after a while, keeps no camera going either.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dexvla.live.messages import CREDITS, FRAME_HEADER, Ack, Watch
from worker.robot.bearer import BearerAuth
from worker.robot.cameras import INTEREST_SECONDS, CameraHub, EncodedFrame
from worker.robot.wire import plainly

_MESSAGE: TypeAdapter[Watch | Ack] = TypeAdapter(Annotated[Watch | Ack, Field(discriminator="type")])
MALFORMED = 4400
_RENEW_SECONDS = INTEREST_SECONDS / 4
_OLD_SECONDS = 1.0  # a frame from before a camera rested is nothing to begin with
_REASON_BYTES = 123  # of a close frame


class VideoSocket:
    def __init__(self, *, auth: BearerAuth, hub: CameraHub) -> None:
        self._hub = hub
        self._viewers: set[_Viewer] = set()
        self.routes: list[BaseRoute] = [WebSocketRoute("/live/video", auth.socket(self._serve))]

    def attach(self, events: asyncio.AbstractEventLoop) -> None:
        """Hear of new frames on this event loop."""

        def tell(name: str) -> None:
            with suppress(RuntimeError):  # it is closed: the host ends
                events.call_soon_threadsafe(self._wake, name)

        self._hub.listen(tell)

    def _wake(self, name: str) -> None:
        for viewer in self._viewers:
            viewer.tell(name)

    async def _serve(self, socket: WebSocket) -> None:
        await socket.accept()
        viewer = _Viewer(self._hub)
        self._viewers.add(viewer)
        sending = asyncio.create_task(_send(socket, viewer))
        try:
            while True:
                event = await socket.receive()
                if event["type"] != "websocket.receive":
                    return
                message = _MESSAGE.validate_json(event.get("text") or event.get("bytes") or b"")
                if isinstance(message, Watch):
                    viewer.watch(message.cameras)
                else:
                    viewer.acknowledge(message)
        except ValidationError as error:
            reason = plainly(error).encode()[:_REASON_BYTES].decode(errors="ignore")
            with suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(MALFORMED, reason)
        finally:
            sending.cancel()
            self._viewers.discard(viewer)


class _Camera:
    """What one viewer was sent of one camera. way: numbers that it has not acknowledged."""

    def __init__(self) -> None:
        self.sent = 0
        self.way: deque[int] = deque()


class _Viewer:
    """Belongs to the event loop's thread."""

    def __init__(self, hub: CameraHub) -> None:
        self._hub = hub
        self._cameras: dict[str, _Camera] = {}
        self._woken = asyncio.Event()

    def watch(self, names: list[str]) -> None:
        """These cameras and no others. What is under way of those that stay still counts."""
        self._cameras = {name: self._cameras.get(name) or _Camera() for name in names}
        self.show_interest()
        self._woken.set()

    def acknowledge(self, ack: Ack) -> None:
        """A frame that arrived, and with it those before it. A number that was never sent says nothing."""
        camera = self._cameras.get(ack.camera)
        if camera is None or ack.number > camera.sent:
            return
        while camera.way and camera.way[0] <= ack.number:
            camera.way.popleft()
        self._woken.set()
        if ack.camera in self._hub.names:
            self._hub.show_interest(ack.camera)

    def tell(self, name: str) -> None:
        """There is a new frame."""
        if name in self._cameras:
            self._woken.set()

    def show_interest(self) -> None:
        """Keep cameras going that this viewer would be sent frames of."""
        for name, camera in self._cameras.items():
            if len(camera.way) < CREDITS and name in self._hub.names:
                self._hub.show_interest(name)

    def next(self) -> tuple[str, EncodedFrame] | None:
        """The newest frame of a camera, the oldest of several; counted as sent."""
        oldest = time.monotonic() - _OLD_SECONDS
        found: list[tuple[float, str, EncodedFrame]] = []
        for name, camera in self._cameras.items():
            newest = self._hub.newest(name)
            if newest is None or newest.number == camera.sent or len(camera.way) >= CREDITS or newest.taken < oldest:
                continue
            found.append((newest.taken, name, newest))
        if not found:
            return None
        _, name, frame = min(found, key=lambda one: one[0])
        camera = self._cameras[name]
        camera.sent = frame.number
        camera.way.append(frame.number)
        return name, frame

    async def wait(self, seconds: float) -> None:
        """Until there may be something to send."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()


async def _send(socket: WebSocket, viewer: _Viewer) -> None:
    shown = 0.0
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await viewer.wait(_RENEW_SECONDS)
            while (found := viewer.next()) is not None:
                await socket.send_bytes(packed(*found, now=time.monotonic()))
            if time.monotonic() - shown > _RENEW_SECONDS:
                shown = time.monotonic()
                viewer.show_interest()


def packed(name: str, frame: EncodedFrame, *, now: float) -> bytes:
    """`FRAME_HEADER`, name, JPEG. now: time.monotonic()."""
    encoded = name.encode()
    age = max(0.0, 1000 * (now - frame.taken))
    return FRAME_HEADER.pack(frame.number, age, len(encoded)) + encoded + frame.data

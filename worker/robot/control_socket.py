"""GET /live/control: one page at a time sends `Drive` and `Pulse`; what they do is decided in `heartbeat` and by the
driving source. See dexvla.live.messages."""

import asyncio
import time
from contextlib import suppress
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dexvla.live.messages import Drive, Echo, Pulse, Refusal
from worker.robot.bearer import BearerAuth
from worker.robot.heartbeat import Heartbeat, Holder
from worker.robot.sources import DriveSink
from worker.robot.wire import plainly

_MESSAGE: TypeAdapter[Drive | Pulse] = TypeAdapter(Annotated[Drive | Pulse, Field(discriminator="type")])
_ANSWERS = 64  # that wait to be sent; a page that reads none of them is told no more
HELD = 4409  # closed because another page has the robot
_NAME = 128


class ControlSocket:
    """`sink` is set by who drives; without one, `Drive` messages are refused."""

    def __init__(self, *, auth: BearerAuth, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self.sink: DriveSink | None = None
        self.routes: list[BaseRoute] = [WebSocketRoute("/live/control", auth.socket(self._serve))]

    async def _serve(self, socket: WebSocket) -> None:
        await socket.accept()
        by = socket.headers.get("x-studio-by", "")[:_NAME].strip() or "unknown"
        session = socket.headers.get("x-studio-session", "")[:_NAME] or by
        holder = Holder(by=by, session=session)
        other = self._heartbeat.enter(holder)
        if other is not None:
            refusal = Refusal(seq=None, code="held_by_other", message=f"{other} has the controls; ask them to let go")
            with suppress(WebSocketDisconnect, RuntimeError):
                await socket.send_text(refusal.model_dump_json())
                await socket.close(HELD, f"{other} has the controls"[:100])
            return
        answers: asyncio.Queue[Echo | Refusal] = asyncio.Queue(_ANSWERS)
        sending = asyncio.create_task(_send(socket, answers))
        try:
            while True:
                event = await socket.receive()
                if event["type"] != "websocket.receive":
                    return
                self._take(holder, event.get("text") or event.get("bytes") or b"", answers)
                if self._heartbeat.holder is not holder:
                    with suppress(WebSocketDisconnect, RuntimeError):
                        await socket.close(HELD, "another page has taken over")
                    return
        finally:
            sending.cancel()
            if self._heartbeat.leave(holder) and self.sink is not None:
                self.sink.let_go()

    def _take(self, holder: Holder, content: str | bytes, answers: "asyncio.Queue[Echo | Refusal]") -> None:
        received = time.monotonic()
        try:
            message = _MESSAGE.validate_json(content)
        except ValidationError as error:
            _put(answers, Refusal(seq=None, code="malformed", message=plainly(error)))
            return
        refusal = self._heartbeat.accept(holder, message, received=received)
        if refusal is None and isinstance(message, Drive):
            refusal = self._drive(message, received, answers)
        elif refusal is None:
            _put(answers, Echo(seq=message.seq, sent=message.sent))
        if refusal is not None:
            _put(answers, refusal)

    def _drive(self, drive: Drive, received: float, answers: "asyncio.Queue[Echo | Refusal]") -> Refusal | None:
        if self.sink is None:
            return Refusal(seq=drive.seq, code="busy", message="this robot cannot be driven by hand")
        events = asyncio.get_running_loop()

        def answer(applied: float | None) -> None:
            with suppress(RuntimeError):  # the host ends
                events.call_soon_threadsafe(_put, answers, Echo(seq=drive.seq, sent=drive.sent, applied=applied))

        return self.sink.take(drive, received=received, answer=answer)


def _put(answers: "asyncio.Queue[Echo | Refusal]", answer: Echo | Refusal) -> None:
    with suppress(asyncio.QueueFull):
        answers.put_nowait(answer)


async def _send(socket: WebSocket, answers: "asyncio.Queue[Echo | Refusal]") -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            answer = await answers.get()
            await socket.send_text(answer.model_dump_json())

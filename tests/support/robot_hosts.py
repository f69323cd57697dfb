"""Real robot hosts for tests: processes of their own, as `studio robot` starts them."""

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import redis
from websockets.sync.client import ClientConnection, connect

from backend.core.errors import UnavailableError
from backend.core.settings import Settings
from backend.robots.host_client import HostClient
from backend.robots.repository import by_name
from backend.robots.token import host_token
from backend.studio.context import Studio
from dexvla.live.messages import LiveState, Mode
from dexvla.live.status import HostStatus, RobotState
from tests.support.databases import make_tables
from tests.support.paths import ROOT
from worker.supervise.broker import broker_command

BRAKING_STEPS = 4  # control steps at most from full speed to rest


@contextmanager
def robot_host(settings: Settings, name: str = "aloha-sim") -> Iterator[subprocess.Popen[bytes]]:
    """A host of the simulated ALOHA on the studio of `settings`; killed at the end if it still runs."""
    code = (
        "from backend.core.settings import Settings; from worker.supervise.robot_host import run; "
        f"run(Settings(), name={name!r})"
    )
    environment = os.environ | settings.environment() | {"REDIS_URL": settings.events_url}
    if settings.robot_address is not None:
        environment["STUDIO_ROBOT_ADDRESS"] = settings.robot_address
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def opened(settings: Settings) -> Iterator[Studio]:
    """Its folder and its tables are made."""
    settings.folder.prepare()
    studio = Studio.open(settings)
    make_tables(studio.db)
    yield studio
    studio.close()


@contextmanager
def live_host(studio: Studio, *, with_broker: bool = True) -> "Iterator[LiveHost]":
    """`robot_host` of an opened studio, beside a broker of its own, for `LiveHost.post` and the like."""
    with ExitStack() as stack:
        if with_broker:
            stack.enter_context(broker(studio.settings))
        yield LiveHost(studio, stack.enter_context(robot_host(studio.settings)))


@contextmanager
def watching(host: "LiveHost") -> "Iterator[Page]":
    """A page that the host has heard."""
    with Page(host) as page:
        until(lambda: bool(page.answers))
        yield page


def until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Seconds until it holds. Fails after `seconds`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - started


def motion(states: list[LiveState], after: float) -> list[bool]:
    """For each control step that began after `after` (time.monotonic(), which all processes of a machine share):
    whether what was sent then differs from what was sent a step before."""
    told = [state.samples for state in states if state.samples]
    rows = [row for one in told for row in zip(one.time, one.action, strict=True)]
    return [now != before for (_, before), (at, now) in itertools.pairwise(rows) if at > after]


class LiveHost:
    """The API's side of a live host, by hand."""

    def __init__(self, studio: Studio, process: subprocess.Popen[bytes], name: str = "aloha-sim") -> None:
        self.process, self.settings, self._studio, self._name = process, studio.settings, studio, name
        until(lambda: self._address() is not None, 90)
        until(self._started, 90)

    def _started(self) -> bool:
        with suppress(UnavailableError):  # announced and not listening yet
            return self.state().state is not RobotState.STARTING
        return False

    def _address(self) -> str | None:
        with self._studio.db.transaction(write=False) as db:
            row = by_name(db, self._name)
            return None if row is None else row.address

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {host_token(self._studio.settings.folder.secrets, self._name)}"}

    def url(self, path: str) -> str:
        return f"ws://{self._address()}{path}"

    def post(self, path: str, body: object = None, *, by: str = "ada") -> tuple[int, Any]:
        """Status and JSON."""
        address = self._address()
        assert address is not None
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            content = None if body is None else json.dumps(body)
            connection.request("POST", path, body=content, headers=self.headers | {"X-Studio-By": by})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def state(self) -> HostStatus:
        address = self._address()
        assert address is not None
        return HostClient(name=self._name, address=address, token=self.headers["Authorization"][7:]).state()

    def live_until(self, condition: Callable[[LiveState], bool], seconds: float = 60.0) -> list[LiveState]:
        """All states from now to the first for which it holds."""
        states: list[LiveState] = []
        deadline = time.monotonic() + seconds
        with self.socket("/live/state") as socket:
            while True:
                states.append(self.next_state(socket))
                if condition(states[-1]):
                    return states
                assert time.monotonic() < deadline, states[-1].model_copy(update={"samples": None})

    def acts_until(self, condition: Callable[[LiveState], bool], seconds: float = 240.0) -> list[LiveState]:
        """As `live_until`, for a policy that a `Page` watches over: where the machine was too busy for the page's
        pulses or for the policy's chunks, somebody resumes it."""

        def look(state: LiveState) -> bool:
            if state.mode is Mode.PAUSED and any(
                why in (state.why or "") for why in ("not heard", "have elapsed", "no answer within")
            ):
                self.post("/live/resume")
            return condition(state)

        return self.live_until(look, seconds)

    def rests(self, steps: int = 10) -> bool:
        """Whether the same was sent in that many consecutive steps from now on, once it has braked."""
        states = self.live_until(lambda state: state.samples is not None)  # the first has steps from before, too
        now = states[-1].samples
        assert now is not None
        from_here, rows = now.step[-1] + 2 * BRAKING_STEPS, dict[int, list[float]]()

        def enough(state: LiveState) -> bool:
            if state.samples:
                rows.update(zip(state.samples.step, state.samples.action, strict=True))
            return max(rows, default=0) >= from_here + steps

        self.live_until(enough)
        resting = [row for step, row in rows.items() if step >= from_here]
        return all(row == resting[0] for row in resting)

    def live(self) -> LiveState:
        """The state now."""
        with self.socket("/live/state") as socket:
            return self.next_state(socket)

    def socket(self, path: str, **headers: str) -> ClientConnection:
        return connect(self.url(path), additional_headers=self.headers | headers, compression=None)

    @staticmethod
    def next_state(socket: ClientConnection) -> LiveState:
        return LiveState.model_validate_json(socket.recv(timeout=10))


@contextmanager
def broker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The studio's private broker."""
    process = subprocess.Popen(broker_command(settings.folder.broker, settings.folder.broker_socket))
    client = redis.Redis.from_url(settings.events_url)

    def answers() -> bool:
        with suppress(redis.RedisError):
            return bool(client.ping())
        return False

    try:
        until(answers)
        yield process
    finally:
        client.close()
        process.kill()
        process.wait()


class Page:
    """A page that watches over a policy: sends a pulse every 50 ms until `silent` is set."""

    def __init__(self, host: LiveHost, by: str = "ada") -> None:
        self._host, self._by = host, by
        self.silent, self._ended = threading.Event(), threading.Event()
        self.answers: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Page":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        headers = {"X-Studio-By": self._by, "X-Studio-Session": self._by}
        with self._host.socket("/live/control", **headers) as control, self._host.socket("/live/state") as states:
            seq, epoch = 0, self._host.next_state(states).status.epoch
            while not self._ended.wait(0.05):
                with suppress(TimeoutError):
                    while True:
                        epoch = LiveState.model_validate_json(states.recv(timeout=0)).status.epoch
                if self.silent.is_set():
                    continue
                seq += 1
                sent = time.monotonic() * 1000
                control.send(json.dumps({"type": "pulse", "seq": seq, "sent": sent, "epoch": epoch}))
                with suppress(TimeoutError):
                    while True:
                        self.answers.append(json.loads(control.recv(timeout=0)))

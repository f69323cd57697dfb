"""kill -9 and a halt of every process that a rollout hangs on: the robot holds, and says why."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from backend.core.settings import Settings
from backend.studio.context import Studio
from dexvla.live.messages import HOLD_MS, Mode
from tests.support.databases import make_tables
from tests.support.processes import alive, children
from tests.support.robot_hosts import BRAKING_STEPS, LiveHost, Page, broker, motion, robot_host, until
from tests.support.tiny_policies import tiny_checkpoint

# The leg between API and host, as a process that can be killed: pulses every 50 ms.
PULSES = """
import itertools, json, sys, time
from websockets.sync.client import connect
url, token, epoch = sys.argv[1:]
headers = {"Authorization": token, "X-Studio-By": "ada", "X-Studio-Session": "ada"}
with connect(url, additional_headers=headers, compression=None) as socket:
    for seq in itertools.count(1):
        message = {"type": "pulse", "seq": seq, "sent": time.monotonic() * 1000, "epoch": int(epoch)}
        socket.send(json.dumps(message))
        socket.recv()
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    settings = Settings(data=tmp_path / "studio")
    settings.folder.prepare()
    studio = Studio.open(settings)
    make_tables(studio.db)
    yield studio
    studio.close()


@pytest.fixture
def broker_process(studio: Studio) -> Iterator[subprocess.Popen[bytes]]:
    with broker(studio.settings) as process:
        yield process


@pytest.fixture
def host(studio: Studio, broker_process: subprocess.Popen[bytes]) -> Iterator[LiveHost]:
    with robot_host(studio.settings) as process:
        yield LiveHost(studio, process)


@pytest.fixture
def relay(host: LiveHost) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [host.url("/live/control"), host.headers["Authorization"], str(host.state().epoch)]
    process = subprocess.Popen([sys.executable, "-c", PULSES, *arguments], stderr=subprocess.DEVNULL)
    until(lambda: host.live().holder == "ada")
    yield process
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def begin(host: LiveHost, checkpoint: Path) -> None:
    assert host.post("/live/rollout", {"path": str(checkpoint), "instruction": "Pick up the cube."})[0] == 200
    host.acts_until(lambda state: state.policy is not None and state.policy.chunks > 1)


def policy_process(host: LiveHost) -> int:
    (found,) = children(host.process.pid, "serve")
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_api_is_killed_or_halted(
    host: LiveHost, relay: subprocess.Popen[bytes], checkpoint: Path, how: signal.Signals
) -> None:
    begin(host, checkpoint)
    with host.socket("/live/state") as socket:
        host.next_state(socket)
        relay.send_signal(how)
        killed = time.monotonic()
        states = [host.next_state(socket)]
        while states[-1].mode is not Mode.PAUSED:
            states.append(host.next_state(socket))
            assert time.monotonic() - killed < 30
        late = killed + 2 * HOLD_MS / 1000  # the last pulse may have been under way for HOLD_MS
        while len(moving := motion(states, late)) <= 10:
            states.append(host.next_state(socket))
    assert "not heard" in (states[-1].why or "")
    assert not any(moving[BRAKING_STEPS:]), "counted in steps, which a busy machine makes longer"
    if how is signal.SIGSTOP:
        relay.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        assert host.live().mode is Mode.PAUSED, "whoever comes back has to resume it"


def test_the_broker_is_killed(host: LiveHost, checkpoint: Path, broker_process: subprocess.Popen[bytes]) -> None:
    with Page(host) as page:
        until(lambda: bool(page.answers))
        begin(host, checkpoint)
        broker_process.kill()
        state = host.live_until(lambda state: state.mode is Mode.PAUSED, 30)[-1]
        assert "broker does not answer" in (state.why or "")
        status, answer = host.post("/live/resume")
        assert (status, "broker" in answer["error"]) == (409, True)
        broker_process.wait()
        with broker(host.settings):
            until(lambda: host.post("/live/resume")[0] == 200)
            before = state.policy.chunks if state.policy else 0
            host.acts_until(lambda state: state.policy is not None and state.policy.chunks > before)


def test_the_policy_is_killed(host: LiveHost, checkpoint: Path) -> None:
    with Page(host) as page:
        until(lambda: bool(page.answers))
        begin(host, checkpoint)
        os.kill(policy_process(host), signal.SIGKILL)
        state = host.live_until(lambda state: state.mode is Mode.PAUSED)[-1]
        assert "SIGKILL" in (state.why or "")
        assert host.rests()
        assert host.post("/live/resume")[0] == 200
        host.acts_until(lambda state: state.policy is not None and state.policy.chunks > 1)


def test_the_database_is_locked_and_nothing_of_it_matters(host: LiveHost, checkpoint: Path, studio: Studio) -> None:
    with Page(host) as page:
        until(lambda: bool(page.answers))
        begin(host, checkpoint)
        with studio.db.transaction() as db:
            db.connection()  # SQLite's write lock
            before = host.live().policy
            assert before is not None
            host.acts_until(lambda state: state.policy is not None and state.policy.chunks > before.chunks + 3)


def test_the_host_is_killed_and_leaves_no_policy_behind(host: LiveHost, checkpoint: Path) -> None:
    with Page(host) as page:
        until(lambda: bool(page.answers))
        begin(host, checkpoint)
        policy = policy_process(host)
    host.process.kill()
    host.process.wait()
    until(lambda: not alive(policy))

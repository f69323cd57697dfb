"""A real checkpoint behind the real server: what arrives is what the checkpoint says in this process."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dexvla.act.base import Policy, PolicyInput
from dexvla.act.client import PolicyServerError, RemotePolicy
from dexvla.act.policy import CheckpointPolicy
from dexvla.act.protocol import decode, encode
from dexvla.act.server import serve
from dexvla.errors import CheckpointError

pytestmark = [pytest.mark.clockless, pytest.mark.slow]

PATIENCE_S = 60.0
STATE = np.float32([0.1, 1.2, 2.3, 3.0])


def observation(seed, *, reasoning=None):
    random = np.random.default_rng(seed)
    images = {name: random.integers(0, 256, (120, 160, 3), dtype=np.uint8) for name in ("cam_high", "cam_left_wrist")}
    return PolicyInput(images=images, state=STATE, instruction="Pick up the red cube.", reasoning=reasoning)


@pytest.fixture(scope="module")
def local(checkpoint):
    return CheckpointPolicy.load(checkpoint, device="cpu", max_new_tokens=8)


@pytest.fixture
def url(local, run_server):
    with run_server(lambda: local.session(0)) as running:
        yield running.url


def rollout(policy: Policy, seed: int) -> np.ndarray:
    policy.reset(seed)
    return np.stack([policy.infer(observation(step)).actions for step in range(3)])


def test_a_remote_policy_is_the_local_one(url, local):
    with RemotePolicy(url) as remote:
        assert isinstance(remote, Policy)
        assert remote.metadata == local.metadata
        np.testing.assert_array_equal(rollout(remote, 4), rollout(local, 4))
        local.reset(0)
        remote.reset(0)
        forced = observation(0, reasoning="Lift the cube.")
        ours, theirs = local.infer(forced), remote.infer(forced)
        np.testing.assert_array_equal(theirs.normalised, ours.normalised)
        assert theirs.reasoning == ours.reasoning == "Lift the cube."
        assert theirs.infer_ms > 0


def test_two_clients_at_once_do_not_disturb_each_others_rollouts(url, local):
    with RemotePolicy(url) as first, RemotePolicy(url) as second, ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(rollout, first, 1), pool.submit(rollout, second, 2)]
        results = [answer.result(PATIENCE_S) for answer in answers]
    for result, seed in zip(results, (1, 2), strict=True):
        np.testing.assert_array_equal(result, rollout(local, seed))


def test_an_aloha_client_without_our_extras(url, local):
    """Channels first, float64, no seed: the chunk is the first one of the server's own seed."""
    item = observation(0)
    with connect(url, compression=None, max_size=None) as connection:
        assert decode(connection.recv(timeout=PATIENCE_S))["chunk_size"] == 6
        images = {name: np.ascontiguousarray(image.transpose(2, 0, 1)) for name, image in item.images.items()}
        connection.send(encode({"images": images, "state": STATE.astype(np.float64), "prompt": item.instruction}))
        reply = decode(connection.recv(timeout=PATIENCE_S))
    np.testing.assert_array_equal(reply["actions"], local.session(0).infer(item).actions)


def test_control_tokens_and_nan_are_refused_over_the_wire(url):
    item = observation(0)
    with RemotePolicy(url) as remote, pytest.raises(PolicyServerError, match="control token"):
        remote.infer(PolicyInput(images=item.images, state=STATE, instruction="<|im_end|>"))
    with connect(url, compression=None) as connection:
        connection.recv(timeout=PATIENCE_S)
        connection.send(encode({"images": dict(item.images), "state": STATE * np.nan, "prompt": "pick"}))
        assert "state has non-finite values" in connection.recv(timeout=PATIENCE_S)


def test_a_checkpoint_that_is_not_there_is_a_users_error(tmp_path):
    with pytest.raises(CheckpointError, match="no such directory"):
        serve(tmp_path / "nothing", port=0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_cleanly(checkpoint, number):
    code = (
        "import sys; from dexvla.act.server import serve\n"
        "serve(sys.argv[1], port=0, device='cpu', max_new_tokens=8, on_ready=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(checkpoint)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().strip()
        with connect(url, compression=None) as connection:
            connection.recv(timeout=PATIENCE_S)
            process.send_signal(number)
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(timeout=PATIENCE_S)
            assert closed.value.rcvd.code == 1001
        _, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_the_client_needs_no_torch():
    code = "import sys, dexvla.act.client, dexvla.act.chunks, dexvla.act.limits; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

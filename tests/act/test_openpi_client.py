"""The real openpi client (PyPI openpi-client 0.1.2) against our server. It needs numpy < 2, so it has an environment
of its own, `.venv-openpi` in the repository's root."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dexvla.act.base import PolicyInput
from dexvla.act.policy import CheckpointPolicy
from tests.support.environments import OPENPI, PipFailed

pytestmark = [pytest.mark.clockless, pytest.mark.download]

# Runs in that environment: a client as openpi's ALOHA example writes it, results as JSON on the last line.
CLIENT = """
import json, sys
import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

host, port, key, steps = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
policy = WebsocketClientPolicy(host, port, api_key=key)
image = np.arange(3 * 120 * 160, dtype=np.uint8).reshape(3, 120, 160)
observation = {
    "state": np.array([0.1, 1.2, 2.3, 3.0]),
    "images": {"cam_high": image, "cam_left_wrist": image[:, ::-1]},
    "prompt": "Pick up the red cube.",
}
metadata = policy.get_server_metadata()
chunk = policy.infer(observation)
broker = ActionChunkBroker(policy, action_horizon=steps)
sliced = [broker.infer(observation) for _ in range(2 * steps)]
try:
    policy.infer({**observation, "state": np.full(4, np.nan)})
    refusal = None
except RuntimeError as error:
    refusal = str(error)
print(json.dumps({
    "numpy": np.__version__,
    "cameras": [camera["name"] for camera in metadata["cameras"]],
    "chunk_size": metadata["chunk_size"],
    "actions": chunk["actions"].tolist(),
    "reasoning": chunk["reasoning"],
    "timings": [chunk["policy_timing"]["infer_ms"], chunk["server_timing"]["infer_ms"]],
    "sliced": [step["actions"].tolist() for step in sliced],
    "sliced_reasoning": [step["reasoning"] for step in sliced],
    "refusal": refusal,
}))
"""


@pytest.fixture(scope="module")
def openpi_python() -> Path:
    """The interpreter of the client's environment; skips only where pip cannot install it."""
    try:
        return OPENPI.python()
    except PipFailed as error:
        pytest.skip(f"pip cannot install openpi's client: {error}")


def test_the_real_openpi_client_works_unmodified(openpi_python, checkpoint, run_server):
    policy = CheckpointPolicy.load(checkpoint, device="cpu", max_new_tokens=8)
    with run_server(lambda: policy, api_key="key") as running:
        host, port = running.url.removeprefix("ws://").split(":")
        done = subprocess.run(
            [openpi_python, "-c", CLIENT, host, port, "key", "4"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["numpy"].startswith("1.")
    assert said["cameras"] == ["cam_high", "cam_left_wrist"]
    assert said["chunk_size"] == 6
    assert np.shape(said["actions"]) == (6, 3)
    assert np.isfinite(said["actions"]).all()
    assert isinstance(said["reasoning"], str)
    assert all(ms > 0 for ms in said["timings"])
    assert "state has non-finite values" in said["refusal"]

    # One noise stream a connection: the chunks that the client got are those of a session in this process.
    image = np.arange(3 * 120 * 160, dtype=np.uint8).reshape(3, 120, 160).transpose(1, 2, 0)
    session = policy.session(0)
    observation = PolicyInput(
        images={"cam_high": image, "cam_left_wrist": image[::-1]},
        state=np.float32([0.1, 1.2, 2.3, 3.0]),
        instruction="Pick up the red cube.",
    )
    chunks = [session.infer(observation).actions for _ in range(3)]
    np.testing.assert_array_equal(np.float32(said["actions"]), chunks[0])
    np.testing.assert_array_equal(np.float32(said["sliced"]), np.concatenate([chunks[1][:4], chunks[2][:4]]))
    assert len(set(said["sliced_reasoning"])) == 1

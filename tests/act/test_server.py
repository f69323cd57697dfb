"""The server's behaviour that does not depend on the model: pace, order, refusals, health, stopping."""

import contextlib
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from dexvla.act import server as server_module
from dexvla.act.base import PolicyInput, PolicyInputError
from dexvla.act.client import PolicyServerError, RemotePolicy
from dexvla.act.protocol import decode, encode
from dexvla.act.server import PolicyServer
from dexvla.errors import CheckpointError, UserError

PATIENCE_S = 30.0


def message(observation: PolicyInput) -> dict:
    return {"images": dict(observation.images), "state": observation.state, "prompt": observation.instruction}


def raw(url: str, **options):
    return connect(url, compression=None, max_size=None, **options)


def refusal(connection, data) -> str:
    """Send something bad; what the server says, once it has closed with 1011."""
    connection.send(data)
    said = connection.recv(timeout=PATIENCE_S)
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=PATIENCE_S)
    assert closed.value.rcvd.code == 1011
    return said


def test_metadata_comes_first_and_every_array_of_a_reply_is_a_chunk(paced, run_server, make_observation):
    paced.go.release(2)
    with run_server(lambda: paced) as running, raw(running.url) as connection:
        metadata = decode(connection.recv(timeout=PATIENCE_S))
        assert metadata["cameras"] == [
            {"name": "cam_high", "height": 56, "width": 84},
            {"name": "cam_left_wrist", "height": 56, "width": 56},
        ]
        assert {key: metadata[key] for key in ("action_dim", "state_dim", "chunk_size", "fps", "robot")} == {
            "action_dim": 2,
            "state_dim": 3,
            "chunk_size": 4,
            "fps": 50,
            "robot": "paced",
        }
        assert metadata["server_version"]
        for turn in range(2):
            connection.send(encode(message(make_observation(100))))
            reply = decode(connection.recv(timeout=PATIENCE_S))
            np.testing.assert_array_equal(reply["actions"], np.full((4, 2), 100, np.float32))
            assert all(value.shape[0] >= 4 for value in reply.values() if isinstance(value, np.ndarray))
            assert reply["reasoning"] == "Wait."
            assert reply["policy_timing"]["infer_ms"] == 1.0
            assert reply["server_timing"]["infer_ms"] >= 0
            assert ("prev_total_ms" in reply["server_timing"]) is (turn == 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: "text", "text message"),
        (lambda m: b"\xc1", "not valid msgpack"),
        (lambda m: encode(m)[:-1], "not valid msgpack"),
        (lambda m: encode([1]), "is a list"),
        (lambda m: encode({**m, "state": np.full(3, np.nan, np.float32)}), "state has non-finite values at 0, 1, 2"),
        (lambda m: encode({**m, "state": np.zeros(14)}), r"trained with \(3,\)"),
        (lambda m: encode({**m, "images": {"cam_high": m["images"]["cam_high"]}}), "missing: cam_left_wrist"),
        (lambda m: encode({**m, "images": {**m["images"], "cam_low": np.zeros((3, 8, 8), np.uint8)}}), "cam_low"),
        (
            lambda m: encode({"observation/image": np.zeros((8, 8, 3), np.uint8), "state": m["state"]}),
            "unknown entries: observation/image",
        ),
        (lambda m: encode({k: v for k, v in m.items() if k != "prompt"}), "no prompt"),
    ],
)
def test_a_bad_message_is_refused_with_its_reason_and_the_server_goes_on(
    paced, run_server, make_observation, change, reason
):
    paced.go.release()
    with run_server(lambda: paced) as running:
        with raw(running.url) as connection:
            connection.recv(timeout=PATIENCE_S)
            said = refusal(connection, change(message(make_observation(0))))
        assert re.search(reason, said)
        assert "Traceback" not in said
        with RemotePolicy(running.url) as policy:
            assert policy.infer(make_observation(7)).actions[0, 0] == 7


def test_the_servers_default_prompt(paced, run_server, make_observation):
    paced.go.release()
    with run_server(lambda: paced, default_prompt="pick") as running, raw(running.url) as connection:
        connection.recv(timeout=PATIENCE_S)
        connection.send(encode({k: v for k, v in message(make_observation(3)).items() if k != "prompt"}))
        assert decode(connection.recv(timeout=PATIENCE_S))["actions"][0, 0] == 3


def test_a_failure_of_ours_is_told_without_its_inside_and_logged_with_it(paced, run_server, make_observation, caplog):
    paced.failure = RuntimeError("the secret of the cellar")
    paced.go.release()
    with run_server(lambda: paced) as running, raw(running.url) as connection:
        connection.recv(timeout=PATIENCE_S)
        said = refusal(connection, encode(message(make_observation(0))))
    assert "RuntimeError" in said
    assert "cellar" not in said
    assert "the secret of the cellar" in caplog.text


def test_clients_take_turns_and_health_answers_meanwhile(paced, run_server, make_observation):
    with (
        run_server(lambda: paced) as running,
        ThreadPoolExecutor(2) as pool,
        RemotePolicy(running.url) as first,
        RemotePolicy(running.url) as second,
    ):
        answers = [pool.submit(first.infer, make_observation(10))]
        assert paced.started.acquire(timeout=PATIENCE_S)
        answers.append(pool.submit(second.infer, make_observation(20)))
        assert running.health() == (200, "OK\n")
        assert not paced.started.acquire(timeout=0.2), "two inferences at once"
        paced.go.release(2)
        assert [answer.result(PATIENCE_S).actions[0, 0] for answer in answers] == [10, 20]


class _OnMessage(logging.Handler):
    """Sets `seen` when the server logs a line that ends with `end`."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.end, self.seen = end, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().endswith(self.end):
            self.seen.set()


def test_a_client_that_leaves_the_queue_is_not_computed(paced, run_server, make_observation, caplog):
    caplog.set_level(logging.INFO, server_module.__name__)
    handler = _OnMessage("left")
    server_module.log.addHandler(handler)
    with (
        contextlib.ExitStack() as stack,
        run_server(lambda: paced) as running,
        ThreadPoolExecutor(1) as pool,
        RemotePolicy(running.url) as first,
        RemotePolicy(running.url, infer_timeout=0.2) as impatient,
    ):
        stack.callback(server_module.log.removeHandler, handler)
        answer = pool.submit(first.infer, make_observation(10))
        assert paced.started.acquire(timeout=PATIENCE_S)
        with pytest.raises(PolicyServerError, match=r"no answer within 0\.2 s"):
            impatient.infer(make_observation(20))
        with pytest.raises(PolicyServerError, match="connection is closed"):
            impatient.infer(make_observation(20))
        assert handler.seen.wait(PATIENCE_S)
        paced.go.release()
        assert answer.result(PATIENCE_S).actions[0, 0] == 10
        paced.go.release()
        assert first.infer(make_observation(30)).actions[0, 0] == 30
    assert paced.answered == 2


def test_a_connection_is_accepted_at_once_and_told_when_the_model_is_warm(paced, run_server):
    warming, warm = threading.Event(), threading.Event()

    def warm_up():
        warming.set()
        assert warm.wait(PATIENCE_S)

    paced.warm_up = warm_up
    with run_server(lambda: paced, wait_ready=False) as running, raw(running.url) as connection:
        assert warming.wait(PATIENCE_S)
        with pytest.raises(TimeoutError):
            connection.recv(timeout=0.2)
        assert running.health() == (503, "the model is loading\n")
        warm.set()
        assert decode(connection.recv(timeout=PATIENCE_S))["checkpoint"] == "paced"
        assert running.health()[0] == 200


def test_a_model_that_cannot_be_loaded_is_told_to_who_waits_and_ends_the_server(run_server):
    waiting = threading.Event()

    def load():
        assert waiting.wait(PATIENCE_S)
        raise CheckpointError("runs/x: no such checkpoint")

    with run_server(load, wait_ready=False) as running, raw(running.url) as connection:
        waiting.set()
        assert connection.recv(timeout=PATIENCE_S) == "runs/x: no such checkpoint"
        assert running.ended.wait(PATIENCE_S)
    assert isinstance(running.error, CheckpointError)


def test_the_key(paced, run_server, make_observation):
    paced.go.release()
    with run_server(lambda: paced, api_key="s3cret key") as running:
        for headers in ({}, {"Authorization": "Api-Key wrong"}, {"Authorization": "Bearer s3cret key"}):
            with pytest.raises(InvalidStatus) as refused:
                raw(running.url, additional_headers=headers).__enter__()
            assert refused.value.response.status_code == 401
        with pytest.raises(PolicyServerError, match="API key"):
            RemotePolicy(running.url, api_key="wrong")
        with RemotePolicy(running.url, api_key="s3cret key") as policy:
            assert policy.infer(make_observation(5)).actions[0, 0] == 5
        assert running.health()[0] == 200


def test_an_empty_key_is_no_key():
    with pytest.raises(UserError, match="API key is empty"):
        PolicyServer(lambda: None, api_key=" ")


def test_a_page_in_a_browser_is_refused(paced, run_server):
    with run_server(lambda: paced) as running:
        with pytest.raises(InvalidStatus) as refused:
            raw(running.url, origin="https://elsewhere.example").__enter__()
        assert refused.value.response.status_code == 403
        with pytest.raises(InvalidStatus) as refused:
            raw(running.url + "/other").__enter__()
        assert refused.value.response.status_code == 404


def test_a_message_over_the_limit_ends_the_connection_not_the_server(paced, run_server, make_observation, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_MESSAGE_BYTES", 100_000)
    paced.go.release()
    with run_server(lambda: paced) as running:
        big = {camera.name: np.zeros((480, 640, 3), np.uint8) for camera in paced.metadata.cameras}
        with RemotePolicy(running.url) as policy, pytest.raises(PolicyServerError, match="closed the connection"):
            policy.infer(PolicyInput(images=big, state=np.zeros(3, np.float32), instruction="pick"))
        with RemotePolicy(running.url) as policy:
            assert policy.infer(make_observation(9)).actions[0, 0] == 9


def test_images_of_a_megabyte_each_pass(paced, run_server):
    paced.go.release()
    big = {camera.name: np.full((1080, 1920, 3), 50, np.uint8) for camera in paced.metadata.cameras}
    with run_server(lambda: paced) as running, RemotePolicy(running.url) as policy:
        chunk = policy.infer(PolicyInput(images=big, state=np.zeros(3, np.float32), instruction="pick"))
    assert chunk.actions[0, 0] == 50
    assert chunk.actions.dtype == np.float32
    assert chunk.infer_ms == 1.0


def test_stopping_tells_the_clients_also_the_one_being_served(paced, run_server, make_observation):
    with (
        run_server(lambda: paced) as running,
        ThreadPoolExecutor(1) as pool,
        RemotePolicy(running.url) as idle,
        RemotePolicy(running.url) as busy,
    ):
        answer = pool.submit(busy.infer, make_observation(10))
        assert paced.started.acquire(timeout=PATIENCE_S)
        running.server.stop()
        with pytest.raises(PolicyServerError, match="1001"):
            answer.result(PATIENCE_S)
        with pytest.raises(PolicyServerError, match="1001"):
            idle.infer(make_observation(10))
        paced.go.release()
        assert running.ended.wait(PATIENCE_S)
    assert running.error is None


def test_a_taken_port_is_a_users_error(paced, run_server):
    with run_server(lambda: paced) as running:
        other = PolicyServer(lambda: paced, port=int(running.url.rpartition(":")[2]))
        with pytest.raises(UserError, match="cannot listen on 127"):
            server_module.asyncio.run(other.run())


# --- the client ---------------------------------------------------------------------------------------------


def test_the_client_checks_before_it_sends(paced, run_server, make_observation):
    paced.go.release()
    with run_server(lambda: paced) as running, RemotePolicy(running.url) as policy:
        with pytest.raises(PolicyInputError, match="non-finite"):
            policy.infer(PolicyInput(images=make_observation(0).images, state=np.full(3, np.inf), instruction="pick"))
        assert policy.infer(make_observation(4)).actions[0, 0] == 4, "a refusal of our own must not cost the connection"


@pytest.mark.parametrize("actions", [np.full((4, 2), np.nan), np.zeros((4, 3)), np.zeros((4, 2), np.int64), None])
def test_the_client_refuses_a_reply_that_is_no_chunk(paced, run_server, make_observation, actions, monkeypatch):
    paced.go.release()
    monkeypatch.setattr(server_module, "encode", lambda reply: encode({**reply, "actions": actions}))
    with (
        run_server(lambda: paced) as running,
        RemotePolicy(running.url) as policy,
        pytest.raises(PolicyServerError, match="server's actions"),
    ):
        policy.infer(make_observation(0))


def test_nobody_there_and_no_address():
    with pytest.raises(PolicyServerError, match="is `dexvla serve` running there"):
        RemotePolicy("127.0.0.1:1")
    with pytest.raises(PolicyServerError, match="not an address"):
        RemotePolicy("http://127.0.0.1:1")


def test_a_server_of_another_kind_is_recognised(paced, run_server, monkeypatch):
    monkeypatch.setattr(server_module, "encode", lambda metadata: encode({"reset_pose": [0.0]}))
    with run_server(lambda: paced) as running, pytest.raises(PolicyServerError, match="not describe a DexVLA policy"):
        RemotePolicy(running.url)


def test_a_server_that_never_gets_ready_is_given_up(run_server):
    loaded = threading.Event()
    with run_server(lambda: loaded.wait(PATIENCE_S), wait_ready=False) as running:
        with pytest.raises(PolicyServerError, match=r"no answer within 0\.1 s"):
            RemotePolicy(running.url, ready_timeout=0.1)
        loaded.set()

"""The reasoning on its way while it is written: from the model's tokens over the wire to who watches."""

import threading

import numpy as np
import pytest
from websockets.sync.client import connect

from dexvla.act.base import ActionChunk, PolicyInput
from dexvla.act.client import PolicyServerError, RemotePolicy
from dexvla.act.policy import CheckpointPolicy
from dexvla.act.protocol import decode, encode
from dexvla.demo import demo_checkpoint
from dexvla.model.processing import ACTION_MARK
from dexvla.robots.aloha_sim import AlohaSim

PATIENCE_S = 30.0


class Talker:
    """Says one word each time that the test lets it."""

    def __init__(self, paced) -> None:
        self.metadata, self.go, self.started = paced.metadata, paced.go, paced.started

    def session(self, seed: int) -> "Talker":
        return self

    def warm_up(self) -> None: ...

    def reset(self, seed: int) -> None: ...

    def close(self) -> None: ...

    def infer(self, observation: PolicyInput, *, on_reasoning=None) -> ActionChunk:
        for text in ("Move", "Move left"):
            self.started.release()
            assert self.go.acquire(timeout=PATIENCE_S)
            if on_reasoning is not None:
                on_reasoning(text)
        self.started.release()
        assert self.go.acquire(timeout=PATIENCE_S)
        actions = np.zeros((4, 2), np.float32)
        return ActionChunk(actions=actions, normalised=actions, reasoning="Move left.", infer_ms=1.0)


def test_text_arrives_while_the_answer_is_written(paced, run_server, make_observation):
    talker, heard, arrived = Talker(paced), [], threading.Semaphore(0)

    def on_token(text: str) -> None:
        heard.append(text)
        arrived.release()

    def ask() -> None:
        with RemotePolicy(running.url) as policy:
            answers.append(policy.infer(make_observation(5), on_reasoning=on_token))

    answers: list[ActionChunk] = []
    with run_server(lambda: talker) as running:
        thread = threading.Thread(target=ask)
        thread.start()
        for text in ("Move", "Move left"):
            talker.go.release()
            assert arrived.acquire(timeout=PATIENCE_S)
            assert heard[-1] == text
            assert not answers
        talker.go.release()
        thread.join(PATIENCE_S)
    assert answers[0].reasoning == "Move left."
    assert heard == ["Move", "Move left"], "nothing twice, nothing after the answer"


def test_who_does_not_ask_for_it_never_sees_it(paced, run_server, make_observation):
    observation = make_observation(5)
    message = {"images": dict(observation.images), "state": observation.state, "prompt": "go"}
    paced.go.release(100)
    with run_server(lambda: Talker(paced)) as running, connect(running.url, compression=None) as connection:
        connection.recv(timeout=PATIENCE_S)
        for _ in range(2):
            connection.send(encode(message))
            assert "actions" in decode(connection.recv(timeout=PATIENCE_S))
        connection.send(encode({**message, "stream_reasoning": "yes"}))
        assert "expected true or false" in connection.recv(timeout=PATIENCE_S)


def test_an_answer_in_parts_has_one_deadline(paced, run_server, make_observation):
    talker = Talker(paced)
    talker.go.release(1)
    with run_server(lambda: talker) as running:
        policy = RemotePolicy(running.url, infer_timeout=0.5)
        with pytest.raises(PolicyServerError, match=r"no answer within 0\.5 s"):
            policy.infer(make_observation(5), on_reasoning=lambda text: None)
        talker.go.release(10)


def test_the_models_words_grow_into_its_reasoning():
    policy = CheckpointPolicy.load(demo_checkpoint(), device="cpu", max_new_tokens=8)
    robot = AlohaSim(task="pick_colour", cameras=policy.metadata.recorded_cameras)
    robot.connect()
    seen = robot.reset(1)
    robot.disconnect()
    images = {name: frame.image for name, frame in seen.frames.items()}
    observation = PolicyInput(images=images, state=seen.qpos, instruction="pick up the cube")
    told: list[str] = []
    policy.reset(1)
    chunk = policy.infer(observation, on_reasoning=told.append)
    policy.reset(1)
    silent = policy.infer(observation)
    assert chunk.reasoning == silent.reasoning
    np.testing.assert_array_equal(chunk.actions, silent.actions)
    assert len(told) > 1
    assert len(set(told)) == len(told), "told only when it has grown"
    assert chunk.reasoning.startswith(told[0])


def test_half_a_mark_and_half_a_letter_are_not_shown(checkpoint):
    processor = CheckpointPolicy.load(checkpoint, device="cpu")._processor
    ids = processor.answer_ids(f"Grüße an Ännchen.{ACTION_MARK}<|im_end|>")
    shown = [processor.partial_text(ids[: n + 1]) for n in range(len(ids))]
    assert shown[-1] == "Grüße an Ännchen."
    assert all("Grüße an Ännchen.".startswith(text) for text in shown)

"""A policy behind a wire: the same surface as a checkpoint in this process. Synchronous, without torch."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import connect

from dexvla.act.base import ActionChunk, PolicyInput, PolicyMetadata, check_input, check_seed
from dexvla.act.protocol import MAX_MESSAGE_BYTES, ProtocolError, decode, encode_observation
from dexvla.errors import UserError


class PolicyServerError(UserError):
    """The policy server cannot be reached, refused a request with its reason, or answered nonsense."""


class PolicyAwayError(PolicyServerError):
    """The policy server cannot be reached, has closed the connection or does not answer in time."""


class RemotePolicy:
    """A policy server's client: connects, waits until the server's model is ready, then asks chunk by chunk.

    url: ws://HOST:PORT, wss://HOST:PORT or HOST:PORT. Timeouts in seconds: connect_timeout for the connection,
    ready_timeout for the model to be loaded, infer_timeout for an answer. After an error the connection is closed:
    make a new RemotePolicy. Raises PolicyServerError. Use it from one thread.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        connect_timeout: float = 10.0,
        ready_timeout: float = 600.0,
        infer_timeout: float = 60.0,
    ) -> None:
        self._url = url if "://" in url else f"ws://{url}"
        self._infer_timeout = infer_timeout
        self._seed: int | None = None
        self._stack = ExitStack()
        self._open = True
        headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        try:
            self._connection = self._stack.enter_context(
                connect(
                    self._url,
                    additional_headers=headers,
                    compression=None,
                    max_size=MAX_MESSAGE_BYTES,
                    open_timeout=connect_timeout,
                    close_timeout=2.0,
                    proxy=None,  # robots and their policies talk directly
                )
            )
        except InvalidStatus as error:
            raise self._failed(_refused_handshake(error)) from error
        except TimeoutError as error:
            raise self._failed(f"no answer within {connect_timeout:g} s", PolicyAwayError) from error
        except InvalidURI as error:
            raise self._failed("that is not an address; expected ws://HOST:PORT") from error
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            raise self._failed(
                f"cannot connect ({error}); is `dexvla serve` running there?", PolicyAwayError
            ) from error
        self._metadata = self._read_metadata(ready_timeout)

    @property
    def metadata(self) -> PolicyMetadata:
        return self._metadata

    def reset(self, seed: int) -> None:
        """Start a roll-out: the seed goes to the server with the next observation."""
        self._seed = check_seed(seed)

    def infer(self, observation: PolicyInput, *, on_reasoning: Callable[[str], None] | None = None) -> ActionChunk:
        """The chunk for one observation; infer_ms is the server's inference, without the wire.

        on_reasoning: called in this thread with the reasoning so far, while the server writes it. Raises
        PolicyInputError, and sends nothing, where the observation does not fit the policy; PolicyServerError
        if the server refuses, does not answer in time or answers nonsense.
        """
        checked = check_input(observation, self._metadata)
        data = encode_observation(checked, seed=self._seed, stream_reasoning=on_reasoning is not None)
        if len(data) > MAX_MESSAGE_BYTES:
            raise ProtocolError(
                f"observation has {len(data) / 2**20:.0f} MiB, the server takes {MAX_MESSAGE_BYTES // 2**20}; "
                "send smaller images"
            )
        deadline = time.monotonic() + self._infer_timeout
        reply = self._exchange(data, self._infer_timeout)
        while "partial_reasoning" in reply:
            text = reply["partial_reasoning"]
            if on_reasoning is None or not isinstance(text, str):
                raise self._failed("the server sent a partial reasoning that is no text, or was not asked for")
            on_reasoning(text)
            reply = self._exchange(None, max(0.0, deadline - time.monotonic()), total=self._infer_timeout)
        self._seed = None
        return self._read_chunk(reply)

    def close(self) -> None:
        self._open = False
        self._stack.close()

    def __enter__(self) -> "RemotePolicy":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _exchange(self, data: bytes | None, timeout: float, *, total: float | None = None) -> dict[Any, Any]:
        """Send if there is something to send, then wait for one message. total: of the whole answer, if in parts."""
        if not self._open:
            raise PolicyAwayError(f"{self._url}: the connection is closed; make a new RemotePolicy")
        try:
            if data is not None:
                self._connection.send(data)
            answer = self._connection.recv(timeout=timeout)
        except TimeoutError as error:
            reason = f"no answer within {total or timeout:g} s; the server may be loading or overloaded"
            raise self._failed(reason, PolicyAwayError) from error
        except ConnectionClosed as error:
            raise self._failed(f"the server closed the connection ({error})", PolicyAwayError) from error
        if isinstance(answer, str):
            raise self._failed(f"the server refused: {answer}")
        try:
            message = decode(answer)
        except ProtocolError as error:
            raise self._failed(str(error)) from error
        if not isinstance(message, dict):
            raise self._failed(f"the server sent a {type(message).__name__}, expected a map")
        return message

    def _read_metadata(self, timeout: float) -> PolicyMetadata:
        message = self._exchange(None, timeout)
        try:
            return PolicyMetadata(**{name: message[name] for name in PolicyMetadata.model_fields if name in message})
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, entry["loc"])) for entry in error.errors())
            raise self._failed(
                f"the server's metadata does not describe a DexVLA policy (missing or wrong: {wrong})"
            ) from error

    def _read_chunk(self, reply: dict[Any, Any]) -> ActionChunk:
        expected = (self._metadata.chunk_size, self._metadata.action_dim)
        arrays = {}
        for name in ("actions", "normalised_actions"):
            value = reply.get(name)
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.shape != expected:
                found = f"{value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
                raise self._failed(f"the server's {name} are {found}, expected {expected} of float")
            if not np.isfinite(value).all():
                raise self._failed(f"the server's {name} have non-finite values")
            arrays[name] = value.astype(np.float32)
        reasoning, timing = reply.get("reasoning"), reply.get("policy_timing")
        infer_ms = timing.get("infer_ms") if isinstance(timing, dict) else None
        if not isinstance(reasoning, str) or not isinstance(infer_ms, int | float):
            raise self._failed("the server's reply has no reasoning text or no policy_timing.infer_ms")
        return ActionChunk(
            actions=arrays["actions"],
            normalised=arrays["normalised_actions"],
            reasoning=reasoning,
            infer_ms=float(infer_ms),
        )

    def _failed(self, reason: str, kind: type[PolicyServerError] = PolicyServerError) -> PolicyServerError:
        """Close, so that a late answer can never be taken for the answer to another question."""
        self.close()
        return kind(f"policy server {self._url}: {reason}")


def _refused_handshake(error: InvalidStatus) -> str:
    status = error.response.status_code
    if status == 401:
        return "it refused the API key, or needs one"
    if status == 503:
        return "it is stopping"
    return f"it answered HTTP {status}; is that a policy server?"

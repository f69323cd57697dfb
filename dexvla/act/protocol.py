"""Messages of openpi's websocket protocol: msgpack with arrays, and the observations that clients send in it.

An array is a map {b"__ndarray__": True, b"data": bytes, b"dtype": dtype.str, b"shape": [...]}, a numpy scalar
{b"__npgeneric__": True, b"data": value, b"dtype": dtype.str}. Nothing is ever unpickled: arrays are built from bytes,
and only of plain numbers, text and times.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from dexvla.act.base import PolicyInput, PolicyMetadata, check_input, check_seed
from dexvla.errors import UserError

# openpi sets no limit. This one holds forty 1080p images and keeps a client from filling the memory.
MAX_MESSAGE_BYTES = 256 * 1024 * 1024

REFUSED_KINDS = "VOc"
_DTYPE = re.compile(r"[<>|=][biufSUMm]\d{1,9}(\[\w{1,8}\])?")
_MAX_DIMENSIONS = 32


class ProtocolError(UserError):
    """A message that is not what the protocol allows."""


# --- encoding -----------------------------------------------------------------------------------------------


def encode(message: Any) -> bytes:
    """One message as bytes. Raises ProtocolError on complex, object and structured arrays and on foreign types."""
    try:
        return bytes(msgpack.packb(message, default=_pack_numpy))
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"message cannot be sent: {error}") from error


def decode(data: bytes) -> Any:
    """One message from bytes. Arrays are read-only views of `data`. Raises ProtocolError on anything malformed."""
    try:
        return msgpack.unpackb(data, object_hook=_unpack_numpy, ext_hook=_refuse_extension)
    except ProtocolError:
        raise
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(f"message is not valid msgpack: {error or type(error).__name__}") from error


def _pack_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in REFUSED_KINDS:
            raise ProtocolError(f"arrays of {value.dtype} are not sent; expected numbers, text or times")
        if isinstance(value, np.ndarray):
            return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise ProtocolError(f"a {type(value).__name__} cannot be sent")


def _unpack_numpy(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _unpack_array(value)
    if b"__npgeneric__" in value:
        return _unpack_scalar(value)
    return value


def _unpack_array(value: dict[Any, Any]) -> NDArray[Any]:
    dtype = _unpack_dtype(value)
    data, shape = value.get(b"data"), value.get(b"shape")
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        raise ProtocolError(f"array needs data (bytes) and a shape of at most {_MAX_DIMENSIONS} numbers")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape):
        raise ProtocolError(f"array has the shape {shape}, expected whole numbers of at least 0")
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ProtocolError(f"array of {dtype} with the shape {shape} needs {expected} bytes, found {len(data)}")
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape) if data else np.empty(shape, dtype=dtype)
    except ValueError as error:
        raise ProtocolError(f"array with the shape {shape} cannot be built: {error}") from error


def _unpack_scalar(value: dict[Any, Any]) -> Any:
    dtype, data = _unpack_dtype(value), value.get(b"data")
    if not isinstance(data, bool | int | float | str | bytes):
        raise ProtocolError(f"numpy scalar holds a {type(data).__name__}, expected a number or text")
    try:
        return dtype.type(data)
    except (ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(f"numpy scalar {data!r} is not a {dtype}: {error}") from error


def _unpack_dtype(value: dict[Any, Any]) -> np.dtype[Any]:
    name = value.get(b"dtype")
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise ProtocolError(f"array type {name!r} is refused; expected a type of numbers, text or times such as '<f4'")
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise ProtocolError(f"array type {name!r} is unknown") from error
    if dtype.itemsize == 0:
        raise ProtocolError(f"array type {name!r} has no size")
    return dtype


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ProtocolError(f"msgpack extension type {code} is refused")


# --- observations -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Request:
    """observation: checked against the policy. seed: where the client starts a roll-out with this message.

    stream_reasoning: the client takes messages {"partial_reasoning": text} before the reply.
    """

    observation: PolicyInput
    seed: int | None = None
    stream_reasoning: bool = False


def encode_observation(observation: PolicyInput, *, seed: int | None = None, stream_reasoning: bool = False) -> bytes:
    """An observation in our own form: images (H, W, 3), state, prompt, and the parts that are set."""
    message: dict[str, Any] = {
        "images": dict(observation.images),
        "state": observation.state,
        "prompt": observation.instruction,
    }
    if observation.reasoning is not None:
        message["reasoning"] = observation.reasoning
    if seed is not None:
        message["seed"] = seed
    if stream_reasoning:
        message["stream_reasoning"] = True
    return encode(message)


def parse_observation(message: Any, metadata: PolicyMetadata, *, default_prompt: str | None = None) -> Request:
    """What a client sent, as the policy takes it.

    Understood: `images` {camera: image} or flat `images/CAMERA`, an image being (H, W, 3) or (3, H, W) uint8 RGB;
    `state` (S,); `prompt` (default_prompt where it is missing); ours only: `reasoning` (text), `seed` (starts a
    roll-out), `stream_reasoning` (true: tell the reasoning as it grows). Raises ProtocolError or PolicyInputError with
    what was found and what was expected.
    """
    if not isinstance(message, dict):
        raise ProtocolError(f"observation is a {type(message).__name__}, expected a map with images, state and prompt")
    rest = dict(message)
    images = _images(rest)
    state, prompt = rest.pop("state", None), rest.pop("prompt", None)
    reasoning, seed = rest.pop("reasoning", None), rest.pop("seed", None)
    stream = rest.pop("stream_reasoning", False)
    if rest:
        raise ProtocolError(
            f"observation has unknown entries: {_names(rest)}; expected images, state, prompt, reasoning, seed, "
            "stream_reasoning"
        )
    if not isinstance(stream, bool):
        raise ProtocolError(f"stream_reasoning is {stream!r}, expected true or false")
    if state is None:
        raise ProtocolError(f"observation has no state; found: {_names(message)}")
    if prompt is None:
        prompt = default_prompt
    if prompt is None:
        raise ProtocolError("observation has no prompt, and the server was started without a default prompt")
    if isinstance(prompt, np.str_ | np.ndarray) and np.ndim(prompt) == 0:
        prompt = prompt.item()
    observation = PolicyInput(images=images, state=state, instruction=prompt, reasoning=reasoning)
    return Request(
        observation=check_input(observation, metadata),
        seed=None if seed is None else check_seed(seed),
        stream_reasoning=stream,
    )


def _images(rest: dict[Any, Any]) -> dict[str, NDArray[np.uint8]]:
    """Takes the images out of `rest`."""
    nested = rest.pop("images", {})
    if not isinstance(nested, dict):
        raise ProtocolError(f"images is a {type(nested).__name__}, expected a map from camera to image")
    found = dict(nested)
    for key in [key for key in rest if isinstance(key, str) and key.startswith("images/")]:
        name = key.removeprefix("images/")
        if name in found:
            raise ProtocolError(f"camera {name} was sent twice")
        found[name] = rest.pop(key)
    return {name: rows_first(image, str(name)) for name, image in found.items()}


def rows_first(image: Any, name: str) -> Any:
    """(3, H, W) -> (H, W, 3); everything else as it is, for `check_input` to judge. (3, W, 3) is ambiguous: refused."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[0] != 3:
        return image
    if image.shape[2] == 3:
        raise ProtocolError(f"image of {name} is {image.shape}: three rows or three channels first? Send more rows")
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _names(message: Mapping[Any, Any]) -> str:
    return ", ".join(sorted(str(key) for key in message)) or "nothing"

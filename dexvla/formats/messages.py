"""What messages of recorders say: numbers and images, whether they come from ROS, protobuf or JSON."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dexvla.episodes import bounds
from dexvla.episodes.jpeg import MAX_PIXELS, jpeg_size

_DEPTH = ("16uc1", "mono16", "32fc1", "compresseddepth")
_CHANNELS = {"rgb8": 3, "bgr8": 3, "8uc3": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8uc1": 1}
_RATES = ("velocity", "effort", "acceleration")
_NOT_MOTION = ("header", "timestamp", "stamp", "layout", "name", "names")


def is_image(kind: str) -> bool:
    """Whether a message type holds images, by its name."""
    name = kind.replace(".", "/").rpartition("/")[2]
    return name in ("CompressedImage", "Image", "RawImage")


def stamp_of(message: Any) -> int | None:
    """When it was taken, ns since 1970, where its header says so."""
    stamp = getattr(getattr(message, "header", message), "stamp", None)
    stamp = getattr(message, "timestamp", None) if stamp is None else stamp
    for seconds, rest in (("sec", "nanosec"), ("sec", "nsec"), ("seconds", "nanos"), ("secs", "nsecs")):
        whole, parts = getattr(stamp, seconds, None), getattr(stamp, rest, None)
        if isinstance(whole, int) and isinstance(parts, int):
            return whole * 10**9 + parts or None
    return None


# --- numbers ----------------------------------------------------------------------------------------------


def numbers_of(message: Any, field: str) -> tuple[tuple[str, ...], list[float]]:
    """(names or nothing, values) of a field, dots between parts; "" takes what the type is for: positions of joints,
    the data of an array, all numbers of other messages but times. Raises ValueError where there are none."""
    names: tuple[str, ...] = ()
    if field:
        value = message
        for part in field.split("."):
            if not hasattr(value, part):
                raise ValueError(f"no field {part!r}; it has {', '.join(_fields(value))}")
            value = getattr(value, part)
        return names, list(_flat(value))
    if hasattr(message, "joints"):  # foxglove.JointStates
        return tuple(str(joint.name) for joint in message.joints), [float(joint.position) for joint in message.joints]
    if hasattr(message, "points"):  # trajectory_msgs/JointTrajectory
        if not len(message.points):
            raise ValueError("a trajectory without points")
        return _texts(getattr(message, "joint_names", ())), list(_flat(message.points[0].positions))
    if hasattr(message, "position") and hasattr(message, "name"):  # sensor_msgs/JointState
        return _texts(message.name), list(_flat(message.position))
    return names, list(_flat(message.data if hasattr(message, "data") else message))


def velocities_of(message: Any) -> list[float]:
    """Of a message with positions of joints; empty where it says none."""
    if hasattr(message, "joints"):
        joints = message.joints
        given = [joint.velocity for joint in joints if _has_velocity(joint)]
        return [float(value) for value in given] if len(given) == len(joints) else []
    return list(_flat(getattr(message, "velocity", ())))


def _has_velocity(joint: Any) -> bool:
    return bool(joint.HasField("velocity")) if hasattr(joint, "HasField") else hasattr(joint, "velocity")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(text) for text in value)


def _fields(value: Any) -> list[str]:
    if hasattr(value, "DESCRIPTOR"):
        return [field.name for field in value.DESCRIPTOR.fields]
    known = getattr(value, "__dataclass_fields__", None) or getattr(value, "__dict__", {})
    return [name for name in known if not name.startswith("__")]


def _flat(value: Any, depth: int = 0) -> Iterator[float]:
    """All numbers in it, in their order. Raises ValueError for more than an episode's step can hold."""
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        yield float(value)
    elif isinstance(value, np.ndarray):
        if value.size > bounds.MAX_DIMENSIONS:
            raise ValueError(f"{value.size} values, at most {bounds.MAX_DIMENSIONS} are a step's")
        yield from np.asarray(value, np.float64).ravel().tolist()
    elif isinstance(value, (str, bytes)) or value is None or depth > 8:
        return
    elif hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        if len(value) > bounds.MAX_DIMENSIONS:
            raise ValueError(f"{len(value)} values, at most {bounds.MAX_DIMENSIONS} are a step's")
        for part in value:
            yield from _flat(part, depth + 1)
    else:
        for name in _fields(value):
            if name not in _NOT_MOTION and not (depth == 0 and name in _RATES):
                yield from _flat(getattr(value, name), depth + 1)


# --- images -----------------------------------------------------------------------------------------------


def image_of(message: Any) -> bytes | NDArray[np.uint8]:
    """The JPEG as it is, or (H, W, 3) uint8 RGB of other kinds. Raises ValueError for what is none, or too large."""
    if hasattr(message, "encoding"):
        return _raw(message)
    data = message.data
    content = _bytes(data)
    if content[:2] == b"\xff\xd8":
        jpeg_size(content)
        end = content.rfind(b"\xff\xd9")  # some drivers put a byte behind it
        return content[: end + 2] if end > 0 else content
    return decode_other(content)


def _bytes(data: Any) -> bytes:
    if isinstance(data, int):  # bytes() would make as many zeros of it
        raise ValueError("a number, expected the bytes of an image")
    return base64.b64decode(data) if isinstance(data, str) else bytes(data)


def decode_other(content: bytes) -> NDArray[np.uint8]:
    """PNG, WebP or BMP -> (H, W, 3) uint8 RGB. Raises ValueError for what is none of them, or too large."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "WEBP", "BMP")) as image:
            if image.height * image.width > MAX_PIXELS:
                raise ValueError(
                    f"an image that declares {image.height} x {image.width} pixels, at most {MAX_PIXELS} are decoded"
                )
            if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "1"):
                raise ValueError(f"an image of mode {image.mode}, expected colours of 8 bits")
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"no JPEG, PNG, WebP or BMP, it begins with {content[:8].hex(' ') or 'nothing'}") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"neither JPEG, PNG, WebP nor BMP, or a damaged one ({error})") from error


def is_depth(message: Any) -> bool:
    """Whether an image message holds distances."""
    kind = str(getattr(message, "encoding", "") or getattr(message, "format", "")).lower()
    return any(word in kind for word in _DEPTH)


def _raw(message: Any) -> NDArray[np.uint8]:
    encoding = str(message.encoding).lower()
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise ValueError(f"raw images of encoding {message.encoding!r}, expected one of {', '.join(_CHANNELS)}")
    height, width, step = int(message.height), int(message.width), int(message.step)
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"an image that declares {height} x {width} pixels, at most {MAX_PIXELS} are decoded")
    data = message.data
    content = _bytes(data)
    if step < width * channels or len(content) < step * height:
        raise ValueError(
            f"{len(content)} bytes in rows of {step}, expected {height} rows of at least {width * channels}"
        )
    rows = np.frombuffer(content, np.uint8, step * height).reshape(height, step)[:, : width * channels]
    image = rows.reshape(height, width, channels)
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    if encoding.startswith(("bgr", "8uc3")):
        return np.ascontiguousarray(image[..., 2::-1])
    return np.ascontiguousarray(image[..., :3])

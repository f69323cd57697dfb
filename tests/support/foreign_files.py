"""Episode files as other people's tools write them: one good file, and what each of them does otherwise."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dexvla.episodes.jpeg import encode_jpeg

STEPS, DIMENSIONS, SIZE = 12, 7, (48, 64)
CAMERA = "observations/images/cam_high"
Edit = Callable[[h5py.File], Any]


def scene(step: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """(48, 64, 3) RGB, red on the left and blue on the right, another one at each step."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, :32, 0], image[:, 32:, 2] = 220, 200
    image[8 : 16 + step, 8:24] = np.random.default_rng(seed).integers(0, 256, 3, np.uint8)
    image[40:, :, 1] = step * 20
    return image


def frames() -> NDArray[np.uint8]:
    """(12, 48, 64, 3) RGB."""
    return np.stack([scene(step) for step in range(STEPS)])


def foreign_file(path: Path, *edits: Edit) -> Path:
    """A file of 12 steps in ACT's layout, raw pixels, with an instruction, changed by the edits."""
    rng = np.random.default_rng(7)
    qpos = np.cumsum(rng.normal(0, 0.05, (STEPS, DIMENSIONS)), axis=0).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["action"] = qpos + np.float32(0.01)
        file["observations/qpos"] = qpos
        file["observations/qvel"] = np.gradient(qpos, axis=0).astype(np.float32) * 50
        file[CAMERA] = frames()
        file["language_raw"] = ["pick up the cube"]
        file.attrs["sim"], file.attrs["compress"] = True, False
        for edit in edits:
            edit(file)
    return path


def put(name: str, value: Any) -> Edit:
    """Another value for an entry, or a new one."""

    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return edit


def drop(*names: str) -> Edit:
    def edit(file: h5py.File) -> None:
        for name in names:
            del file[name]

    return edit


def attribute(name: str, value: Any) -> Edit:
    return lambda file: file.attrs.__setitem__(name, value)


def png(image: NDArray[np.uint8], *, swapped: bool = False) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1] if swapped else image)).save(content, "PNG")
    return content.getvalue()


def opencv_jpeg(image: NDArray[np.uint8]) -> bytes:
    """As OpenCV encodes an RGB array, which it takes for BGR."""
    return encode_jpeg(np.ascontiguousarray(image[..., ::-1]), quality=95)


def put_rows(group: h5py.Group, name: str, rows: Sequence[bytes]) -> None:
    """uint8 (T, P), padded with zeros."""
    width = max(map(len, rows))
    group[name] = np.stack([np.frombuffer(row.ljust(width, b"\0"), np.uint8) for row in rows])


def rows_of(encode: Callable[[NDArray[np.uint8]], bytes], camera: str = "cam_high") -> Edit:
    """The camera as padded rows of bytes."""

    def edit(file: h5py.File) -> None:
        images = file["observations/images"]
        if camera in images:
            del images[camera]
        put_rows(images, camera, [encode(frame) for frame in frames()])

    return edit


def byte_strings(encode: Callable[[NDArray[np.uint8]], bytes]) -> Edit:
    """The camera as byte strings of one length."""
    return lambda file: put(CAMERA, np.array([encode(frame) for frame in frames()], "S"))(file)


def byte_arrays(encode: Callable[[NDArray[np.uint8]], bytes]) -> Edit:
    """The camera as arrays of variable length."""

    def edit(file: h5py.File) -> None:
        del file[CAMERA]
        rows = file.create_dataset(CAMERA, (STEPS,), h5py.vlen_dtype(np.uint8))
        for step, frame in enumerate(frames()):
            rows[step] = np.frombuffer(encode(frame), np.uint8)

    return edit


def opaque(encode: Callable[[NDArray[np.uint8]], bytes]) -> Edit:
    """The camera as opaque values of one length."""

    def edit(file: h5py.File) -> None:
        rows = [encode(frame) for frame in frames()]
        width = max(map(len, rows))
        put(CAMERA, np.array([np.void(row.ljust(width, b"\0")) for row in rows]))(file)

    return edit

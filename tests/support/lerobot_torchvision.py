"""A stand-in for the few names of torchvision that lerobot's dataset reader uses: there is no build of torchvision for
processors alone. Videos are decoded by PyAV."""

from pathlib import Path

_FILES = {
    "torchvision/__init__.py": """
from . import io, transforms

__version__ = "0"


def set_video_backend(name):
    pass
""",
    "torchvision/io.py": '''
import av
import torch


class VideoReader:
    """Frames in order from a time on, as torchvision's own."""

    def __init__(self, path, stream="video"):
        self.container = av.open(str(path))
        self._stream = self.container.streams.video[0]
        self._frames = self.container.decode(self._stream)

    def seek(self, seconds, keyframes_only=False):
        self.container.seek(int(seconds / self._stream.time_base), stream=self._stream)
        self._frames = self.container.decode(self._stream)

    def __iter__(self):
        return self

    def __next__(self):
        frame = next(self._frames)
        pixels = torch.from_numpy(frame.to_ndarray(format="rgb24").transpose(2, 0, 1).copy())
        return {"data": pixels, "pts": float(frame.pts * self._stream.time_base)}
''',
    "torchvision/transforms/__init__.py": """
import numpy
import torch

from . import v2


class ToTensor:
    def __call__(self, image):
        array = numpy.array(image)
        array = array[:, :, None] if array.ndim == 2 else array
        tensor = torch.from_numpy(array.transpose(2, 0, 1).copy())
        return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor
""",
    "torchvision/transforms/v2/__init__.py": """
class Transform:
    pass


def __getattr__(name):
    return type(name, (), {})
""",
    "torchvision/transforms/v2/functional/__init__.py": """
def __getattr__(name):
    return lambda image, *arguments, **named: image
""",
}


def write_stand_in(folder: Path) -> Path:
    """The package below `folder`, which goes onto PYTHONPATH."""
    for name, text in _FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip(), encoding="utf-8")
    return folder

"""What people are told of the formats that the library writes. Their modules are not loaded for it: some bring large
libraries along."""

from dataclasses import dataclass

from backend.exports.schemas import FormatOut, Purpose
from dexvla.formats.registry import exporters


@dataclass(frozen=True, kw_only=True)
class _Words:
    """readers: who reads it, in a sentence or two."""

    title: str
    readers: str
    purpose: Purpose = Purpose.TRAIN


# in the order in which they are offered
_WORDS = {
    "lerobot": _Words(
        title="LeRobot v3.0, videos",
        readers="LeRobot and its policies train on it. Small; videos lose a little of each image.",
    ),
    "lerobot-images": _Words(
        title="LeRobot v3.0, images", readers="The same with every image as it is. Several times larger."
    ),
    "lerobot-language": _Words(
        title="LeRobot v3.0, language columns",
        readers="LeRobot from 0.5 on reads the substeps from its language columns. Videos as above.",
    ),
    "episodes": _Words(
        title="Studio HDF5 with labels",
        readers="This studio, another one and the command dexvla read it. Exact, one file an episode.",
    ),
    "dexvla": _Words(
        title="DexVLA HDF5", readers="The original DexVLA training code and ACT's loaders read it. Raw pixels: large."
    ),
    "dexvla-jpeg": _Words(
        title="DexVLA HDF5, JPEG", readers="The same with JPEG images in the colour order that OpenCV expects. Small."
    ),
    "robomimic": _Words(title="robomimic HDF5", readers="robomimic and LIBERO's tools read it. All in one file."),
    "rlds": _Words(
        title="RLDS",
        readers="TensorFlow Datasets and training codes for Open X-Embodiment read it. Every image as it is.",
    ),
    "mp4": _Words(
        title="Videos",
        readers="Any player shows them, one a camera, with the substeps as subtitles and chapters.",
        purpose=Purpose.LOOK,
    ),
    "sheets": _Words(
        title="Contact sheets", readers="One image an episode, to look through many.", purpose=Purpose.LOOK
    ),
    "rerun": _Words(
        title="Rerun recordings",
        readers="The Rerun viewer shows cameras, joints and substeps on one timeline.",
        purpose=Purpose.LOOK,
    ),
    "mcap": _Words(title="MCAP", readers="Foxglove shows it, and tools for ROS read it.", purpose=Purpose.LOOK),
    "csv": _Words(title="Tables", readers="Spreadsheets and pandas read them. No images.", purpose=Purpose.LOOK),
}


def formats() -> list[FormatOut]:
    """Those that the library has; one that nothing is said of here comes last, under its own name."""
    there = exporters()
    listed = [*(name for name in _WORDS if name in there), *(name for name in there if name not in _WORDS)]
    return [_format(name) for name in listed]


def _format(name: str) -> FormatOut:
    words = _WORDS.get(name, _Words(title=name, readers=""))
    return FormatOut(name=name, title=words.title, readers=words.readers, purpose=words.purpose)

"""Which formats there are. Their modules are imported when they are used: some bring large libraries along."""

from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from dexvla.formats.base import ODD, Exporter, FormatError, Importer

# by name, in the order in which a source is looked at: the most telling first
_IMPORTERS: dict[str, str] = {
    "lerobot": "dexvla.formats.lerobot.reading:LEROBOT",
    "rlds": "dexvla.formats.rlds.reading:RLDS",
    "hdf5": "dexvla.formats.mixed:MIXED",
    "robomimic": "dexvla.formats.robomimic:ROBOMIMIC",
    "robotwin": "dexvla.formats.robotwin:ROBOTWIN",
    "droid": "dexvla.formats.droid:DROID",
    "act": "dexvla.formats.act:ACT",
    "mp4-csv": "dexvla.formats.folders:MP4_CSV",
    "images-csv": "dexvla.formats.folders:IMAGES_CSV",
    "mcap": "dexvla.formats.recordings:MCAP_IN",
    "rosbag": "dexvla.formats.recordings:ROSBAG",
}
_EXPORTERS: dict[str, str] = {
    "episodes": "dexvla.formats.episode_files:EPISODES",
    "dexvla": "dexvla.formats.upstream:PIXELS",
    "dexvla-jpeg": "dexvla.formats.upstream:JPEG",
    "robomimic": "dexvla.formats.robomimic_out:ROBOMIMIC",
    "lerobot": "dexvla.formats.lerobot.writing:LEROBOT",
    "lerobot-images": "dexvla.formats.lerobot.writing:LEROBOT_IMAGES",
    "lerobot-language": "dexvla.formats.lerobot.writing:LEROBOT_LANGUAGE",
    "rlds": "dexvla.formats.rlds.writing:RLDS",
    "mp4": "dexvla.formats.mp4:MP4",
    "csv": "dexvla.formats.csv_files:CSV",
    "sheets": "dexvla.formats.sheets:SHEETS",
    "mcap": "dexvla.formats.mcap:MCAP",
    "rerun": "dexvla.formats.rerun:RERUN",
}


def importers() -> tuple[str, ...]:
    return tuple(_IMPORTERS)


def exporters() -> tuple[str, ...]:
    return tuple(_EXPORTERS)


@cache
def importer(name: str) -> Importer:
    """Raises FormatError for a name that is none."""
    found: Importer = _load(name, _IMPORTERS, "read")
    return found


@cache
def exporter(name: str) -> Exporter:
    """Raises FormatError for a name that is none."""
    found: Exporter = _load(name, _EXPORTERS, "written")
    return found


def recognise(source: Path) -> Importer:
    """The importer of the first format that `source` looks like. Raises FormatError if it looks like none."""
    if not source.exists():
        raise FormatError(f"{source}: no such file or folder")
    for name in _IMPORTERS:
        with suppress(*ODD, OSError):
            if importer(name).recognises(source):
                return importer(name)
    raise FormatError(
        f"{source}: looks like none of {', '.join(_IMPORTERS)}; name its format if it is one, or convert it first"
    )


def _load(name: str, table: dict[str, str], done: str):  # type: ignore[no-untyped-def]
    if name not in table:
        raise FormatError(f"no format {name!r} can be {done}; expected one of {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)

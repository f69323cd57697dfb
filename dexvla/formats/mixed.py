"""In: a folder of HDF5 files in several layouts, each read by the importer of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dexvla.formats.act import ACT
from dexvla.formats.base import FormatError, Importer, SourceEpisode
from dexvla.formats.droid import DROID
from dexvla.formats.hdf5_files import episode_files
from dexvla.formats.robomimic import ROBOMIMIC
from dexvla.formats.robotwin import ROBOTWIN
from dexvla.spec import ImportProfile

_KINDS: tuple[Importer, ...] = (ROBOMIMIC, ROBOTWIN, DROID, ACT)  # the most telling first
_LOOKED_AT = 20  # files of a folder, spread over it, to tell whether there are several kinds


class MixedImporter:
    name = "hdf5"
    title = "HDF5 of several layouts"

    def recognises(self, source: Path) -> bool:
        files = [] if source.is_file() else episode_files(source)
        kinds = map(_kind, files[:: -(-len(files) // _LOOKED_AT) or 1])
        return len({kind.name for kind in kinds if kind is not None}) > 1

    def episodes(self, source: Path) -> Sequence[str]:
        if source.is_file():
            raise FormatError(f"{source}: one file, expected a folder of several layouts; leave its format open")
        found = []
        for file in episode_files(source):
            name = file.relative_to(source).as_posix()
            many = _kind(file) is ROBOMIMIC
            found += [f"{name}/{demo}" for demo in ROBOMIMIC.episodes(file)] if many else [name]
        return found

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        path = source / name
        kind = _kind(path if path.is_file() else path.parent) or ACT  # which says what it misses
        with kind.open(source, name, profile) as episode:
            yield episode


def _kind(file: Path) -> Importer | None:
    return next((kind for kind in _KINDS if kind.recognises(file)), None)


MIXED = MixedImporter()

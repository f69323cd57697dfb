"""In: MCAP, ROS 1 and ROS 2 bags. Joints and images of topics with clocks of their own become steps of one clock.

Which topics are state and action is guessed by their names and told, or said by the profile: names of topics, separated
by commas and put one behind the other; `/topic.field` takes one field of its messages.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dexvla.episodes.finding import natural_key
from dexvla.formats.bags import LIST, Bag, open_bag
from dexvla.formats.base import FormatError, SourceEpisode
from dexvla.formats.own_mcap import METADATA, own_episode
from dexvla.formats.sources import inside
from dexvla.formats.topics import episode_of
from dexvla.spec import ImportProfile


class RecordingImporter:
    """One recording is one episode. `endings`: of its files; a folder with metadata.yaml is one recording."""

    def __init__(self, name: str, title: str, endings: tuple[str, ...]) -> None:
        self.name, self.title, self._endings = name, title, endings

    def recognises(self, source: Path) -> bool:
        try:
            return bool(self._found(source))
        except (FormatError, OSError):
            return False

    def episodes(self, source: Path) -> Sequence[str]:
        found = self._found(source)
        if not found:
            raise FormatError(f"{source}: no files with ending {' or '.join(self._endings)} in it; expected recordings")
        return list(found)

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        found = self._found(source)
        if name not in found:
            raise FormatError(f"{source}: no recording {name!r}; it has {', '.join(list(found)[:8])}")
        with open_bag(found[name], self._files(source, found[name])) as bag:
            yield self._episode(bag, name, profile)

    def _episode(self, bag: Bag, name: str, profile: ImportProfile) -> SourceEpisode:
        if METADATA in bag.metadata and profile.state_entry is None and profile.action_entry is None:
            own = own_episode(bag, name)
            if own is not None:
                return own
        return episode_of(bag, name, profile)

    def _found(self, source: Path) -> dict[str, Path]:
        """Recordings by name: files, and folders with a list of files."""
        if source.is_file():
            return {source.name: source} if source.suffix.lower() in self._endings else {}
        if (source / LIST).is_file():
            return {source.name: source} if self._files(source, source) else {}
        places: list[Path] = []
        for path in source.rglob("*"):
            if path.suffix.lower() in self._endings and not path.name.startswith("."):
                places.append(path)
        listed = {path.parent for path in places if (path.parent / LIST).is_file()}
        recordings = [*listed, *(path for path in places if path.parent not in listed)]
        return {path.relative_to(source).as_posix(): path for path in sorted(recordings, key=natural_key)}

    def _files(self, source: Path, place: Path) -> list[Path]:
        root = source if source.is_dir() else source.parent
        paths = [place]
        if place.is_dir():
            paths = sorted((path for path in place.iterdir() if path.suffix.lower() in self._endings), key=natural_key)
        for path in paths:
            inside(root, path, named_by=str(source))
        return paths


MCAP_IN = RecordingImporter("mcap", "MCAP recordings (Foxglove, ROS 2)", (".mcap",))
ROSBAG = RecordingImporter("rosbag", "ROS bags (ROS 1 .bag, ROS 2 .db3)", (".bag", ".db3"))

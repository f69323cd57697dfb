"""In: RLDS episodes of TensorFlow Datasets, those of Open X-Embodiment among them.

One episode, which is one record, is in memory at a time; of its images one is decoded.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dexvla.formats.base import FormatError, SourceEpisode
from dexvla.formats.rlds.episode import RldsEpisode
from dexvla.formats.rlds.layout import FEATURES, Dataset, dataset_folder, has_records, read_dataset
from dexvla.formats.rlds.records import read_record
from dexvla.formats.rlds.wire import features_of
from dexvla.spec import ImportProfile


class RldsImporter:
    name = "rlds"
    title = "RLDS (TensorFlow Datasets, Open X-Embodiment)"

    def __init__(self) -> None:
        self._last: tuple[tuple[Path, tuple[int, ...]], Dataset] | None = None

    def recognises(self, source: Path) -> bool:
        try:
            return has_records(dataset_folder(source))
        except (FormatError, OSError):
            return False

    def episodes(self, source: Path) -> Sequence[str]:
        found = list(self._dataset(source).places)
        if not found:
            raise FormatError(f"{source}: its tfrecord files hold no record; copy them again")
        return found

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        dataset = self._dataset(source)
        place = dataset.places.get(name)
        if place is None:
            raise FormatError(f"{source}: no episode {name!r}; it has {', '.join(list(dataset.places)[:8])}")
        if place.broken:
            raise FormatError(f"{place.path}: {place.broken}")
        record = read_record(place.path, place.offset)
        try:
            features = features_of(record)
        except ValueError as error:
            raise FormatError(
                f"{place.path}: the record at byte {place.offset} is no tf.train.Example ({error}); copy it again"
            ) from error
        yield RldsEpisode(dataset, f"{place.path}, {name}", name, features, profile).read()

    def _dataset(self, source: Path) -> Dataset:
        """Looked through once for all its episodes."""
        root = dataset_folder(source)
        # of the folder, since a dataset may have thousands of shards; what changes within one, its CRC tells
        key = source.resolve(), tuple(one.stat().st_mtime_ns for one in (root, root / FEATURES))
        if self._last is None or self._last[0] != key:
            self._last = key, read_dataset(source)
        return self._last[1]


RLDS = RldsImporter()

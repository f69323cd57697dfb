"""Rows of a LeRobot dataset: its Parquet files, of which each holds many episodes.

A file's footer names every column of every row group and takes longer to read than an episode: it is read once for
all.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.formats.base import FormatError
from dexvla.formats.sources import package

_EPISODE = "episode_index"
_AT_ONCE = 64  # rows of images


@dataclass(frozen=True, eq=False)
class _Footer:
    """metadata: pyarrow's. names: of the columns. first, last: episodes of each row group, (G,), as far as it says."""

    metadata: Any
    names: tuple[str, ...]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def groups(self, episode: int) -> list[int]:
        """Those that may hold rows of the episode."""
        return [int(group) for group in np.flatnonzero((self.first <= episode) & (episode <= self.last))]


def columns_of(file: Path) -> tuple[str, ...]:
    """Raises FormatError for what is no Parquet, or has no episodes in it."""
    names = _footer(file).names
    if _EPISODE not in names:
        raise FormatError(f"{file}: no column episode_index; it has {', '.join(sorted(names)[:12])}")
    return names


def rows_of(file: Path, episode: int, columns: Sequence[str]) -> Any:
    """A pyarrow table of the episode's rows."""
    compute = package("pyarrow.compute")
    with _opened(file) as (opened, footer):
        table = opened.read_row_groups(footer.groups(episode), columns=[*dict.fromkeys([*columns, _EPISODE])])
    return table.filter(compute.equal(table.column(_EPISODE), episode))


def images_of(file: Path, episode: int, key: str) -> Iterator[bytes]:
    """Encoded images of an episode, some rows at a time."""
    with _opened(file) as (opened, footer):
        if key not in footer.names:
            raise FormatError(f"{file}: no column {key}, which meta/info.json declares; copy the dataset again")
        groups = footer.groups(episode)
        for batch in opened.iter_batches(batch_size=_AT_ONCE, columns=[key, _EPISODE], row_groups=groups):
            numbers, rows = batch.column(_EPISODE).to_pylist(), batch.column(key)
            for row, number in enumerate(numbers):
                if number != episode:
                    continue
                value = rows[row].as_py()
                data = value.get("bytes") if isinstance(value, dict) else value
                if not isinstance(data, bytes):
                    raise FormatError(f"{file}: {key} of episode {episode} holds a path or nothing, expected images")
                yield data


def first_of(file: Path, episode: int, column: str) -> Any:
    """The value of a column in the first row of the episode; None where it has none."""
    with _opened(file) as (opened, footer):
        groups = footer.groups(episode)
        for batch in opened.iter_batches(batch_size=_AT_ONCE, columns=[column, _EPISODE], row_groups=groups):
            numbers = batch.column(_EPISODE).to_pylist()
            if episode in numbers:
                return batch.column(column)[numbers.index(episode)].as_py()
    return None


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, _Footer]]:
    """An open file and its footer. Raises FormatError for what cannot be read, inside of the block as well."""
    footer = _footer(file)
    with _told(file), package("pyarrow.parquet").ParquetFile(file, metadata=footer.metadata) as opened:
        yield opened, footer


@contextmanager
def _told(file: Path) -> Iterator[None]:
    arrow = package("pyarrow")
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{file}: cannot be read as Parquet ({text[:200]}); copy the dataset again") from error


def _footer(file: Path) -> _Footer:
    with _told(file):
        state = file.stat()
        return _read_footer(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read_footer(file: Path, _changed: int, _size: int) -> _Footer:
    metadata = package("pyarrow.parquet").read_metadata(file)
    names = tuple(metadata.schema.to_arrow_schema().names)
    count = metadata.num_row_groups
    first = np.full(count, np.iinfo(np.int64).min)
    last = np.full(count, np.iinfo(np.int64).max)
    places = [at for at in range(metadata.num_columns) if metadata.schema.column(at).path == _EPISODE]
    for group in range(count if places else 0):
        figures = metadata.row_group(group).column(places[0]).statistics
        if figures is not None and figures.has_min_max and isinstance(figures.min, int):
            first[group], last[group] = figures.min, figures.max
    return _Footer(metadata, names, first, last)

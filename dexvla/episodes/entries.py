"""Entries and attributes of an HDF5 file from outside, read within bounds; what is wrong with one is one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.format import IMAGES
from dexvla.episodes.jpeg import MAX_PIXELS
from dexvla.errors import EpisodeError

# Filters that h5py itself brings. Others would load a plug-in from outside: what they packed is not read.
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SZIP,
    h5py.h5z.FILTER_NBIT,
    h5py.h5z.FILTER_SCALEOFFSET,
    h5py.h5z.FILTER_LZF,
}
# What h5py raises for data that it cannot read or has no NumPy type for.
H5PY_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError)
_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}

T = TypeVar("T")


class UnfitError(EpisodeError):
    """An entry or attribute that does no harm and is not what an episode has there. Optional ones are left out."""


class Entries:
    """The open file. Names are paths within it; soft links count as not there. below: the group whose entries are
    asked for, where a file holds many episodes.

    warnings: what was left out or mended, in full sentences; grows as entries are read.
    """

    def __init__(self, path: Path, file: h5py.File, below: str = "") -> None:
        self.path = path
        self.file = file
        self._datasets: dict[str, h5py.Dataset] = {}  # as the walk opened them: opening one anew costs as much
        self.soft_links = bounds.walk(path, file, self._datasets.__setitem__, below=below)
        self.warnings: list[str] = []
        self._attributes = file.attrs

    def unfit(self, message: str) -> UnfitError:
        return UnfitError(f"{self.path}: {message}")

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)

    def optional(self, read: Callable[[], T | None]) -> T | None:
        """What `read` returns; None, and a warning, where that is nothing that an episode has there."""
        try:
            return read()
        except UnfitError as error:
            self.warn(f"{str(error).removeprefix(f'{self.path}: ')}; left out")
            return None

    def has(self, name: str) -> bool:
        return name in self._datasets or (not self._linked(name) and name in self.file)

    def _linked(self, name: str) -> bool:
        """Whether a soft link stands on the way to it."""
        parts = name.split("/") if self.soft_links else ()
        return any("/".join(parts[: count + 1]) in self.soft_links for count in range(len(parts)))

    def refuse_link(self, name: str) -> None:
        """Raise EpisodeError if `name`, which every episode has, is a soft link."""
        if name in self.soft_links:
            raise EpisodeError(f"{self.path}: {name} is a SoftLink; links are refused, store the data")

    def item(self, name: str) -> Any:
        """What h5py gives for a name. Raises KeyError."""
        found = self._datasets.get(name)
        return self.file[name] if found is None else found

    # --- datasets -----------------------------------------------------------------------------------------

    def dataset(self, name: str) -> h5py.Dataset:
        """A dataset that may be read. Raises UnfitError for what is none, EpisodeError for what nobody may read."""
        try:
            item = None if self._linked(name) else self.item(name)
        except KeyError:
            item = None
        if item is None:
            raise self.unfit(f"no dataset {name!r}; {self.beside(name)}")
        return self.readable(name, item)

    def readable(self, name: str, item: Any) -> h5py.Dataset:
        """What `name` is, if it may be read. Raises as `dataset`."""
        if not isinstance(item, h5py.Dataset):
            raise self.unfit(f"{name} is a {type(item).__name__.lower()}, expected a dataset")
        try:
            readable = item.shape is not None and item.dtype is not None
        except TypeError as error:
            raise self.unfit(f"{name} has a type that cannot be read ({error})") from error
        if not readable:
            raise self.unfit(f"{name} is an empty dataset, without even a shape")
        if item.external or item.is_virtual:
            raise EpisodeError(
                f"{self.path}: {name} lies in another file (external or virtual storage); refused, store the data"
            )
        if packed := _unknown_filter(item):
            raise self.unfit(
                f"{name} is packed with {packed}, which HDF5 cannot unpack by itself; pack it anew (h5repack -f GZIP=4)"
            )
        bounds.check_chunks(self.path, name, item)
        once, most = float(np.prod(item.shape, dtype=np.float64)) * item.dtype.itemsize, 8 * bounds.MAX_VALUES
        if name.startswith(IMAGES) and item.ndim:
            once, most = once / max(item.shape[0], 1), 3 * MAX_PIXELS if item.ndim > 2 else bounds.MAX_ROW
        elif h5py.check_string_dtype(item.dtype) is not None:
            most = bounds.MAX_TEXT
        if once > most:
            raise EpisodeError(
                f"{self.path}: {name} declares {item.dtype} {item.shape}, more than {most // 2**20} MiB at once; "
                "refused"
            )
        return item

    def read(self, dataset: h5py.Dataset, name: str) -> Any:
        try:
            return dataset[()]
        except H5PY_ERRORS as error:
            raise self.unfit(f"{name} cannot be read: {first_line(error)}") from error

    def matrix(self, name: str) -> NDArray[np.float32]:
        """(steps, dimensions) float32."""
        dataset = self.dataset(name)
        if dataset.ndim == 2 and dataset.shape[0] == 0:
            raise self.unfit(f"{name} has 0 steps")
        if dataset.ndim != 2 or dataset.shape[1] < 1 or dataset.dtype.kind not in "fiub":
            raise self.unfit(
                f"{name} is {dataset.dtype} {dataset.shape}, expected numbers of shape (steps, dimensions)"
            )
        steps, dimensions = dataset.shape
        if steps > bounds.MAX_STEPS or dimensions > bounds.MAX_DIMENSIONS or dataset.size > bounds.MAX_VALUES:
            raise EpisodeError(
                f"{self.path}: {name} has {steps} steps of {dimensions} dimensions; at most {bounds.MAX_STEPS} steps, "
                f"{bounds.MAX_DIMENSIONS} dimensions and {bounds.MAX_VALUES} values are read"
            )
        values = self.read(dataset, name)
        with np.errstate(over="ignore"):
            array = np.asarray(values, np.float32)
        if (np.isinf(array) & np.isfinite(values)).any():
            raise self.unfit(f"{name} holds values that do not fit float32")
        return array

    def column(self, name: str, steps: int) -> NDArray[Any]:
        """(T,) numbers as stored; one row of one number a step is the same."""
        dataset = self.dataset(name)
        if dataset.dtype.kind not in "fiu":
            raise self.unfit(f"{name} is {dataset.dtype} {dataset.shape}, expected numbers, in seconds")
        if dataset.shape not in ((steps,), (steps, 1), (1, steps)):
            raise self.unfit(f"{name} has shape {dataset.shape}, expected ({steps},)")
        return np.asarray(self.read(dataset, name)).reshape(steps)

    def strings(self, name: str) -> list[str]:
        """All texts of a dataset. One that is cut within its last character loses that, with a warning."""
        dataset = self.dataset(name)
        if h5py.check_string_dtype(dataset.dtype) is None:
            raise self.unfit(f"{name} is {dataset.dtype} {dataset.shape}, expected text")
        try:
            return [self._ended(name, self._text(name, value)) for value in bounds.read_texts(dataset)]
        except UnicodeDecodeError as error:
            raise self.unfit(f"{name} is not valid UTF-8: {error.reason}") from error
        except H5PY_ERRORS as error:
            raise self.unfit(f"{name} cannot be read: {first_line(error)}") from error

    def _text(self, name: str, value: Any) -> str:
        if not isinstance(value, bytes):
            return as_text(value)
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                raise
            whole = value[: error.start].decode("utf-8")
            self.warn(f"{name} ends in the middle of a character; the whole ones are kept: {whole[-40:]!r}")
            return whole

    def _ended(self, name: str, text: str) -> str:
        """The text before its first zero byte, where it ends for C: HDF5 could not store it again otherwise."""
        ended, zero, behind = text.partition("\0")
        if zero and behind.strip("\0"):
            self.warn(f"{name} holds a zero byte within its text; what stands before it is kept: {ended[-40:]!r}")
        return ended

    def beside(self, name: str) -> str:
        """What there is in place of the missing `name`: in its group, or in the nearest one above that exists."""
        parent = name.rpartition("/")[0]
        while parent and not self.has(parent):
            parent = parent.rpartition("/")[0]
        group = self.file[parent] if parent else self.file
        if not isinstance(group, h5py.Group):
            return f"{parent} is a {type(group).__name__.lower()}, expected a group"
        names = sorted(group)
        found = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        return f"{parent} holds {found or 'nothing'}" if parent else f"found {found or 'an empty file'}"

    # --- attributes: absent is None, of another type is an UnfitError -------------------------------------

    def attribute(self, name: str, of: str = "/") -> Any:
        attributes = self._attributes if of == "/" else self.file[of].attrs
        if name not in attributes:
            return None
        try:
            return bounds.read_attribute(attributes, name)
        except H5PY_ERRORS as error:
            raise self.unfit(f"attribute {name} cannot be read: {first_line(error)}") from error

    def wrong(self, name: str, value: Any, expected: str) -> UnfitError:
        shown = value[:80] if isinstance(value, (str, bytes)) else value
        found = "empty" if isinstance(value, h5py.Empty) else " ".join(ascii(shown).split())[:80]
        return self.unfit(f"attribute {name} is {found}, expected {expected}")

    def flag(self, name: str) -> bool | None:
        value = self.attribute(name)
        if value is None:
            return None
        plain = _plain(value)
        if isinstance(plain, str):
            plain = _FLAGS.get(plain.lower(), plain)
        if isinstance(plain, (bool, int, float, np.bool_, np.integer, np.floating)) and plain in (0, 1):
            return bool(plain)
        raise self.wrong(name, value, "true or false")

    def number(self, name: str) -> float | None:
        """Texts of a number, with or without "Hz" after it, are read too."""
        value = self.attribute(name)
        if value is None:
            return None
        plain = _plain(value)
        if isinstance(plain, str):
            try:
                plain = float(plain.lower().removesuffix("hz"))
            except ValueError:
                plain = None
        numeric = isinstance(plain, (int, float, np.integer, np.floating))
        if not numeric or not np.isfinite(float(plain)):
            raise self.wrong(name, value, "a finite number")
        return float(plain)

    def whole(self, name: str) -> int | None:
        value = self.attribute(name)
        if value is None or isinstance(value, (int, np.integer)):
            return None if value is None else int(value)
        try:
            number = self.number(name)
        except UnfitError:
            number = None
        if number is None or number != int(number):
            raise self.wrong(name, value, "a whole number")
        return int(number)

    def word(self, name: str, of: str = "/") -> str | None:
        value = self.attribute(name, of)
        if value is None:
            return None
        try:
            text = as_text(value)
            text.encode()  # h5py hides bytes that are not UTF-8 in surrogates
        except (TypeError, UnicodeError) as error:
            raise self.wrong(name, value, "text") from error
        if len(text) > bounds.MAX_WORD:
            raise self.wrong(name, text, f"text of at most {bounds.MAX_WORD} characters")
        return text

    def texts_of_attribute(self, name: str) -> list[str]:
        """The texts of an attribute that may hold one or several."""
        value = self.attribute(name)
        if value is None:
            return []
        try:
            texts = [self._ended(name, as_text(each)) for each in np.atleast_1d(value).tolist()]
            for text in texts:
                text.encode()
        except (TypeError, UnicodeError) as error:
            raise self.wrong(name, value, "text") from error
        return texts


def _unknown_filter(dataset: h5py.Dataset) -> str | None:
    """The first filter of a dataset that h5py does not bring along, by number and name; None without any."""
    plan = dataset.id.get_create_plist()
    for place in range(plan.get_nfilters()):
        number, _, _, name = plan.get_filter(place)
        if number not in _FILTERS:
            return f"filter {number} ({ascii(name)[:40]})"
    return None


def as_text(value: Any) -> str:
    """Raises TypeError for what is not text."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not text")
    return str(value)


def first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _plain(value: Any) -> Any:
    """Text without white space around it; everything else as it is."""
    if isinstance(value, (bytes, str)):
        try:
            return as_text(value).strip()
        except UnicodeError:
            return value
    return value

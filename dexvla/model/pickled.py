"""Reads the few values that DexVLA's reference leaves in pickles, without a pickle machine that could run anything.

`pickletools.genops` splits a stream into opcodes and executes nothing. Here they build numbers, texts, lists, tuples
and dicts; a name such as `numpy.dtype` is looked up in a table of our own functions and nowhere else, so nothing is
ever imported or called because a file says so. Every other name and every other opcode is refused. Torch-free.
"""

import io
import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dexvla.errors import CheckpointError
from dexvla.spec import NormStats, first_error

MAX_STATS_BYTES = 256 * 2**20  # dataset_stats.pkl; a long episode's states take 10 MB
MAX_OPCODES = 5_000_000
_MAX_INT = 2**63
_MAX_DIMENSIONS = 32

Names = Mapping[str, Callable[..., Any]]

STATS_FIELDS = ("action_mean", "action_std", "action_min", "action_max", "qpos_mean", "qpos_std", "example_qpos")


class Refused(ValueError):
    """A pickle that holds anything but plain values; the message says what, without file name."""


@dataclass(frozen=True)
class _Name:
    """A class or function that the file names. Only a key of our table: never the thing itself."""

    name: str


class _Dtype:
    """A numpy dtype whose byte order the file tells later."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or len(code) > 3 or code[:1] not in ("f", "i", "u", "b"):
            raise Refused("an array that does not hold plain numbers")
        try:
            self.value = np.dtype(code)
        except TypeError as error:
            raise Refused("an array of an unknown number type") from error

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise Refused("a number type with an unreadable byte order")
        self.value = self.value.newbyteorder(state[1])


class _Array:
    """A numpy array, empty until the file gives its content."""

    def __init__(self) -> None:
        self.value: NDArray[Any] | None = None

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused("an array with an unreadable state")
        _, shape, dtype, fortran, data = state
        self.value = _from_bytes(data, dtype, shape, "F" if fortran is True else "C")


def _from_bytes(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    """Raises Refused unless `data` is exactly as long as the shape says."""
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, _Dtype) or order not in ("C", "F", "A", "K"):
        raise Refused("an array that is not raw numbers")
    if not is_shape(shape) or math.prod(shape) * dtype.value.itemsize != len(data):
        raise Refused("an array whose shape does not fit its content")
    return np.frombuffer(data, dtype.value).reshape(shape, order="F" if order == "F" else "C")


def is_shape(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= _MAX_DIMENSIONS
        and all(type(side) is int and 0 <= side < _MAX_INT for side in value)
    )


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    array = _Array()
    array.value = _from_bytes(data, dtype, shape, order)
    return array


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind != _Name("numpy.ndarray"):
        raise Refused("an array of a class of its own")
    return _Array()


def _scalar(dtype: Any, data: Any = b"") -> _Array:
    return _frombuffer(data, dtype, (), "C")


def _encode(text: Any, encoding: Any) -> bytes:
    """How old protocols write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused("a text in an unexpected encoding")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError as error:
        raise Refused("bytes that are not bytes") from error


def _empty_dict() -> dict[Any, Any]:
    return {}


# numpy.core is the spelling of numpy 1, numpy._core that of numpy 2.
PLAIN_NAMES: Names = {
    "collections.OrderedDict": _empty_dict,
    "_codecs.encode": _encode,
    "numpy.dtype": _Dtype,
    **{
        f"numpy.{core}.{name}": function
        for core in ("core", "_core")
        for name, function in (
            ("multiarray._reconstruct", _reconstruct),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _frombuffer),
        )
    },
}
_BARE_NAMES = frozenset({"numpy.ndarray"})  # named as an argument, never called

_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_PUSHED = frozenset((*_NUMBERS, *_TEXTS, *_BYTES))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


def read_values(
    data: bytes,
    names: Names = PLAIN_NAMES,
    *,
    bare: frozenset[str] = frozenset(),
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The value that a pickle describes: numbers, texts, lists, tuples, dicts and what `names` makes.

    names: the functions that a file may name, each ours; bare: names that may stand as arguments and are handed over
    as `_Name`. persistent: turns a persistent id (torch's storages) into a value. Raises Refused for everything else.
    """
    machine = _Machine(names, _BARE_NAMES | bare, persistent)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count >= MAX_OPCODES:
                raise Refused(f"more than {MAX_OPCODES} instructions")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument, position)
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise Refused(f"not a readable pickle ({type(error).__name__})") from error
    raise Refused("not a readable pickle (no end)")


class _Machine:
    """A stack and a memo. Values are only ever compared by identity or type, so shared ones cost nothing."""

    def __init__(self, names: Names, bare: frozenset[str], persistent: Callable[[Any], Any] | None) -> None:
        self._names, self._bare, self._persistent = names, bare, persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise Refused("not a readable pickle (a mark in the place of a value)")
        return value

    def _top(self) -> Any:
        value = self.pop()
        self._stack.append(value)
        return value

    def _pop_mark(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def step(self, name: str, argument: Any, position: int) -> None:
        push = self._stack.append
        if name in _PUSHED:
            if isinstance(argument, int) and abs(argument) > _MAX_INT:
                raise Refused(f"a number of more than 64 bits at byte {position}")
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            push(_MARK)
        elif name in ("EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT"):
            push({"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}[name]())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            push(tuple([self.pop() for _ in range(int(name[-1]))][::-1]))
        elif name == "TUPLE":
            push(tuple(self._pop_mark()))
        elif name == "LIST":
            push(self._pop_mark())
        elif name in ("APPEND", "APPENDS"):
            items = [self.pop()] if name == "APPEND" else self._pop_mark()
            self._container(list).extend(items)
        elif name in ("DICT", "SETITEM", "SETITEMS"):
            items = [self.pop(), self.pop()][::-1] if name == "SETITEM" else self._pop_mark()
            if name == "DICT":
                push({})
            self._fill(self._container(dict), items)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            push(self._memo[int(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[int(argument)] = self._top()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            push(self._lookup(name, argument))
        elif name == "REDUCE":
            arguments, function = self.pop(), self.pop()
            push(self._call(function, arguments))
        elif name == "BUILD":
            self._build(self.pop(), self._top())
        elif name == "BINPERSID" and self._persistent is not None:
            push(self._persistent(self.pop()))
        else:
            raise Refused(f"the instruction {name} at byte {position}, which plain values do not need")

    def _container(self, kind: type) -> Any:
        found = self._top()
        if type(found) is not kind:
            raise Refused(f"a {type(found).__name__} in the place of a {kind.__name__}")
        return found

    @staticmethod
    def _fill(target: dict[Any, Any], items: list[Any]) -> None:
        if len(items) % 2:
            raise Refused("a dict with a key that has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):  # hashing a nested key could take for ever
                raise Refused(f"a dict whose key is a {type(key).__name__}")
            target[key] = value

    def _lookup(self, opcode: str, argument: Any) -> _Name:
        if opcode == "STACK_GLOBAL":
            attribute, module = self.pop(), self.pop()
            if type(attribute) is not str or type(module) is not str:
                raise Refused("a name that is not a text")
        else:
            module, _, attribute = argument.partition(" ")
        name = f"{module}.{attribute}"
        if name not in self._names and name not in self._bare:
            raise Refused(f"the name {name[:80]!r}, which plain values do not need")
        return _Name(name)

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Name) or function.name not in self._names or type(arguments) is not tuple:
            raise Refused("a call of something that may not be called")
        return self._names[function.name](*arguments)

    @staticmethod
    def _build(state: Any, target: Any) -> None:
        if isinstance(target, _Dtype | _Array):
            target.build(state)
        elif type(target) is not dict or type(state) is not dict:  # an ordered dict's attributes: nothing of ours
            raise Refused("attributes on something that has none")


def read_dataset_stats(path: Path) -> NormStats:
    """Norm statistics from the reference's dataset_stats.pkl, or from the dataset_stats.npz that we export.

    Raises CheckpointError for a file that holds anything but arrays of numbers, or other fields.
    """
    size = path.stat().st_size
    if size > MAX_STATS_BYTES:
        raise CheckpointError(f"{path}: {size} bytes, expected at most {MAX_STATS_BYTES}")
    if path.suffix == ".npz":
        arrays = _read_npz(path)
    else:
        try:
            value = read_values(path.read_bytes())
        except Refused as error:
            raise CheckpointError(f"{path}: refused: it holds {error}") from error
        if type(value) is not dict:
            raise CheckpointError(f"{path}: found a {type(value).__name__}, expected a dict of arrays")
        arrays = {name: item.value for name, item in value.items() if isinstance(item, _Array)}
    missing = [name for name in STATS_FIELDS if name != "example_qpos" and arrays.get(name) is None]
    if missing:
        raise CheckpointError(f"{path}: no array {missing[0]}; expected {', '.join(STATS_FIELDS)}")
    values = {name: arrays[name].tolist() for name in STATS_FIELDS if arrays.get(name) is not None}
    try:
        stats = NormStats.model_validate(values)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_error(error)}") from error
    if not all(np.isfinite(arrays[name]).all() for name in values):
        raise CheckpointError(f"{path}: a value is not a finite number")
    return stats


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as opened:
            return {name: opened[name] for name in STATS_FIELDS if name in opened}
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise CheckpointError(f"{path}: not a readable file of arrays ({error})") from error


def write_dataset_stats(path: Path, stats: NormStats) -> None:
    """The statistics as a .npz with the names, and where it loses nothing the float32, of the reference's pickle."""
    arrays = {}
    for name in STATS_FIELDS:
        value = getattr(stats, name)
        if value is not None:
            wide = np.asarray(value, np.float64)
            narrow = wide.astype(np.float32)
            arrays[name] = narrow if np.array_equal(narrow.astype(np.float64), wide) else wide
    np.savez(path, **arrays)

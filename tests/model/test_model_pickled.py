"""Files of the reference that are pickles: their numbers are read, and nothing in them is ever executed."""

import collections
import os
import pickle
import pickletools
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dexvla.errors import CheckpointError
from dexvla.model.pickled import Refused, read_dataset_stats, read_values, write_dataset_stats
from dexvla.model.torch_files import TorchFile, read_torch_tensors

STATS = {
    "action_mean": np.array([0.25, -1.5], np.float32),
    "action_std": np.array([0.01, 2.0], np.float32),
    "action_min": np.array([-1.0, -2.0], np.float32),
    "action_max": np.array([1.0, 3.0], np.float32),
    "qpos_mean": np.array([0.5, 0.25, 0.125], np.float64),
    "qpos_std": np.array([1.0, 1.0, 1.0], np.float32),
    "example_qpos": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3)),
}

# --- what is read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("spelling", ["numpy._core", "numpy.core"])
def test_statistics_in_every_protocol(tmp_path: Path, protocol: int, spelling: str) -> None:
    """numpy 1 and 2 name their own functions differently."""
    data = pickle.dumps(STATS, protocol)
    if protocol < 4:
        data = data.replace(b"numpy._core", spelling.encode())
    (tmp_path / "dataset_stats.pkl").write_bytes(data)
    stats = read_dataset_stats(tmp_path / "dataset_stats.pkl")
    for name, expected in STATS.items():
        assert np.array_equal(getattr(stats, name), expected), name


def test_numpy_1_names_in_protocol_4() -> None:
    data = pickle.dumps(STATS, 4)
    old = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    assert old != data
    old = old[:3] + struct.pack("<Q", len(old) - 11) + old[11:]
    assert set(read_values(old)) == set(STATS)


def test_plain_values() -> None:
    value = {"a": [1, 2.5, None, True], "b": ("x", b"y"), 3: {}, "c": -(2**40), "d": collections.OrderedDict(k=[])}
    for protocol in range(6):
        assert read_values(pickle.dumps(value, protocol)) == value


def test_statistics_survive_our_own_export(tmp_path: Path) -> None:
    (tmp_path / "dataset_stats.pkl").write_bytes(pickle.dumps(STATS))
    stats = read_dataset_stats(tmp_path / "dataset_stats.pkl")
    write_dataset_stats(tmp_path / "dataset_stats.npz", stats)
    assert read_dataset_stats(tmp_path / "dataset_stats.npz") == stats
    with np.load(tmp_path / "dataset_stats.npz", allow_pickle=False) as exported:
        assert {name: exported[name].dtype for name in exported} == dict.fromkeys(STATS, np.dtype(np.float32))


def test_tensors_of_every_kind(tmp_path: Path) -> None:
    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8)
    whole = torch.arange(24.0).reshape(4, 6)
    saved = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    saved |= {"bool": torch.tensor([True, False]), "number": torch.tensor(3.0), "transposed": whole.T}
    saved |= {"part": whole[1:3, ::2], "again": whole, "weight": torch.nn.Parameter(torch.ones(2))}
    torch.save(saved, tmp_path / "all.bin")
    found = read_torch_tensors(tmp_path / "all.bin")
    assert list(found) == list(saved)
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    found["again"].zero_()
    assert found["part"].any(), "no two tensors share memory"


def test_a_modules_state_with_its_attributes(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.save({"nets": {"nets": module.state_dict(), "ema": None}, "step": 3}, tmp_path / "a.ckpt")
    with TorchFile(tmp_path / "a.ckpt") as file:
        assert (file.value["step"], file.value["nets"]["ema"]) == (3, None)
        found = file.tensors(file.value["nets"]["nets"])
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in module.state_dict().items()
    }


# --- what is refused ----------------------------------------------------------------------------------------


class Runs:
    """Unpickles to the result of a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Built:
    def __reduce__(self) -> tuple[Any, ...]:
        return (collections.OrderedDict, (), {"__class__": 1}, iter([]), iter([("a", Runs(os.getcwd))]))


def calls(path: Path) -> dict[str, bytes]:
    """Pickles that leave a file at `path` when a real pickle machine reads them, or try something near it."""
    touch = f"import pathlib; pathlib.Path({str(path)!r}).touch()"
    shell = f"touch {path}".encode()
    return {
        "os.system": pickle.dumps(Runs(os.system, f"touch {path}")),
        "protocol 0": pickle.dumps(Runs(os.system, f"touch {path}"), 0),
        "eval": pickle.dumps(Runs(eval, f"open({str(path)!r}, 'w')")),
        "exec": pickle.dumps(Runs(exec, touch)),
        "getattr": b"c__builtin__\ngetattr\n(cos\nsystem\ntR.",
        "in a list": pickle.dumps([1, {"action_mean": Runs(os.system, f"touch {path}")}]),
        "inside statistics": pickle.dumps({**STATS, "extra": Runs(os.system, f"touch {path}")}),
        "INST": b"(S'" + shell + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + shell + b"'\no.",
        "NEWOBJ": b"\x80\x02cos\nsystem\nU\x01a\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04cos\nsystem\n)}\x92.",
        "EXT1": b"\x80\x02\x82\x01.",
        "PERSID": b"Psomething\n.",
        "BINPERSID": b"\x80\x02U\x01aQ.",
        "BUILD on a class": b"\x80\x02cnumpy\nndarray\n}U\x01aU\x01bsb.",
        "BUILD on a list": b"\x80\x02]}U\x01aU\x01bsb.",
        "BUILD with items that run": pickle.dumps(Built()),
        "REDUCE on a text": b"\x80\x02U\x09os.system)R.",
        "REDUCE on a bare name": b"\x80\x02cnumpy\nndarray\nK\x01\x85R.",
        "names with dots": b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
        "numpy.load": b"cnumpy\nload\n(S'/etc/hostname'\ntR.",
        "numpy's own subclass": b"\x80\x02cnumpy._core.multiarray\n_reconstruct\ncos\nsystem\nK\x00\x85U\x01b\x87R.",
        "torch.load": b"ctorch\nload\n(S'x'\ntR.",
        "operator.attrgetter": b"coperator\nattrgetter\n(S'x'\ntR.",
        "importlib": b"cimportlib\nimport_module\n(S'os'\ntR.",
        "partial": b"cfunctools\npartial\n(cos\nsystem\ntR.",
    }


@pytest.mark.parametrize("name", calls(Path("x")))
def test_calls_are_refused_and_do_nothing(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "executed"
    data = calls(mark)[name]
    before = set(sys.modules)
    with pytest.raises(Refused):
        read_values(data)
    (tmp_path / "dataset_stats.pkl").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"dataset_stats.pkl: refused: it holds ") as error:
        read_dataset_stats(tmp_path / "dataset_stats.pkl")
    assert "\n" not in str(error.value)
    torch_file(tmp_path / "weights.bin", data)
    with pytest.raises(CheckpointError, match=r"weights.bin: refused: it holds "):
        read_torch_tensors(tmp_path / "weights.bin")
    assert not mark.exists()
    assert not {name for name in set(sys.modules) - before if not name.startswith(("encodings", "_pytest"))}


def test_the_pickles_of_this_test_do_run_elsewhere(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    mark = tmp_path / "executed"
    for name in ("os.system", "INST", "exec", "OBJ"):
        mark.unlink(missing_ok=True)
        pickle.loads(calls(mark)[name])
        assert mark.exists(), name


def memo_bomb(opcode: bytes) -> bytes:
    """Thirty levels, each with the level below twice: a thousand million leaves when anything walks it."""
    data = b"\x80\x02" + (b")" if opcode == b"\x86" else b"]") + b"q\x00"
    for level in range(30):
        pair = b"h" + bytes([level])
        data += (pair + pair + b"\x86" if opcode == b"\x86" else b"](" + pair + pair + b"e") + b"q" + bytes([level + 1])
    return data


def test_a_memo_bomb_costs_nothing(tmp_path: Path) -> None:
    started = time.monotonic()
    for opcode in (b"\x86", b"e"):
        read_values(memo_bomb(opcode) + b".")
        with pytest.raises(Refused, match="a dict whose key is a"):
            read_values(memo_bomb(opcode) + b"q\xff}h\xffK\x01s.")
        (tmp_path / "dataset_stats.pkl").write_bytes(memo_bomb(opcode) + b".")
        with pytest.raises(CheckpointError, match="expected a dict of arrays") as error:
            read_dataset_stats(tmp_path / "dataset_stats.pkl")
        assert len(str(error.value)) < 300
    assert time.monotonic() - started < 5


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "cut": pickle.dumps(STATS)[:-20],
    "no end": pickle.dumps(STATS)[:-1],
    "empty stack": b".",
    "mark in the place of a value": b"(.",
    "unknown memo": b"h\x05.",
    "append to a number": b"K\x01K\x02a.",
    "huge text": b"\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "huge number": b"\x8b" + struct.pack("<i", 100) + b"\x7f" * 100 + b".",
    "long digits": b"L" + b"9" * 10_000 + b"L\n.",
    "odd dict": b"(K\x01d.",
    "call with the wrong arguments": b"cnumpy\ndtype\n)R.",
    "objects": pickle.dumps({"a": np.array([{}, []], dtype=object)}),
    "structures": pickle.dumps(np.zeros(2, dtype=[("a", "f4")])),
    "complex": pickle.dumps(np.zeros(2, complex)),
    "array shorter than its shape": pickle.dumps(np.zeros((1000, 2), np.float32)).replace(b"M\xe8\x03", b"M\xff\xff"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles_are_one_kind_of_error(name: str) -> None:
    with pytest.raises(Refused):
        read_values(BROKEN[name])


def test_a_stream_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dexvla.model.pickled.MAX_OPCODES", 1000)
    with pytest.raises(Refused, match="more than 1000 instructions"):
        read_values(b"N" * 2000 + b".")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_min": None}, "no array action_min; expected action_mean"),
        ({"action_min": np.zeros(5, np.float32)}, "arrays differ in length"),
        ({"qpos_std": np.array([1, np.nan, 1])}, "qpos_std.1|not a finite number"),
        ({"qpos_std": np.float32(1.0)}, "qpos_std"),
    ],
)
def test_statistics_that_are_none(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "dataset_stats.pkl"
    file.write_bytes(pickle.dumps({**STATS, **change}))
    with pytest.raises(CheckpointError, match=message) as error:
        read_dataset_stats(file)
    assert str(file) in str(error.value)


# --- torch's archives ---------------------------------------------------------------------------------------


def torch_file(path: Path, data: bytes, storages: dict[str, bytes] | None = None, method: int = 0) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/byteorder", b"little")
        for key, content in (storages or {}).items():
            archive.writestr(f"a/data/{key}", content)


def tensor_pickle(
    *,
    kind: str = "FloatStorage",
    key: str = "0",
    elements: int = 4,
    offset: int = 0,
    shape: Any = (4,),
    stride: Any = (1,),
) -> bytes:
    """The pickle of {"w": tensor} as torch writes it, with numbers of our choice."""

    def value(item: Any) -> bytes:
        if isinstance(item, tuple):
            return b"(" + b"".join(map(value, item)) + b"t"
        if isinstance(item, str):
            return b"X" + struct.pack("<I", len(item)) + item.encode()
        return b"I" + str(item).encode() + b"\n"

    storage = b"(" + value("storage") + b"ctorch\n" + kind.encode() + b"\n" + value(key) + value("cpu")
    storage += value(elements) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + value(offset) + value(shape) + value(stride)
    return b"\x80\x02}" + value("w") + tensor + b"\x89ccollections\nOrderedDict\n)RtRs."


NUMBERS = np.arange(4, dtype=np.float32).tobytes()


def test_the_archives_of_this_test_are_torchs(tmp_path: Path) -> None:
    torch_file(tmp_path / "a.bin", tensor_pickle(), {"0": NUMBERS})
    assert read_torch_tensors(tmp_path / "a.bin")["w"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (5,)}, "larger than its storage"),
        ({"offset": 1}, "reaches beyond its storage"),
        ({"stride": (2,)}, "reaches beyond its storage"),
        ({"stride": (-1,)}, "cannot be understood"),
        ({"offset": -1}, "cannot be understood"),
        ({"shape": (2**40, 2**40), "stride": (0, 0)}, "larger than its storage"),
        ({"shape": (4, 2**62), "stride": (0, 0)}, "larger than its storage"),
        ({"shape": (0, 2**62), "stride": (0, 0)}, "larger than its storage"),
        ({"shape": "4"}, "cannot be understood"),
        ({"elements": 2**40}, "compressed or larger|says|tensors say|many times"),
        ({"elements": 3, "shape": (3,)}, "compressed or larger"),
        ({"elements": 5, "shape": (5,)}, "has 16 bytes, its tensors say 20"),
        ({"kind": "UntypedStorage"}, "refused"),
        ({"kind": "system"}, "refused"),
        ({"key": "../data.pkl"}, "cannot be understood"),
        ({"key": "7"}, "data/7 is missing"),
    ],
)
def test_tensors_that_do_not_fit_their_file(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    torch_file(tmp_path / "a.bin", tensor_pickle(**options), {"0": NUMBERS})
    with pytest.raises(CheckpointError, match=message) as error:
        read_torch_tensors(tmp_path / "a.bin")
    assert "\n" not in str(error.value)


def test_archives_that_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    torch_file(file, tensor_pickle(), {"0": NUMBERS}, method=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed or larger than expected"):
        read_torch_tensors(file)
    torch.save({"w": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"not a zip archive, as torch\.save has written since torch 1\.6"):
        read_torch_tensors(file)
    torch.save({"w": torch.ones(2000)}, file)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(CheckpointError, match="not a zip archive"):
        read_torch_tensors(file)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"a.bin: missing"):
        read_torch_tensors(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"0 members named data.pkl"):
        read_torch_tensors(file)
    torch.save([torch.ones(1)], file)
    with pytest.raises(CheckpointError, match="is not a dict of tensors"):
        read_torch_tensors(file)
    torch.save({"w": torch.ones(1), "step": 3}, file)
    with pytest.raises(CheckpointError, match="'step' is not a tensor"):
        read_torch_tensors(file)


def test_a_changed_byte_in_a_tensor_is_noticed(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(5000)}, tmp_path / "a.bin")
    data = bytearray((tmp_path / "a.bin").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.bin").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_torch_tensors(tmp_path / "a.bin")


def test_every_instruction_is_read_or_refused() -> None:
    """No opcode of any protocol makes the reader do anything else than refuse, on whatever stack it stands."""
    for opcode in pickletools.opcodes:
        code = opcode.code.encode("latin1")
        for stack in (b"", b"K\x01", b"(", b"]", b"}", b")", b"cnumpy\ndtype\n", b"X\x01\x00\x00\x00ae"[:-1]):
            for argument in (b"", b"\x00\x00\x00\x00\x00\x00\x00\x00", b"os\nsystem\n", b"1\n"):
                try:
                    read_values(stack + code + argument + b".")
                except Refused:
                    continue


def test_changed_bytes_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    sample = pickle.dumps(STATS)
    for _ in range(300):
        data = bytearray(sample)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        try:
            read_values(bytes(data))
        except Refused:
            continue

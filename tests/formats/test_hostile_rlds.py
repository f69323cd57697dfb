"""RLDS datasets that are broken, or want to do harm."""

import json
import re
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexvla.formats.base import FormatError
from dexvla.formats.importing import import_source
from dexvla.formats.rlds import wire
from dexvla.formats.rlds.records import masked
from dexvla.spec import ImportProfile
from tests.support.rlds_data import (
    IMAGE,
    PLAIN,
    STATE,
    STATE_VALUES,
    STEPS,
    bring,
    dataset,
    described,
    encoded,
    named,
    tensor,
)


def only_shard(folder: Path) -> Path:
    return next(folder.glob("*.tfrecord-*"))


def claim(folder: Path, length: int) -> None:
    """A record that says it is longer than it is, with a CRC that agrees."""
    head = struct.pack("<Q", length)
    file = only_shard(folder)
    file.write_bytes(head + struct.pack("<I", masked(google_crc32c.value(head))) + file.read_bytes()[12:])


def flip(folder: Path, at: int) -> None:
    file = only_shard(folder)
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def say(folder: Path, features: Any) -> None:
    (folder / "features.json").write_text(json.dumps(features))


def replaced(folder: Path, **values: Any) -> None:
    dataset(folder, PLAIN, encoded({**STATE_VALUES, **{f"steps/{name}": one for name, one in values.items()}}))


def deep() -> Any:
    found: Any = tensor("float32")
    for _ in range(60):
        found = named({"a": found})
    return named({"steps": found})


def link_out(folder: Path) -> None:
    file = only_shard(folder)
    file.rename(folder.parent / "elsewhere")
    file.symlink_to(folder.parent / "elsewhere")


def large_bomb(folder: Path) -> None:
    """A kilobyte that unpacks to as much as its shape says, many times."""
    features = described({**STATE, "action": tensor("float32", 2**20, encoding="zlib")})
    blob = zlib.compress(bytes(2**22))
    dataset(folder, features, encoded({**STATE_VALUES, "steps/action": [blob] * STEPS}))


def bomb(folder: Path) -> None:
    features = described({**STATE, "action": tensor("float32", 2, encoding="zlib")})
    blob = zlib.compress(bytes(2**26))
    dataset(folder, features, encoded({**STATE_VALUES, "steps/action": [blob] * STEPS}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: claim(folder, 2**62), r"claims 4611686018427387904 bytes, the file ends before"),
        (lambda folder: claim(folder, 2**64 - 1), r"claims 18446744073709551615 bytes, the file ends before"),
        (lambda folder: flip(folder, 3), "its? length .*CRC32C|length of the record at byte 0 has another CRC32C"),
        (lambda folder: flip(folder, 60), "the record at byte 0 has CRC32C"),
        (lambda folder: only_shard(folder).write_bytes(only_shard(folder).read_bytes()[:-9]), "the file ends before"),
        (lambda folder: only_shard(folder).write_bytes(b"\x1f\x8b" + bytes(40)), "compressed as a whole"),
        (lambda folder: only_shard(folder).write_bytes(b"no"), "ends within the record at byte 0"),
        (lambda folder: only_shard(folder).write_bytes(b""), "hold no record"),
        (link_out, "lies outside of"),
        (
            lambda folder: only_shard(folder).rename(folder / "lab-train.array_record-00000-of-00001"),
            "stored as array_record|looks like none",
        ),
        (lambda folder: say(folder, deep()), "nested more than 16 deep"),
        (lambda folder: say(folder, {"a": 1}), "no feature steps"),
        (
            lambda folder: say(folder, described({**STATE, "action": tensor("float32", 2**31)})),
            "expected rows of 2147483648",
        ),
        (
            lambda folder: say(folder, described({**STATE, "action": tensor("float32", 2**40)})),
            "expected whole numbers",
        ),
        (
            lambda folder: say(folder, described({**STATE, "action": tensor("float32", 3)})),
            "8 numbers, expected rows of 3|different|for 4",
        ),
        (
            lambda folder: say(
                folder, described({**STATE, "action": tensor("float64", 2**20, 2**20, encoding="zlib")})
            ),
            "bytes in each step|numbers, expected bytes",
        ),
        (lambda folder: (folder / "features.json").write_text("[" * 10**5), "not readable as JSON|looks like none"),
        (large_bomb, "4 times 1048576 numbers, more than an episode may hold"),
        (bomb, r"a tensor of 9 bytes, expected 8"),
        (lambda folder: replaced(folder, action=[b"x"] * STEPS), "steps/action holds bytes, expected numbers"),
        (lambda folder: replaced(folder, **{"observation/image": [IMAGE] * 3}), "3 frames, expected 4"),
        (
            lambda folder: replaced(folder, **{"observation/image": [b"x"] * STEPS}),
            "holds no JPEG, PNG, WebP or BMP, it begins with 78",
        ),
        (
            lambda folder: replaced(folder, **{"observation/image": [IMAGE, IMAGE, IMAGE[:-30], IMAGE]}),
            "not a whole JPEG.*steps 0..1",
        ),
        (lambda folder: dataset(folder, PLAIN, b"\x0a\xff\xff\xff\xff\x0f"), "is no tf.train.Example"),
        (lambda folder: dataset(folder, PLAIN, b"\x0b" * 5000), "is no tf.train.Example"),
        (lambda folder: dataset(folder, PLAIN, wire.block(1, wire.block(1, b"\xff" * 12))), "is no tf.train.Example"),
    ],
)
def test_what_is_broken_is_named_and_nothing_stays(tmp_path: Path, spoil: Callable[[Path], Any], words: str) -> None:
    lab = dataset(tmp_path / "lab", PLAIN, encoded(STATE_VALUES))
    spoil(lab)
    try:
        report = import_source(lab, tmp_path / "ours", ImportProfile(fps=10, instruction="Go"), format="rlds")
        reason = report.refused[0].reason
    except FormatError as error:
        reason = str(error)
    assert re.search(words, reason), reason
    assert not list((tmp_path / "ours").rglob("*.hdf5*"))


def test_records_before_a_damaged_one_are_kept(tmp_path: Path) -> None:
    record = encoded(STATE_VALUES)
    lab = dataset(tmp_path / "lab", PLAIN, record, record, record)
    only_shard(lab).write_bytes(only_shard(lab).read_bytes()[:-20])
    report = bring(lab, tmp_path)
    assert len(report.imported) == 2
    assert "the file ends before" in report.refused[0].reason


@settings(max_examples=150, deadline=None)
@given(
    record=st.one_of(
        st.binary(max_size=200), st.binary(max_size=60).map(lambda data: wire.block(1, wire.block(1, data)))
    )
)
def test_no_bytes_are_more_than_a_value_error(record: bytes) -> None:
    with suppress(ValueError):
        for feature in wire.features_of(record).values():
            _ = feature.blobs() if feature.kind == wire.BYTES else feature.numbers()

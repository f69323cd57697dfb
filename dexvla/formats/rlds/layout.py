"""A TFDS dataset on disk: features.json, dataset_info.json and the shards of its splits, in one folder.

    NAME/VERSION/features.json  dataset_info.json  NAME-SPLIT.tfrecord-00000-of-00010 ...

Shards that were not copied are left out; the episodes of those that are there keep their numbers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dexvla.formats.base import FormatError
from dexvla.formats.rlds.features import Leaf, leaves_of
from dexvla.formats.rlds.records import Shard, look_through
from dexvla.formats.sources import inside

FEATURES, INFO = "features.json", "dataset_info.json"
_SHARD = re.compile(r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecord-(?P<number>\d{5,6})-of-(?P<all>\d{5,6})")
_OTHERS = re.compile(r".+\.(array_record|riegeli|sstable|bagz|parquet)-\d{5,6}-of-\d{5,6}")
_JSON_BYTES = 2**26
_DEPTH = 2  # folders between the named one and the dataset: its name and its version
_MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Place:
    """An episode: its shard, and its number in there. broken: why it cannot be read, else empty."""

    path: Path
    offset: int
    broken: str = ""


@dataclass(frozen=True)
class Dataset:
    """root: its folder. missing: shards that are not there, as a sentence, or empty."""

    root: Path
    name: str
    leaves: Mapping[str, Leaf]
    places: Mapping[str, Place]
    missing: str


def dataset_folder(source: Path) -> Path:
    """The folder of features.json at or below `source`. Raises FormatError where there is none, or several."""
    if source.is_file():
        if _SHARD.fullmatch(source.name):
            source = source.parent
        else:
            raise FormatError(f"{source}: expected a folder with {FEATURES} and tfrecord files")
    found = [source] if (source / FEATURES).is_file() else []
    level = [source]
    for _ in range(_DEPTH):
        if found:
            break
        level = [one for folder in level for one in sorted(folder.iterdir()) if one.is_dir() and not one.is_symlink()]
        found = [folder for folder in level if (folder / FEATURES).is_file()]
    if not found:
        raise FormatError(
            f"{source}: no {FEATURES}; expected the folder of a TFDS dataset's version, with {FEATURES}, {INFO} and "
            "its tfrecord files"
        )
    if len(found) > 1:
        names = ", ".join(str(one.relative_to(source)) for one in found[:8])
        raise FormatError(f"{source}: {len(found)} datasets, {names}; name the folder of one of them")
    return found[0]


def has_records(folder: Path) -> bool:
    return any(_SHARD.fullmatch(path.name) for path in folder.iterdir())


def read_dataset(source: Path) -> Dataset:
    """Raises FormatError naming the file that is wrong. Of a source that is a file, that shard alone."""
    root = dataset_folder(source)
    path = inside(root, root / FEATURES, named_by=str(root))
    try:
        leaves = leaves_of(_json(path))
    except ValueError as error:
        raise FormatError(f"{path}: {error}; copy the dataset again") from error
    if not any(name.startswith("steps/") for name in leaves):
        raise FormatError(
            f"{path}: no feature steps, it has {', '.join(sorted(leaves)[:8]) or 'none'}; expected RLDS, where each "
            "example is an episode with a sequence of steps"
        )
    info = _json(inside(root, root / INFO, named_by=str(root))) if (root / INFO).is_file() else {}
    info = info if isinstance(info, dict) else {}
    shards = _shards(root, only=source if source.is_file() else None)
    places, missing = _places(shards, _declared(info))
    name = info.get("name")
    return Dataset(
        root=root,
        name=name if isinstance(name, str) else root.name,
        leaves=leaves,
        places=places,
        missing=missing if source.is_dir() else "",
    )


def _shards(root: Path, only: Path | None) -> dict[str, dict[int, tuple[int, Shard]]]:
    """By split and number: how many the split has by their names, and the shard."""
    found: dict[str, dict[int, tuple[int, Shard]]] = {}
    others = None
    for path in sorted(root.iterdir()):
        match = _SHARD.fullmatch(path.name)
        if match is None:
            others = others or _OTHERS.fullmatch(path.name)
            continue
        if only is not None and path.name != only.name:
            continue
        number, count = int(match["number"]), int(match["all"])
        if not number < count <= _MOST_SHARDS:
            raise FormatError(f"{path}: shard {number} of {count}, expected at most {_MOST_SHARDS}; copy it again")
        numbers = found.setdefault(match["split"], {})
        if number in numbers:
            raise FormatError(f"{path}: another shard {number} of split {match['split']}; move one of them away")
        numbers[number] = count, look_through(inside(root, path, named_by=str(root)))
    if not found:
        stored = f"stored as {others[1]}, " if others else ""
        raise FormatError(
            f"{root}: {stored}expected files like NAME-train.tfrecord-00000-of-00010; convert it with TFDS first "
            "(convert_format) or copy them"
        )
    return found


def _places(
    shards: Mapping[str, Mapping[int, tuple[int, Shard]]], declared: Mapping[str, list[int]]
) -> tuple[dict[str, Place], str]:
    """Episodes by name, SPLIT_NUMBER, and what is missing."""
    places: dict[str, Place] = {}
    gone: list[str] = []
    for split, numbers in shards.items():
        count = max(count for count, _ in numbers.values())
        lengths = declared.get(split, [])
        first = 0
        for number in range(count):
            said = lengths[number] if len(lengths) == count else None
            if number not in numbers:
                gone.append(f"{split} {number}")
                first += said or 0
                continue
            shard = numbers[number][1]
            offsets = [Place(shard.path, offset) for offset in shard.offsets]
            if shard.broken:
                offsets.append(Place(shard.path, -1, shard.broken))
            elif said is not None and len(offsets) < said:
                why = f"holds {len(offsets)} records, {INFO} says {said}; copy it again"
                offsets.append(Place(shard.path, -1, why))
            places.update({f"{split}_{first + at}": place for at, place in enumerate(offsets)})
            first += max(said or 0, len(offsets))
    few = ", ".join(gone[:6]) + (" ..." if len(gone) > 6 else "")
    return (
        places,
        f"{len(gone)} shards of the dataset are not there ({few}); their episodes are left out" if gone else "",
    )


def _declared(info: Mapping[str, Any]) -> dict[str, list[int]]:
    """Records of each shard, by split; what is no list of numbers says nothing."""
    found: dict[str, list[int]] = {}
    splits = info.get("splits")
    for split in splits if isinstance(splits, list) else ():
        lengths = split.get("shardLengths") if isinstance(split, dict) else None
        if isinstance(lengths, list) and all(str(one).isdecimal() and len(str(one)) < 10 for one in lengths):
            found[str(split.get("name"))] = [int(one) for one in lengths]
    return found


def _json(path: Path) -> Any:
    size = path.stat().st_size
    if size > _JSON_BYTES:
        raise FormatError(f"{path}: {size} bytes, at most {_JSON_BYTES} are read")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not readable as JSON ({error}); copy the dataset again") from error

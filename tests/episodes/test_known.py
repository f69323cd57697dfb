"""What is known of episode files: right, remade where it is damaged, and never of a file that has changed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dexvla.data.statistics import norm_stats
from dexvla.episodes import known as known_module
from dexvla.episodes.facts import EpisodeFacts
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.known import KnownEpisodes
from dexvla.episodes.manifest import EpisodeSet, build_manifest
from dexvla.episodes.reader import Episode, open_episode
from dexvla.errors import EpisodeError

MakeEpisode = Callable[..., Path]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read as a whole, as it happens."""
    names: list[str] = []
    real = known_module.read_facts

    def counted(episode: Episode) -> EpisodeFacts:
        names.append(episode.path.name)
        return real(episode)

    monkeypatch.setattr(known_module, "read_facts", counted)
    return names


def settled(path: Path) -> Path:
    """As if it had been written a while ago; its change time is now, so that only its content is believed."""
    os.utime(path, ns=(0, 1_600_000_000 * 10**9))
    return path


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written count as settled."""
    monkeypatch.setattr(known_module, "_SETTLED_SECONDS", -1.0)


def test_a_file_is_read_once_and_its_facts_are_those_of_the_file(
    tmp_path: Path, make_episode: MakeEpisode, read: list[str], at_once: None
) -> None:
    path = make_episode(tmp_path / "a.hdf5", seed=3)
    folder = tmp_path / "cache"
    first = KnownEpisodes(folder).facts(path)
    again = KnownEpisodes(folder).facts(path)
    assert (first, read) == (again, ["a.hdf5"])
    with open_episode(path) as episode:
        assert first.names == episode_identities(episode)
        assert (first.steps, first.action_dim, first.state_dim) == (24, 14, 14)
        np.testing.assert_allclose(first.motion.action.mean(), episode.action.astype(np.float64).mean(axis=0))
        assert first.motion.qpos.high == tuple(episode.qpos.max(axis=0).astype(float))
    assert [segment.text for segment in first.substeps or ()] == ["Reach for the cube", "Lift the cube"]


def test_the_same_bytes_elsewhere_are_known(
    tmp_path: Path, make_episode: MakeEpisode, read: list[str], at_once: None
) -> None:
    path = make_episode(tmp_path / "a.hdf5")
    known = KnownEpisodes(tmp_path / "cache")
    facts = known.facts(path)
    moved = tmp_path / "b.hdf5"
    os.rename(path, moved)
    (tmp_path / "c.hdf5").write_bytes(moved.read_bytes())
    os.link(moved, tmp_path / "d.hdf5")
    assert [known.facts(tmp_path / f"{name}.hdf5") for name in "bcd"] == [facts] * 3
    assert read == ["a.hdf5"]


def test_a_changed_file_is_noticed_though_its_size_and_time_are_the_same(
    tmp_path: Path, make_episode: MakeEpisode, read: list[str], at_once: None
) -> None:
    path = settled(make_episode(tmp_path / "a.hdf5"))
    known = KnownEpisodes(tmp_path / "cache")
    before, stamp = known.facts(path), path.stat()
    with h5py.File(path, "r+") as file:
        file["action"][3, 2] = 7.0
    os.utime(path, ns=(0, stamp.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) == (
        stamp.st_size,
        stamp.st_mtime_ns,
        stamp.st_ino,
    )
    after = known.facts(path)
    assert after.identity != before.identity
    assert after.motion.action.high[2] == 7.0
    assert read == ["a.hdf5", "a.hdf5"]
    with pytest.raises(EpisodeError, match="changed while it was read"):
        known.motion(path, before, 10).sums()


def test_a_file_that_is_younger_than_the_clocks_of_file_systems_is_not_believed_by_its_times(
    tmp_path: Path, make_episode: MakeEpisode, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_episode(tmp_path / "a.hdf5")
    known = KnownEpisodes(tmp_path / "cache")
    known.facts(path)
    hashed: list[Path] = []
    real = known_module.file_sha256
    monkeypatch.setattr(known_module, "file_sha256", lambda path: hashed.append(path) or real(path))
    known.facts(path)
    monkeypatch.setattr(known_module, "_SETTLED_SECONDS", -1.0)
    known.facts(path)
    assert len(hashed) == 2
    known.facts(path)
    assert len(hashed) == 2, "now its times are known"


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    tmp_path: Path, make_episode: MakeEpisode, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    path = make_episode(tmp_path / "a.hdf5")
    known, real = KnownEpisodes(tmp_path / "cache"), known_module.read_facts

    def changing(episode: Episode) -> EpisodeFacts:
        facts = real(episode)
        path.write_bytes(path.read_bytes() + b"more")
        return facts

    monkeypatch.setattr(known_module, "read_facts", changing)
    with pytest.raises(EpisodeError, match="changed while it was read"):
        known.facts(path)
    assert not list((tmp_path / "cache").rglob("*.json"))


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "foreign", "folder"])
@pytest.mark.parametrize("kind", ["facts", "files"])
def test_a_damaged_entry_is_made_anew(
    tmp_path: Path, make_episode: MakeEpisode, read: list[str], at_once: None, kind: str, damage: str
) -> None:
    path = make_episode(tmp_path / "a.hdf5")
    known = KnownEpisodes(tmp_path / "cache")
    facts = known.facts(path)
    (entry,) = (tmp_path / "cache").rglob(f"{kind}/*/*.json")
    whole = entry.read_bytes()
    if damage == "folder":
        entry.unlink()
        entry.mkdir()
    else:
        place = whole.rindex(b"24" if kind == "facts" else b"inode")
        bit = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        entry.write_bytes({"cut": whole[:-9], "bit": bit, "empty": b"", "foreign": b"\xff\xfe{}"}[damage])
    assert known.facts(path) == facts
    assert read == ["a.hdf5"] * (2 if kind == "facts" else 1)
    if damage != "folder":
        assert entry.read_bytes() == whole


def test_what_cannot_be_kept_is_said_once_and_read_each_time(
    tmp_path: Path, make_episode: MakeEpisode, read: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    known = KnownEpisodes(tmp_path / "cache")
    paths = [make_episode(tmp_path / f"{name}.hdf5", seed=number) for number, name in enumerate("ab")]
    assert [known.facts(path).steps for path in (*paths, *paths)] == [24] * 4
    assert len(read) == 4
    assert len([one for one in caplog.records if "cannot be kept" in one.message]) == 1


def test_statistics_of_parts_are_bit_by_bit_those_of_the_whole(
    tmp_path: Path, make_episode: MakeEpisode, read: list[str], at_once: None
) -> None:
    paths = tuple(make_episode(tmp_path / f"{n}.hdf5", seed=n, steps=9 + 7 * n) for n in range(4))
    known = KnownEpisodes(tmp_path / "cache")
    for _ in range(2):
        _, motions = build_manifest(EpisodeSet(name="a", paths=paths, episode_len=20), known=known)
        found = norm_stats(motions)
        arrays = [(action.copy(), qpos.copy()) for action, qpos in motions]
        assert [len(action) for action, _ in arrays] == [9, 16, 20, 20]
        whole = tuple(np.concatenate(parts) for parts in zip(*arrays, strict=True))
        at_once_stats = norm_stats([whole])
        assert found.model_copy(update={"example_qpos": None}) == at_once_stats.model_copy(
            update={"example_qpos": None}
        )
        assert found.example_qpos == tuple(map(tuple, arrays[-1][1].astype(float).tolist()))
    assert read == [path.name for path in paths]


def test_many_makers_at_once_make_one_cache(tmp_path: Path, make_episode: MakeEpisode) -> None:
    for number in range(6):
        make_episode(tmp_path / "data" / f"episode_{number}.hdf5", seed=number)
    environment = {**os.environ, "DEXVLA_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "dexvla.cli", "stats", str(tmp_path / "data"), "--json"]
    makers = [subprocess.Popen([*command, str(tmp_path / f"{n}.json")], env=environment) for n in range(3)]
    assert [maker.wait(300) for maker in makers] == [0, 0, 0]
    assert len({(tmp_path / f"{n}.json").read_bytes() for n in range(3)}) == 1
    entries = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len([path for path in entries if "facts" in path.parts]) == 6
    assert not [path for path in entries if path.suffix != ".json"]
    known = KnownEpisodes(tmp_path / "cache" / "episodes")
    assert known.facts(tmp_path / "data" / "episode_3.hdf5").steps == 24


def test_what_nobody_used_for_three_months_goes(tmp_path: Path, make_episode: MakeEpisode, at_once: None) -> None:
    def used(days_ago: float) -> None:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            os.utime(path, (time.time() - days_ago * 86_400,) * 2)

    def kept() -> set[str]:
        return {path.name for path in folder.rglob("*") if path.is_file()}

    folder = tmp_path / "cache" / "episodes"
    paths = [make_episode(tmp_path / f"{name}.hdf5", seed=seed) for seed, name in enumerate("abc")]
    KnownEpisodes(folder).facts(paths[0])
    unused = kept() - {"swept.json"}
    KnownEpisodes(folder).facts(paths[1])
    other = folder / "format-0" / "facts" / "00" / ".x.json.1.tmp"
    other.parent.mkdir(parents=True)
    other.touch()
    theirs = [folder / "episode_0.hdf5", folder / "format-1" / "episode_1.hdf5", folder / "2024" / "notes.json"]
    for path in theirs:  # whoever names a folder with data of their own as the cache
        path.parent.mkdir(exist_ok=True)
        path.touch()
    used(89)
    KnownEpisodes(folder).facts(paths[1])  # its entries are fresh again
    fresh = kept() - unused - {other.name}
    old = {*unused, other.name, "swept.json", *(path.name for path in theirs)}
    for path in (path for path in folder.rglob("*") if path.name in old):
        os.utime(path, (time.time() - 91 * 86_400,) * 2)
    KnownEpisodes(folder).facts(paths[2])
    assert kept() & (unused | {other.name}) == set()
    assert all(path.exists() for path in theirs)
    assert fresh <= kept()
    used(91)
    os.utime(next(folder.rglob("swept.json")))
    KnownEpisodes(folder).keep("0" * 64, KnownEpisodes(None).facts(paths[2]))
    assert fresh <= kept(), "it was swept today"

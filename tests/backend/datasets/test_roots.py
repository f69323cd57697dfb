"""Folders below an import root: walked through once, and anew when their entries are others."""

import os
from pathlib import Path

import pytest

from backend.datasets import roots


def grown_old(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        os.utime(folder, (1_000_000_000, 1_000_000_000))


def test_a_root_is_walked_once_for_all_answers_of_a_wizard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path.resolve() / "root"
    for name in ("one/a.hdf5", "two/deep/b.hdf5", "set/meta/info.json"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    walks, real = list[Path](), roots._walk

    def walk(top: Path, changed: dict[Path, int]) -> object:
        walks.append(top)
        return real(top, changed)

    monkeypatch.setattr(roots, "_walk", walk)

    def found(path: Path) -> bool:
        return roots.candidate((root,), ids[path]) is not None

    ids = {one.path: one.id for one in roots.candidates((root,))}
    assert set(ids) == {root, root / "one", root / "two" / "deep", root / "set"}
    walks.clear()
    assert all(map(found, ids))
    assert len(walks) == 4, "what has just changed may change within the same tick"
    grown_old(root)
    roots.candidates((root,))
    walks.clear()
    assert all(map(found, ids))
    assert walks == []
    (root / "two" / "deep" / "b.hdf5").unlink()
    assert [found(root / "two" / "deep"), found(root / "one")] == [False, True]
    grown_old(root)
    assert found(root / "set")
    (root / "set" / "meta" / "info.json").unlink()
    assert not found(root / "set")
    assert roots.candidate((root,), "../etc") is None

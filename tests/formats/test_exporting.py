"""`dexvla export`: labels of a manifest before those of files, whole or not at all, told in words and JSON."""

import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dexvla.cli import app
from dexvla.episodes.format import LabelSource
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode
from dexvla.formats import registry
from dexvla.formats.base import Exported, FormatError
from dexvla.formats.exporting import check_out, episode_names, export_episodes, with_labels_of
from dexvla.spec import Segment
from tests.support.media_data import episode_of, export_episode


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        export_episode(source, episode_of(12, seed=number), f"episode_{number}")
    return source


def test_the_command_tells_what_it_wrote(folder: Path, tmp_path: Path) -> None:
    run("export", folder, "--format", "csv", "--out", tmp_path / "out", "--json", tmp_path / "said.json")
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["format"] == "csv"
    assert [one["name"] for one in said["episodes"]] == ["episode_0", "episode_1", "episode_2"]
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert (said["files"], said["bytes"]) == (len(files), sum(file.stat().st_size for file in files))


@pytest.mark.parametrize("name", registry.exporters())
def test_every_format_has_words_and_a_module(name: str) -> None:
    exporter = registry.exporter(name)
    assert exporter.name == name
    assert exporter.title


def test_labels_of_a_manifest_go_before_those_of_files(folder: Path, tmp_path: Path) -> None:
    manifest, _ = build_manifest(find_set(str(folder)))
    changed = manifest.episodes[1].model_copy(
        update={
            "instruction": "Do it well.",
            "substeps": (Segment(start=0, end=4, text="Open"), Segment(start=4, end=12, text="Close")),
            "success": False,
            "label_source": "human",
        }
    )
    listed = manifest.model_copy(update={"episodes": (manifest.episodes[0], changed, manifest.episodes[2])})
    file = folder / "version.json"
    file.write_text(listed.model_dump_json())
    run("export", file, "--format", "episodes", "--out", tmp_path / "out")
    with open_episode(tmp_path / "out" / "episode_1.hdf5") as episode:
        assert episode.instruction == "Do it well."
        assert episode.substep_reasonings == ("Open",) * 4 + ("Close",) * 8
        assert episode.attributes.success is False
        assert episode.label_source == LabelSource.HUMAN


def test_another_episode_than_the_manifest_lists_is_refused(folder: Path, tmp_path: Path) -> None:
    manifest, _ = build_manifest(find_set(str(folder)))
    (folder / "version.json").write_text(manifest.model_dump_json())
    (folder / "episode_0.hdf5").write_bytes((folder / "episode_1.hdf5").read_bytes())
    with pytest.raises(ValueError, match=r"episode_0\.hdf5: another episode than the manifest lists"):
        run("export", folder / "version.json", "--format", "episodes", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_taken_is_refused_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FormatError, match="is not empty; an export never mixes"):
        run("export", folder, "--format", "csv", "--out", tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(FormatError, match="no format 'tfds' can be written; expected one of episodes, dexvla"):
        run("export", folder, "--format", "tfds", "--out", tmp_path / "new")


def test_an_export_is_whole_or_not_there(folder: Path, tmp_path: Path) -> None:
    found = with_labels_of(find_set(str(folder)))
    broken = replace(found.episodes[2], substeps=(Segment(start=0, end=5, text="too short"),))
    done: list[Exported] = []
    with pytest.raises(FormatError, match="its labels cover 5 steps, it has 12"):
        export_episodes((*found.episodes[:2], broken), tmp_path / "out", "csv", on_episode=done.append)
    assert len(done) == 2, "the others were written before"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="its labels cover"):
        export_episodes((broken,), tmp_path / "empty", "csv")
    assert list((tmp_path / "empty").iterdir()) == []
    check_out(tmp_path / "empty")


def test_what_a_killed_export_left_is_removed_by_the_next_one(folder: Path, tmp_path: Path) -> None:
    places = {name: tmp_path / f".other.{name}.exporting" for name in ("dead", "alive", "young")}
    for name, place in places.items():
        (place / ".other.tmp").mkdir(parents=True)
        (place / ".other.tmp" / "part").write_bytes(b"x")
        if name != "young":
            os.utime(place, (0, 0))
    (tmp_path / ".model.cafe.tmp").mkdir()  # of somebody else
    lock = os.open(places["alive"], os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        export_episodes(with_labels_of(find_set(str(folder))).episodes, tmp_path / "out", "csv")
    finally:
        os.close(lock)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"source", "out", ".model.cafe.tmp", places["alive"].name, places["young"].name}


def test_names_are_safe_and_each_its_own() -> None:
    paths = [Path("a/episode_0.hdf5"), Path("b/Episode_0.hdf5"), Path("b/ü -.hdf5"), Path("c/.hdf5.hdf5")]
    names = episode_names(paths)
    assert names[0] == "episode_0"
    assert len({name.casefold() for name in names}) == 4
    assert all(not name.startswith(".") and "/" not in name for name in names)

"""Which episodes a file was made of, where they were joined, what its dimensions are called and its exact rate: through
every format that has a place for them, and through imports that move or cut the steps."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dexvla.episodes.lineage import lineage_attributes, lineage_within
from dexvla.episodes.reader import open_episode
from dexvla.episodes.times import exact_rate, judge
from dexvla.formats import registry
from dexvla.formats.importing import import_source
from dexvla.formats.videos import video_facts
from dexvla.spec import EditKind, ImportProfile, Lineage, Piece
from tests.support.episode_data import episode_data
from tests.support.media_data import export_episode, exported

FILM = 30_000 / 1001
LINEAGE = Lineage(
    kind=EditKind.JOIN,
    sources=("a" * 64, "b" * 64),
    pieces=(Piece(source=0, start=5, end=15), Piece(source=1, start=0, end=8), Piece(source=0, start=30, end=36)),
    joined_at=(10, 18),
    jumps_at=(18,),
)
STATES = ("waist", "elbow ü", "gripper")
ACTIONS = ("to waist", "to elbow", "to gripper")
READ_AGAIN = (
    "episodes",
    "dexvla",
    "dexvla-jpeg",
    "lerobot",
    "lerobot-images",
    "lerobot-language",
    "robomimic",
    "rlds",
    "mcap",
)


def joined_episode(folder: Path, name: str = "one", **changes: Any) -> Any:
    """24 steps of two sources, their dimensions named, at the rate of television."""
    names = {"state_names": STATES, "action_names": ACTIONS}
    data = episode_data(state_dim=3, action_dim=3, attributes={"fps": FILM, "robot": "bench"})
    data = dataclasses.replace(data, timestamp=None, extra_attributes=lineage_attributes(LINEAGE, names), **changes)
    return export_episode(folder, data, name)


def back(folder: Path, source: Path, **profile: Any) -> Path:
    report = import_source(source, folder / "back", ImportProfile.model_validate(profile))
    assert (report.refused, len(report.imported)) == ([], 1)
    return report.imported[0].file


@pytest.mark.parametrize("name", READ_AGAIN)
def test_lineage_names_and_rate_come_back_from_every_format(tmp_path: Path, name: str) -> None:
    exported(registry.exporter(name), tmp_path / "out", joined_episode(tmp_path))
    with open_episode(back(tmp_path, tmp_path / "out")) as after:
        assert after.lineage == LINEAGE
        assert (after.state_names, after.action_names) == (STATES, ACTIONS)
        assert (after.attributes.fps, after.attributes.fps_guessed) == (FILM, None)


def test_they_come_back_from_a_table_and_videos(tmp_path: Path) -> None:
    episode = joined_episode(tmp_path)
    exported(registry.exporter("csv"), tmp_path / "out", episode)
    exported(registry.exporter("mp4"), tmp_path / "videos", episode)
    shutil.copytree(tmp_path / "videos" / "one", tmp_path / "out" / "one")
    with open_episode(back(tmp_path, tmp_path / "out")) as after:
        assert (after.lineage, after.state_names, after.action_names) == (LINEAGE, STATES, ACTIONS)
        assert after.attributes.fps == FILM


def test_a_rate_that_only_the_videos_say_is_exact_and_a_guess_that_gives_way_to_a_person(tmp_path: Path) -> None:
    exported(registry.exporter("mp4"), tmp_path / "out", joined_episode(tmp_path))
    for video in (tmp_path / "out" / "one").glob("*.mp4"):
        assert video_facts(video).fps == FILM
    rows = "\n".join(f"{step},{step}" for step in range(24))
    (tmp_path / "out" / "one" / "steps.csv").write_text(f"state_0,action_0\n{rows}\n")
    said = {"instruction": "Lift it."}
    report = import_source(tmp_path / "out", tmp_path / "guessed", ImportProfile(instruction="Lift it."))
    assert "29.97 Hz, the rate of its videos" in " ".join(report.imported[0].guesses)
    with open_episode(report.imported[0].file) as after:
        assert (after.attributes.fps, after.attributes.fps_guessed) == (FILM, True)
    # our file with a guess and without time stamps stays one, until somebody says it
    again = import_source(report.imported[0].file, tmp_path / "again", ImportProfile())
    with open_episode(again.imported[0].file) as after:
        assert (after.attributes.fps, after.attributes.fps_guessed) == (FILM, True)
    assert any("was a guess" in text for text in again.imported[0].guesses)
    with open_episode(back(tmp_path, tmp_path / "out", fps=12.5, **said)) as after:
        assert (after.attributes.fps, after.attributes.fps_guessed) == (12.5, None)


def test_names_of_episodes_that_differ_are_kept_with_each(tmp_path: Path) -> None:
    data = episode_data(state_dim=3, action_dim=3, attributes={"fps": FILM})
    episodes = [
        export_episode(
            tmp_path,
            dataclasses.replace(data, extra_attributes={"state_names": f"{letter}, y, z"}),
            letter,
        )
        for letter in "ab"
    ]
    for name in ("lerobot-images", "rlds", "robomimic"):
        exported(registry.exporter(name), tmp_path / name, *episodes)
        report = import_source(tmp_path / name, tmp_path / f"{name}-back", ImportProfile())
        found = []
        for one in report.imported:
            with open_episode(one.file) as after:
                found.append(after.state_names)
        assert found == [("a", "y", "z"), ("b", "y", "z")], name


# --- imports that move or cut the steps -------------------------------------------------------------------


def test_the_lineage_of_some_steps() -> None:
    assert lineage_within(LINEAGE, 0, 24) == LINEAGE
    part = lineage_within(LINEAGE, 4, 20)
    assert part is not None
    assert [(piece.source, piece.start, piece.end) for piece in part.pieces] == [(0, 9, 15), (1, 0, 8), (0, 30, 32)]
    assert (part.joined_at, part.jumps_at) == ((6, 14), (14,))
    assert (part.kind, part.sources) == (LINEAGE.kind, LINEAGE.sources)
    # a joint at which the new episode begins is none
    assert lineage_within(LINEAGE, 10, 18) == LINEAGE.model_copy(
        update={"pieces": (Piece(source=1, start=0, end=8),), "joined_at": (), "jumps_at": ()}
    )
    assert lineage_within(LINEAGE, 24, 30) is None
    assert lineage_within(LINEAGE, 5, 5) is None


@pytest.mark.parametrize(("shift", "first", "last"), [(3, 0, 21), (-4, 4, 24), (0, 0, 24)])
@pytest.mark.parametrize("name", ["episodes", "lerobot-images"])
def test_it_moves_with_the_steps_of_an_import(tmp_path: Path, name: str, shift: int, first: int, last: int) -> None:
    exported(registry.exporter(name), tmp_path / "out", joined_episode(tmp_path))
    with open_episode(back(tmp_path, tmp_path / "out", action_shift=shift)) as after:
        assert after.steps == last - first
        assert after.lineage == lineage_within(LINEAGE, first, last)
        assert sum(piece.steps for piece in after.lineage.pieces) == after.steps


def test_a_broken_end_takes_its_part_of_the_lineage_along(tmp_path: Path) -> None:
    episode = joined_episode(tmp_path)
    with h5py.File(episode.path, "r+") as file:
        file["action"][14:] = np.nan
    with open_episode(back(tmp_path, episode.path, keep_good_steps=True)) as after:
        assert after.steps == 14
        assert after.lineage == lineage_within(LINEAGE, 0, 14)
        assert not [text for text in after.warnings if "edit" in text]


# --- rates ------------------------------------------------------------------------------------------------


def test_measured_rates_of_film_and_television_are_exact_and_others_stay() -> None:
    assert [exact_rate(rate) for rate in (29.97, 23.976, 59.94, 29.9701)] == [FILM, 24e3 / 1001, 60e3 / 1001, FILM]
    assert [exact_rate(rate) for rate in (30.0, 29.9, 50.0, 12.5, 25.0)] == [30.0, 29.9, 50.0, 12.5, 25.0]


@pytest.mark.parametrize(
    ("steps", "rate", "digits", "found"),
    [(40, FILM, 9, FILM), (40, 30.0, 9, 30.0), (2000, FILM, 3, FILM), (12, FILM, 3, 30.0), (40, 49.8, 9, 50.0)],
)
def test_stamps_tell_television_from_whole_rates_where_they_are_fine_enough(
    steps: int, rate: float, digits: int, found: float
) -> None:
    assert judge(np.round(np.arange(steps) / rate, digits)).fps == found

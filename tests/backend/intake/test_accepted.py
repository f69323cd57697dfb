"""What is fine comes in unchanged, with all that is known of it and nothing else."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from backend.core.errors import InvalidError
from backend.episodes.frames import thumbnail
from backend.intake.accept import AlreadyThereError, RefusedError, accept
from backend.intake.copying import fresh_copy
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow, EpisodeSource
from dexvla.data.cache import ImageCache
from dexvla.episodes import known
from dexvla.episodes.facts import read_facts
from dexvla.episodes.format import SCENE_ATTRIBUTES, StepSource
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.jpeg import decode_jpeg, encode_jpeg
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError
from tests.support.foreign_files import (
    Edit,
    attribute,
    byte_arrays,
    byte_strings,
    foreign_file,
    opaque,
    png,
    put,
    put_rows,
    rows_of,
)
from tests.support.intake import MakeData, stored_files, take

pytestmark = pytest.mark.slow


def test_a_good_file_comes_in_with_the_same_identity(studio: Studio, dataset_id: str, good: Path) -> None:
    episode_id = take(studio, dataset_id, good)
    with open_episode(good) as original, open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert episode_identity(original) == episode_identity(stored)
        assert original.substep_reasonings == stored.substep_reasonings
        assert original.attributes == stored.attributes
        identity = episode_identity(stored)
    with studio.db.transaction() as db:
        row = db.get(EpisodeRow, episode_id)
        dataset = db.get(Dataset, dataset_id)
        assert row is not None
        assert dataset is not None
        assert (row.identity, row.steps, row.number, row.fps) == (identity, 24, 0, 50.0)
        assert (dataset.action_dim, dataset.cameras) == (14, ["cam_high", "cam_left_wrist", "cam_right_wrist"])


def test_a_training_need_not_read_what_was_taken_in(
    studio: Studio, dataset_id: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = studio.settings.folder.episode(dataset_id, take(studio, dataset_id, good))
    with open_episode(path) as stored:
        facts = read_facts(stored)
    for name in ("read_facts", "file_sha256"):
        monkeypatch.setattr(known, name, lambda file, name=name: pytest.fail(f"{name} of {file}"))
    assert known.KnownEpisodes.below(studio.settings.folder.cache).facts(path) == facts


def test_what_was_guessed_stays_with_the_episode(studio: Studio, dataset_id: str, tmp_path: Path) -> None:
    file = foreign_file(tmp_path / "silent.hdf5", rows_of(encode_jpeg))
    ids = [take(studio, dataset_id, file)]
    foreign_file(tmp_path / "other.hdf5", put("action", np.ones((12, 7), np.float32)))
    source, guess = EpisodeSource.IMPORTED, "fps: 50 Hz, guessed"
    accepted = accept(studio, dataset_id=dataset_id, file=tmp_path / "other.hdf5", source=source, guesses=[guess])
    ids.append(accepted.episode_id)
    with studio.db.transaction(write=False) as db:
        uploaded, imported = (db.get_one(EpisodeRow, episode_id).guesses for episode_id in ids)
    assert imported == [guess]
    assert ["colours of cam_high" in one for one in uploaded] == [True]


@pytest.mark.parametrize("store", [byte_strings, byte_arrays, opaque])
def test_jpeg_rows_of_different_lengths_come_in_byte_for_byte(
    studio: Studio, dataset_id: str, tmp_path: Path, store: Callable[[Callable[[Any], bytes]], Edit]
) -> None:
    file = foreign_file(tmp_path / "rows.hdf5", store(encode_jpeg))
    kept = studio.settings.folder.episode(dataset_id, take(studio, dataset_id, file))
    with open_episode(file) as theirs, open_episode(kept) as ours:
        rows = [
            [one.stored_frame("cam_high", step).tobytes().rstrip(b"\0") for step in range(12)] for one in (theirs, ours)
        ]
        assert len({len(row) for row in rows[0]}) > 1
        assert rows[0] == rows[1]
        assert episode_identity(theirs) == episode_identity(ours)


def test_labels_may_be_left_behind(studio: Studio, dataset_id: str, good: Path) -> None:
    episode_id = take(studio, dataset_id, good, keep_labels=False)
    with open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert stored.substep_reasonings is None


@pytest.mark.parametrize("jpeg", [True, False])
def test_nothing_unknown_is_kept(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData, jpeg: bool
) -> None:
    write_episode(tmp_path / "odd.hdf5", make_data(jpeg=jpeg))
    with h5py.File(tmp_path / "odd.hdf5", "r+") as file:
        file["payload"] = np.zeros(1000)
        file["action"].attrs["note"] = "<script>"
        file.attrs["author"] = "somebody"
    episode_id = take(studio, dataset_id, tmp_path / "odd.hdf5")
    with h5py.File(studio.settings.folder.episode(dataset_id, episode_id)) as file:
        assert "payload" not in file
        assert not file["action"].attrs
        assert "author" not in file.attrs


def test_what_was_drawn_for_pick_colour_is_kept(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    drawn = {"level": "jitter", "split": "held_out", "swapped": True, "named_colour": "red", "other_colour": "blue"}
    data = make_data()
    for number, task in enumerate(("pick_colour", "insertion")):
        attributes = dataclasses.replace(data.attributes, task=task, seed=number)
        episode = dataclasses.replace(data, action=data.action + number, attributes=attributes, extra_attributes=drawn)
        write_episode(tmp_path / f"{task}.hdf5", episode)
    kept = take(studio, dataset_id, tmp_path / "pick_colour.hdf5")
    with h5py.File(studio.settings.folder.episode(dataset_id, kept)) as file:
        assert {name: file.attrs[name] for name in drawn} == drawn
    other = take(studio, dataset_id, tmp_path / "insertion.hdf5")
    with h5py.File(studio.settings.folder.episode(dataset_id, other)) as file:
        assert not drawn.keys() & set(file.attrs)
    with h5py.File(tmp_path / "pick_colour.hdf5", "r+") as file:
        file.attrs["level"] = "x" * 1000
        file["action"][0] += 1  # another episode
    odd = accept(studio, dataset_id=dataset_id, file=tmp_path / "pick_colour.hdf5", source=EpisodeSource.UPLOADED)
    assert any(re.search(r"level is .*at most 64 characters; left out", text) for text in odd.warnings), odd.warnings
    with h5py.File(studio.settings.folder.episode(dataset_id, odd.episode_id)) as file:
        assert {name: file.attrs.get(name) for name in drawn} == {**drawn, "level": None}, "only what does not fit"


def test_what_went_wrong_on_purpose_and_who_commanded_a_step_are_kept(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    data = make_data()
    steps = len(data.action)
    sources = [StepSource.DISTURBANCE, *[StepSource.SCRIPTED] * (steps - 1)]
    said = {"mishaps": "push, miss", "wide_start": True, "execution_noise": 0.01, "correction": "no progress"}
    write_episode(tmp_path / "one.hdf5", dataclasses.replace(data, step_source=sources, extra_attributes=said))
    kept = take(studio, dataset_id, tmp_path / "one.hdf5")
    path = studio.settings.folder.episode(dataset_id, kept)
    with h5py.File(path) as file:
        assert {name: file.attrs[name] for name in said} == said
    with open_episode(path) as episode:
        assert list(episode.step_source or ()) == sources
    with h5py.File(tmp_path / "one.hdf5", "r+") as file:
        file.attrs["mishaps"] = "x" * 1000
        file["action"][0] += 1  # another episode
    odd = accept(studio, dataset_id=dataset_id, file=tmp_path / "one.hdf5", source=EpisodeSource.UPLOADED)
    assert any(re.search(r"mishaps is .*at most 64 characters; left out", text) for text in odd.warnings), odd.warnings
    with h5py.File(studio.settings.folder.episode(dataset_id, odd.episode_id)) as file:
        assert {name: file.attrs.get(name) for name in said} == {**said, "mishaps": None}, "only what does not fit"


def test_the_same_episode_comes_in_once(studio: Studio, dataset_id: str, good: Path) -> None:
    first = take(studio, dataset_id, good)
    with pytest.raises(AlreadyThereError, match="as episode 0") as refused:
        take(studio, dataset_id, good)
    assert refused.value.episode_id == first
    assert len(stored_files(studio)) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"action_dim": 7}, "action dimensions 7, the dataset's episodes have 14"),
        ({"cameras": ("cam_high",)}, "the cameras cam_high, the dataset's episodes have cam_high, cam_left_wrist"),
        ({"attributes": {"fps": 30.0}}, "Hz 30.0, the dataset's episodes have 50.0"),
        ({"attributes": {"render_profile": "full"}}, "render profile full"),
    ],
)
def test_episodes_of_a_dataset_agree(
    studio: Studio,
    dataset_id: str,
    good: Path,
    tmp_path: Path,
    make_data: MakeData,
    given: dict[str, Any],
    message: str,
) -> None:
    take(studio, dataset_id, good)
    write_episode(tmp_path / "other.hdf5", make_data(seed=1, **given))
    with pytest.raises(RefusedError) as refused:
        take(studio, dataset_id, tmp_path / "other.hdf5")
    assert message in str(refused.value)
    assert len(stored_files(studio)) == 1


def test_wide_padding_is_not_taken_over(studio: Studio, dataset_id: str, good: Path) -> None:
    with h5py.File(good, "r+") as file:
        for camera in list(file["observations/images"]):
            name = f"observations/images/{camera}"
            rows = file[name][()]
            del file[name]
            wide = file.create_dataset(name, (24, 2**22), "u1", chunks=(1, 2**22), compression="gzip")
            for step, row in enumerate(rows):
                wide[step, : len(row)] = row
    with open_episode(good) as original:
        identity, frame = episode_identity(original), original.frame("cam_high", 7)
    stored = studio.settings.folder.episode(dataset_id, take(studio, dataset_id, good))
    assert stored.stat().st_size < 2**20
    with open_episode(stored) as copy:
        assert episode_identity(copy) == identity
        assert np.array_equal(copy.frame("cam_high", 7), frame)


def test_packed_pixels_are_read_a_step_at_a_time(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    file = tmp_path / "packed.hdf5"
    write_episode(file, make_data(jpeg=False))
    with h5py.File(file, "r+") as opened:
        name = "observations/images/cam_high"
        pixels = opened[name][()]
        del opened[name]
        opened.create_dataset(name, data=pixels, chunks=(24, 48, 64, 1), compression="gzip")
    with open_episode(file) as original:
        identity = episode_identity(original)
    stored = studio.settings.folder.episode(dataset_id, take(studio, dataset_id, file))
    with h5py.File(stored) as opened:
        assert opened["observations/images/cam_high"].chunks == (1, 48, 64, 3)
        assert opened["observations/images/cam_left_wrist"].compression is None
    with open_episode(stored) as copy:
        assert episode_identity(copy) == identity


def test_odd_labels_and_names_become_plain(studio: Studio, dataset_id: str, good: Path) -> None:
    with h5py.File(good, "r+") as file:
        del file["substep_reasonings"]
        file["substep_reasonings"] = ["Reach\nout\x07"] * 12 + ["x" * 500] * 12
    accepted = accept(
        studio, dataset_id=dataset_id, file=good, source=EpisodeSource.UPLOADED, original_name="a\0b\n\ud800.hdf5"
    )
    assert any("12 substep reasonings are longer than 400" in warning for warning in accepted.warnings)
    with studio.db.transaction(write=False) as db:
        draft, row = db.get(Draft, (accepted.episode_id, Tier.SUBSTEP, 0)), db.get(EpisodeRow, accepted.episode_id)
        assert draft is not None
        assert row is not None
        assert row.original_name == "ab.hdf5"
        assert [(s.end, s.text, s.provenance) for s in draft.segments] == [
            (12, "Reach out", "imported"),
            (24, "x" * 400, "imported"),
        ]


def test_a_rate_that_is_told_later_holds_from_then_on(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    for number, fps in enumerate((None, 30.0)):
        write_episode(tmp_path / f"{number}.hdf5", make_data(seed=number, attributes={"fps": fps}))
        take(studio, dataset_id, tmp_path / f"{number}.hdf5")
    write_episode(tmp_path / "2.hdf5", make_data(seed=2, attributes={"fps": 50.0}))
    with pytest.raises(RefusedError, match=r"Hz 50.0, the dataset's episodes have 30.0"):
        take(studio, dataset_id, tmp_path / "2.hdf5")


def test_marks_made_while_driving_come_along(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    write_episode(tmp_path / "a.hdf5", dataclasses.replace(make_data(), marks=[3, 17]))
    episode_id = take(studio, dataset_id, tmp_path / "a.hdf5")
    with open_episode(studio.settings.folder.episode(dataset_id, episode_id)) as stored:
        assert stored.marks == (3, 17)


def test_marks_outside_the_episode_are_left_out(
    studio: Studio, dataset_id: str, tmp_path: Path, make_data: MakeData
) -> None:
    with pytest.raises(EpisodeError, match="rising steps from 0 to 23"):
        write_episode(tmp_path / "a.hdf5", dataclasses.replace(make_data(), marks=[24]))
    write_episode(tmp_path / "a.hdf5", make_data())
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["marks"] = np.array([9, 3])
    accepted = accept(studio, dataset_id=dataset_id, file=tmp_path / "a.hdf5", source=EpisodeSource.UPLOADED)
    assert "marks holds (9, 3), expected rising steps from 0 to 23; left out" in accepted.warnings
    with open_episode(studio.settings.folder.episode(dataset_id, accepted.episode_id)) as stored:
        assert stored.marks is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("robot", "r" * 10_000, "attribute robot is 'rrrr"),
        ("robot", "r" * 100, "attribute robot is longer than 64 characters; left out"),
        (
            "task",
            "Pick up the red cube on the left side of the table and put it in the box.",
            "attribute task is longer",
        ),
        ("seed", np.uint64(2**64 - 1), "seed is 18446744073709551615"),
    ],
)
def test_attributes_that_do_not_fit_are_left_out(
    studio: Studio, dataset_id: str, good: Path, name: str, value: Any, said: str
) -> None:
    with h5py.File(good, "r+") as file:
        file.attrs[name] = value
    accepted = accept(studio, dataset_id=dataset_id, file=good, source=EpisodeSource.UPLOADED)
    assert any(said in warning for warning in accepted.warnings)
    with h5py.File(studio.settings.folder.episode(dataset_id, accepted.episode_id)) as file:
        assert name not in file.attrs


def test_a_file_without_an_instruction_needs_one(studio: Studio, dataset_id: str, good: Path) -> None:
    with h5py.File(good, "r+") as file:
        del file["language_raw"]
    with pytest.raises(RefusedError, match=r"it has no instruction .*give one with the upload"):
        take(studio, dataset_id, good)
    kept = take(studio, dataset_id, good, instruction="Fold the\nshirt.")
    with studio.db.transaction(write=False) as db:
        row = db.get(EpisodeRow, kept)
        assert row is not None
        assert row.instruction == "Fold the shirt."
    with pytest.raises(InvalidError, match="control characters"):
        take(studio, dataset_id, good, instruction="a\0b")


def test_an_instruction_of_its_own_stays(studio: Studio, dataset_id: str, good: Path) -> None:
    with open_episode(
        studio.settings.folder.episode(dataset_id, take(studio, dataset_id, good, instruction="No."))
    ) as one:
        assert one.instruction == "Transfer the red cube."


def test_times_in_nanoseconds_are_kept_as_seconds(studio: Studio, dataset_id: str, good: Path) -> None:
    with h5py.File(good, "r+") as file:
        del file["timestamp"]
        file["timestamp"] = 1_700_000_000_000_000_000 + np.arange(24) * 20_000_000
    accepted = accept(studio, dataset_id=dataset_id, file=good, source=EpisodeSource.UPLOADED)
    assert any("nanoseconds since 1970" in warning for warning in accepted.warnings)
    with open_episode(studio.settings.folder.episode(dataset_id, accepted.episode_id)) as stored:
        np.testing.assert_array_equal(stored.timestamp, np.arange(24) / 50)


def test_cameras_of_several_kinds_come_in_as_they_are_seen(studio: Studio, dataset_id: str, good: Path) -> None:
    """JPEG rows in two orders of colours beside PNG rows: the same pixels, the same identity."""
    with open_episode(good) as original:
        frames = [original.frame("cam_high", step) for step in range(24)]
    with h5py.File(good, "r+") as file:
        images = file["observations/images"]
        images["cam_left_wrist"].attrs["jpeg_channels"] = "bgr"
        del images["cam_high"]
        put_rows(images, "cam_high", [png(frame) for frame in frames])
    stored = studio.settings.folder.episode(dataset_id, take(studio, dataset_id, good))
    with open_episode(good) as source, open_episode(stored) as copy:
        assert episode_identity(source) == episode_identity(copy)
        assert [copy.is_jpeg(camera) for camera in copy.cameras] == [False, True, True]
        assert [copy.is_swapped(camera) for camera in copy.cameras] == [False, True, False]
        for step, frame in enumerate(frames):
            np.testing.assert_array_equal(copy.frame("cam_high", step), frame)
            for camera in copy.cameras:
                np.testing.assert_array_equal(copy.frame(camera, step), source.frame(camera, step))


def test_what_tells_a_scene_from_others_comes_along(tmp_path: Path, make_data: MakeData) -> None:
    """Attributes of a task that nobody here knows, and their names; twice, as after a download and an import."""
    scene = {"colour": "blue", "distance": 0.2}
    data = dataclasses.replace(make_data(), extra_attributes={**scene, SCENE_ATTRIBUTES: ", ".join(scene)})
    write_episode(tmp_path / "a.hdf5", data)
    for name, copy in (("a", "b"), ("b", "c")):
        with open_episode(tmp_path / f"{name}.hdf5") as episode:
            fresh_copy(episode, tmp_path / f"{copy}.hdf5", keep_labels=True)
    with open_episode(tmp_path / "c.hdf5") as episode:
        assert episode.scene_attributes == scene


def test_the_same_rows_in_two_orders_of_colours_are_two_episodes(
    studio: Studio, dataset_id: str, tmp_path: Path
) -> None:
    """Neither the thumbnail nor the prepared images of one are those of the other."""
    edits = (rows_of(encode_jpeg), attribute("compress", True))
    plain = foreign_file(tmp_path / "plain.hdf5", *edits)
    marked = foreign_file(tmp_path / "marked.hdf5", *edits, attribute("jpeg_channels", "rgb"))
    stored = [studio.settings.folder.episode(dataset_id, take(studio, dataset_id, file)) for file in (plain, marked)]
    shown = [decode_jpeg(thumbnail(path)).astype(int) for path in stored]
    assert np.abs(shown[0] - shown[1]).mean() > 50
    assert np.abs(shown[0] - shown[1][..., ::-1]).mean() < 12
    entries = [build_manifest(find_set(str(path)))[0].episodes[0] for path in stored]
    cache = ImageCache(tmp_path / "cache")
    assert cache.path(entries[0], entries[0].cameras[0]) != cache.path(entries[1], entries[1].cameras[0])

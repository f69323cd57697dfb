"""A file on its way out carries other labels; the file that it is made from stays as it is, byte by byte."""

import dataclasses
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import pytest

from dexvla.episodes.format import LabelSource
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.labelled import EpisodeLabels, with_labels, write_labelled
from dexvla.episodes.overlay import PAGE, Overlay, Stretch
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError
from dexvla.spec import Segment

MakeEpisode = Callable[..., Path]


def joined(path: Path, stretches: Sequence[Stretch]) -> bytes:
    below = path.read_bytes()
    parts = [below[one.offset : one.offset + one.size] if one.data is None else one.data for one in stretches]
    assert [len(part) for part in parts] == [one.size for one in stretches]
    return b"".join(parts)


def labels(*segments: tuple[int, int, str], success: bool | None = True) -> EpisodeLabels:
    substeps = tuple(Segment(start=start, end=end, text=text) for start, end, text in segments)
    return EpisodeLabels(instruction="举起方块", success=success, substeps=substeps, source=LabelSource.HUMAN)


@pytest.mark.parametrize("brought", [("Reach", "Lift"), None])
@pytest.mark.parametrize("jpeg", [True, False])
def test_it_says_what_people_said(
    tmp_path: Path, make_episode: MakeEpisode, brought: Sequence[str] | None, jpeg: bool
) -> None:
    file = make_episode(tmp_path / "a.hdf5", labels=brought, jpeg=jpeg, attributes={"success": False})
    before, changed = file.read_bytes(), file.stat().st_mtime_ns
    stretches = with_labels(file, labels((0, 5, "抓住"), (5, 24, "Lift it high")))
    sent = tmp_path / "sent.hdf5"
    sent.write_bytes(joined(file, stretches))
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (before, changed)
    assert stretches == with_labels(file, labels((0, 5, "抓住"), (5, 24, "Lift it high"))), "resumed, it goes on"
    with open_episode(sent) as episode, open_episode(file) as own:
        assert episode.substep_reasonings == ("抓住",) * 5 + ("Lift it high",) * 19
        assert (episode.instruction, episode.label_source) == ("举起方块", "human")
        assert episode.attributes.success is True
        assert episode_identity(episode) == episode_identity(own)
        assert own.substep_reasonings == (None if brought is None else ("Reach",) * 12 + ("Lift",) * 12)


@pytest.mark.parametrize("jpeg", [True, False])
def test_as_a_new_file_nothing_of_the_old_labels_is_left(tmp_path: Path, make_episode: MakeEpisode, jpeg: bool) -> None:
    file = make_episode(tmp_path / "a.hdf5", labels=("An old secret", "Lift"), jpeg=jpeg)
    before = file.read_bytes()
    said = labels((0, 5, "抓住"), (5, 24, "Lift it high"))
    write_labelled(file, tmp_path / "new.hdf5", said)
    assert file.read_bytes() == before
    assert b"An old secret" in joined(file, with_labels(file, said))
    assert b"An old secret" not in (tmp_path / "new.hdf5").read_bytes()
    with open_episode(tmp_path / "new.hdf5") as episode, open_episode(file) as own:
        assert episode.substep_reasonings == ("抓住",) * 5 + ("Lift it high",) * 19
        assert (episode.instruction, episode.label_source, episode.attributes.success) == ("举起方块", "human", True)
        assert episode_identity(episode) == episode_identity(own)
        assert (episode.warnings, episode.cameras) == (own.warnings, own.cameras)


def test_a_file_that_names_its_data_often_is_not_copied_often(tmp_path: Path, make_episode: MakeEpisode) -> None:
    file = make_episode(tmp_path / "a.hdf5", size=(480, 640), jpeg=False)
    with h5py.File(file, "r+") as opened:
        for number in range(20):
            opened[f"again{number}"] = opened["observations/images"]
    with pytest.raises(EpisodeError, match="the same data under several names"):
        write_labelled(file, tmp_path / "new.hdf5", labels((0, 24, "x")))


def test_other_wordings_of_the_file_stay_unless_others_are_given(tmp_path: Path, make_episode: MakeEpisode) -> None:
    file, sent = make_episode(tmp_path / "a.hdf5"), tmp_path / "sent.hdf5"
    with h5py.File(file, "r+") as opened:
        del opened["language_raw"]
        opened.create_dataset("language_raw", data=["Lift", "举起方块", "Up with it"], dtype=h5py.string_dtype("utf-8"))
    said = labels((0, 24, "x"))
    sent.write_bytes(joined(file, with_labels(file, said)))
    with open_episode(sent) as episode:
        assert episode.wordings.texts == ("举起方块", "Up with it")
    sent.write_bytes(joined(file, with_labels(file, dataclasses.replace(said, paraphrases=("Other",)))))
    with open_episode(sent) as episode:
        assert episode.wordings.texts == ("举起方块", "Other")


def test_an_outcome_that_nobody_knows_is_not_told(tmp_path: Path, make_episode: MakeEpisode) -> None:
    file = make_episode(tmp_path / "a.hdf5", attributes={"success": True})
    sent = tmp_path / "sent.hdf5"
    sent.write_bytes(joined(file, with_labels(file, labels((0, 24, "x"), success=None))))
    with open_episode(sent) as episode:
        assert episode.attributes.success is None


def test_what_is_in_memory_does_not_grow_with_the_frames(tmp_path: Path, make_episode: MakeEpisode) -> None:
    small = make_episode(tmp_path / "small.hdf5", steps=100, size=(32, 32))
    large = make_episode(tmp_path / "large.hdf5", steps=100, size=(480, 640), cameras=["front"])
    held = [sum(len(one.data or b"") for one in with_labels(file, labels((0, 100, "Lift")))) for file in (small, large)]
    assert large.stat().st_size > 5 * small.stat().st_size
    assert held[1] <= held[0] + 2 * PAGE


def test_labels_of_another_episode_are_refused(tmp_path: Path, make_episode: MakeEpisode) -> None:
    file = make_episode(tmp_path / "a.hdf5")
    with pytest.raises(EpisodeError, match="it has 24 steps, its labels are of 20: it holds another episode"):
        with_labels(file, labels((0, 20, "Lift")))


@pytest.mark.parametrize("content", [b"", b"no episode", bytes(4096)])
def test_what_is_no_episode_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.hdf5").write_bytes(content)
    with pytest.raises(EpisodeError, match=r"a\.hdf5: cannot be read as HDF5 .*restore it from a backup"):
        with_labels(tmp_path / "a.hdf5", labels((0, 24, "Lift")))


def test_a_truncated_episode_is_refused(tmp_path: Path, make_episode: MakeEpisode) -> None:
    file = make_episode(tmp_path / "a.hdf5")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(EpisodeError, match="restore it from a backup"):
        with_labels(file, labels((0, 24, "Lift")))


@pytest.mark.parametrize("seed", range(40))
def test_an_overlay_is_like_a_copy_that_was_changed(tmp_path: Path, seed: int) -> None:
    """Random reads, writes (also beyond the end) and truncations, against a copy in memory."""
    chance = random.Random(seed)
    before = chance.randbytes(5 * PAGE + 17)
    file = tmp_path / "plain"
    file.write_bytes(before)
    copy = io.BytesIO(before)
    with file.open("rb") as plain:
        overlay = Overlay(plain)
        for _ in range(30):
            place, length = chance.randrange(10 * PAGE), chance.randrange(3 * PAGE)
            match chance.choice(["write", "write", "read", "truncate"]):
                case "write":
                    data = chance.randbytes(length)
                    for one in (overlay, copy):
                        one.seek(place)
                        one.write(data)
                case "read":
                    overlay.seek(place)
                    copy.seek(place)
                    assert overlay.read(length) == copy.read(length)
                case _:
                    overlay.truncate(place)
                    copy.truncate(place)
                    if (short := place - len(copy.getvalue())) > 0:  # in memory that does not lengthen it
                        copy.seek(0, io.SEEK_END)
                        copy.write(bytes(short))
        assert overlay.seek(0, io.SEEK_END) == len(copy.getvalue())
        overlay.seek(0)
        assert overlay.read() == copy.getvalue()
        assert joined(file, list(overlay.stretches())) == copy.getvalue()
    assert file.read_bytes() == before

"""Whatever pieces an edit takes: numbers exactly, frames byte for byte, labels and marks where they belong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dexvla.editing import apply, many, places, plans
from dexvla.editing.apply import apply_edit
from dexvla.episodes.check import check_file
from dexvla.episodes.format import EpisodeData, StepSource
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import Episode, open_episode
from dexvla.episodes.traits import episode_traits
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError, UserError
from dexvla.spec import Edit, EditKind, Piece, PlannedEdit
from dexvla.spec.survey import Run
from tests.support.episode_data import episode_data

_CAMERAS = ("cam_high", "wrist")


def source(folder: Path, name: str = "a", **values: object) -> Path:
    extra = {key: values.pop(key) for key in ("marks", "step_source", "host_timestamp") if key in values}
    data = episode_data(**{"steps": 24, "size": (16, 16), "cameras": _CAMERAS, **values})  # type: ignore[arg-type]
    path = folder / f"{name}.hdf5"
    write_episode(path, replace(data, **extra))  # type: ignore[arg-type]
    return path


def taken(episodes: list[Episode], pieces: tuple[Piece, ...], part: str) -> np.ndarray:
    return np.concatenate([getattr(episodes[one.source], part)[one.start : one.end] for one in pieces])


@st.composite
def _cases(draw: st.DrawFn) -> tuple[list[int], tuple[Piece, ...], int, int, bool]:
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    pieces = []
    for _ in range(draw(st.integers(1, 5))):
        number = draw(st.integers(0, len(lengths) - 1))
        start = draw(st.integers(0, lengths[number] - 1))
        pieces.append(Piece(source=number, start=start, end=draw(st.integers(start + 1, lengths[number]))))
    return lengths, tuple(pieces), draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.booleans())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=_cases())
def test_pieces_of_any_shape(tmp_path_factory: pytest.TempPathFactory, case: object) -> None:
    lengths, pieces, dims, cameras, jpeg = case  # type: ignore[misc]
    folder = tmp_path_factory.mktemp("pieces")
    paths = [
        source(
            folder,
            str(number),
            seed=number,
            steps=steps,
            action_dim=dims + 1,
            state_dim=dims,
            cameras=[f"cam{camera}" for camera in range(cameras)],
            jpeg=jpeg,
            size=(16, 16) if jpeg else (3, 5),
            marks=tuple(range(0, steps, 3)),
        ) if steps > 1 else source(folder, str(number), seed=number, steps=2, action_dim=dims + 1, state_dim=dims,
            cameras=[f"cam{camera}" for camera in range(cameras)], jpeg=jpeg, size=(16, 16) if jpeg else (3, 5),
            marks=(0,))
        for number, steps in enumerate(lengths)
    ]  # fmt: skip
    done = apply_edit(paths, Edit(kind=EditKind.JOIN, pieces=pieces), folder / "new.hdf5")
    sources = [open_episode(path) for path in paths]
    opened = [one.__enter__() for one in sources]
    try:
        with open_episode(done.file) as new:
            assert new.steps == done.steps == sum(one.steps for one in pieces)
            for part in ("action", "qpos", "qvel"):
                assert getattr(new, part).tobytes() == taken(opened, pieces, part).tobytes()
            assert new.timestamp is not None
            assert (np.diff(new.timestamp) > 0).all()
            position = 0
            for one in pieces:
                for step in range(one.start, one.end):
                    for camera in new.cameras:
                        before = opened[one.source].stored_frame(camera, step).tobytes()
                        after = new.stored_frame(camera, position).tobytes()
                        assert after.rstrip(b"\0") == before.rstrip(b"\0") if jpeg else after == before
                    assert new.substep_reasonings[position] == opened[one.source].substep_reasonings[step]  # type: ignore[index]
                    position += 1
            marks = places.placed_steps([one.marks or () for one in opened], pieces)
            assert new.marks == marks
            assert new.lineage is not None
            assert new.lineage.pieces == pieces
            assert set(new.lineage.jumps_at) <= set(new.lineage.joined_at)
            episode_identities(new)
    finally:
        for context in sources:
            context.__exit__(None, None, None)


def test_labels_are_clipped_moved_and_dropped_when_nothing_is_left() -> None:
    spans = [[(0, 10), (10, 20), (20, 30)]]
    cut = plans.cut(30, 8, 24)
    assert [(one.index, one.start, one.end) for one in places.placed(spans, cut.pieces)] == [(0, 0, 8), (2, 8, 13)]
    inside = plans.cut(30, 12, 15)
    assert [(one.index, one.start, one.end) for one in places.placed(spans, inside.pieces)] == [
        (0, 0, 10),
        (1, 10, 16),  # both sides of the cut are one substep still
        (2, 16, 26),
    ]
    assert places.placed([[(3, 5)]], plans.keep(30, 10, 12).pieces) == ()
    assert places.joints(inside.pieces) == (12,)
    assert places.joints((Piece(start=0, end=5), Piece(start=5, end=9))) == ()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: plans.keep(10, 3, 10), r"steps 3\.\.10 are none of this episode; it has 0\.\.9"),
        (lambda: plans.cut(10, 0, 9), "the whole episode"),
        (lambda: plans.split(10, [0]), "expected rising steps from 1 to 9"),
        (lambda: plans.split(10, [4, 4]), "expected rising steps"),
        (lambda: plans.join([5]), "cannot be joined"),
        (lambda: plans.without(10, [Run(start=0, end=10)]), "nothing would be left"),
        (lambda: plans.without(10, []), "nothing to drop"),
    ],
)
def test_what_cannot_be_done_is_said(make: object, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make()  # type: ignore[operator]


def resting(folder: Path, name: str = "rest") -> Path:
    """60 steps of rest, 60 of motion, 80 of rest, 60 of motion, 40 of rest, at 50 Hz."""
    data = episode_data(steps=300, size=(16, 16), cameras=("cam",), state_dim=2, action_dim=2)
    qpos = np.zeros((300, 2), np.float32)
    qpos[60:120, 0] = np.linspace(0, 1, 60)
    qpos[120:200, 0] = 1
    qpos[200:260, 0] = np.linspace(1, 0, 60)
    path = folder / f"{name}.hdf5"
    attributes = replace(data.attributes, success=True)
    write_episode(path, replace(data, qpos=qpos, action=qpos, qvel=None, attributes=attributes))
    return path


def test_rest_is_proposed_by_motion_and_a_moment_of_it_stays(tmp_path: Path) -> None:
    with open_episode(resting(tmp_path)) as episode:
        ends = plans.idle_runs(episode.qpos, 50.0, ends_only=True)
        everywhere = plans.idle_runs(episode.qpos, 50.0, ends_only=False)
    assert len(ends) == 2
    assert len(everywhere) == 3
    assert 40 <= ends[0].end <= 55
    assert 265 <= ends[1].start <= 280
    assert everywhere[1].start > 125
    assert everywhere[1].end < 195
    still = np.zeros((100, 2))
    assert plans.idle_runs(still, 50.0, ends_only=False) == ()


def test_what_is_cut_out_is_a_gap_on_the_clock_and_no_late_step(tmp_path: Path) -> None:
    path = resting(tmp_path)
    done = apply_edit([path], plans.cut(300, 100, 219), tmp_path / "new.hdf5")
    with open_episode(done.file) as new:
        assert new.timestamp is not None
        assert new.timestamp.tolist() == [step / 50 for step in [*range(100), *range(220, 300)]]
        assert new.lineage is not None
        assert new.lineage.joined_at == (100,)
        assert new.lineage.jumps_at == ()  # the arm is where it was: up to there and back
        assert episode_traits(new).late_steps == 0


def test_no_chunk_is_learnt_across_a_jump_but_across_dropped_rest(tmp_path: Path) -> None:
    path = resting(tmp_path)
    with open_episode(path) as episode:
        idle = plans.idle_runs(episode.qpos, 50.0, ends_only=False)
    apply_edit([path], plans.without(300, idle), tmp_path / "rested.hdf5")
    apply_edit([path], plans.cut(300, 80, 109), tmp_path / "jumped.hdf5")
    rested, _ = build_manifest(find_set(str(tmp_path / "rested.hdf5")))
    jumped, _ = build_manifest(find_set(str(tmp_path / "jumped.hdf5")))
    assert rested.episodes[0].learn == ()
    assert [(one.start, one.end) for one in jumped.episodes[0].learn] == [(0, 80), (80, 270)]


def test_an_edited_episode_is_edited_again(tmp_path: Path) -> None:
    path = resting(tmp_path)
    apply_edit([path], plans.cut(300, 80, 109), tmp_path / "one.hdf5")
    done = apply_edit([tmp_path / "one.hdf5"], plans.keep(270, 50, 199), tmp_path / "two.hdf5")
    with open_episode(done.file) as new, open_episode(tmp_path / "one.hdf5") as one:
        assert new.lineage is not None
        assert new.lineage.joined_at == (30,)
        assert new.lineage.jumps_at == (30,)
        assert new.lineage.sources == (episode_identities(one).value,)
    assert check_file(done.file).ok


def test_how_it_ended_is_told_by_the_part_that_ends_it(tmp_path: Path) -> None:
    path = resting(tmp_path)
    parts = [
        apply_edit([path], edit, tmp_path / f"part{number}.hdf5") for number, edit in enumerate(plans.split(300, [150]))
    ]
    with open_episode(parts[0].file) as first, open_episode(parts[1].file) as last:
        assert first.attributes.success is None
        assert last.attributes.success is True
    assert any("outcome" in note for note in parts[0].notes)
    trimmed = apply_edit([path], plans.keep(300, 0, 270), tmp_path / "trimmed.hdf5")
    assert trimmed.notes == ()
    short = apply_edit([path], plans.keep(300, 0, 230), tmp_path / "short.hdf5")
    assert "steps of motion at its end are not" in short.notes[0]


def test_who_commanded_what_is_never_lost_silently(tmp_path: Path) -> None:
    steps = [StepSource.POLICY] * 12 + [StepSource.HUMAN] * 12
    told, silent = source(tmp_path, "told", step_source=steps), source(tmp_path, "silent", seed=1)
    with pytest.raises(EpisodeError, match="does not say who commanded its steps"):
        apply_edit([told, silent], plans.join([24, 24]), tmp_path / "new.hdf5")
    assert not list(tmp_path.glob("*new*"))
    done = apply_edit([told], plans.keep(24, 10, 13), tmp_path / "kept.hdf5")
    with open_episode(done.file) as new:
        assert new.step_source == (StepSource.POLICY,) * 2 + (StepSource.HUMAN,) * 2


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"state_dim": 7}, "state dimensions 7, but .* has 14"),
        ({"cameras": ("cam_high",)}, "cameras cam_high, but"),
        ({"size": (24, 16)}, "JPEG rows of 24 x 16, that of .* JPEG rows of 16 x 16"),
        ({"jpeg": False}, "holds pixels"),
        ({"attributes": {"fps": 30.0}}, "rate in Hz 30.0, but"),
        ({"instruction": "Something else."}, "its instruction is 'Something else.'"),
    ],
)
def test_only_what_agrees_is_joined(tmp_path: Path, other: dict[str, object], complaint: str) -> None:
    paths = [source(tmp_path, "a"), source(tmp_path, "b", seed=1, **other)]
    with pytest.raises(EpisodeError, match=complaint):
        apply_edit(paths, plans.join([24, 24]), tmp_path / "new.hdf5")


def test_cameras_and_dimensions_get_new_names(tmp_path: Path) -> None:
    path = source(tmp_path, action_dim=3, state_dim=2)
    edit = plans.rename(24).model_copy(update={"cameras": {"wrist": "hand"}, "dimensions": {"1": "elbow"}})
    done = apply_edit([path], edit, tmp_path / "new.hdf5")
    with open_episode(done.file) as new:
        assert new.cameras == ("cam_high", "hand")
        assert new.dimension_names["state_names"] == ("dimension 0", "elbow")
        assert new.dimension_names["action_names"] == ("dimension 0", "elbow", "dimension 2")
    again = plans.rename(24).model_copy(update={"dimensions": {"elbow": "wrist", "2": "grip"}})
    done = apply_edit([done.file], again, tmp_path / "again.hdf5")
    with open_episode(done.file) as new:
        assert new.dimension_names["action_names"] == ("dimension 0", "wrist", "grip")
    unknown = plans.rename(24).model_copy(update={"cameras": {"left": "hand"}})
    with pytest.raises(EpisodeError, match="no camera 'left'; it has cam_high, wrist"):
        apply_edit([path], unknown, tmp_path / "none.hdf5")


def test_a_broken_frame_can_be_cut_out(tmp_path: Path) -> None:
    data: EpisodeData = episode_data(steps=10, size=(16, 16), cameras=("cam",))
    rows = list(data.images["cam"])
    rows[4] = b"\xff\xd8 broken"
    write_episode(tmp_path / "a.hdf5", replace(data, images={"cam": rows}))
    with pytest.raises(EpisodeError, match="camera cam, step 3: not a whole JPEG"):
        apply_edit([tmp_path / "a.hdf5"], plans.keep(10, 1, 9), tmp_path / "b.hdf5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]
    done = apply_edit([tmp_path / "a.hdf5"], plans.cut(10, 4, 4), tmp_path / "b.hdf5")
    assert check_file(done.file).ok


def test_all_edits_are_looked_at_before_one_is_written(tmp_path: Path) -> None:
    path = source(tmp_path)
    good = PlannedEdit(sources=(str(path),), name="one", edit=plans.keep(24, 0, 5))
    bad = PlannedEdit(sources=(str(path),), name="two", edit=plans.keep(99, 0, 98))
    with pytest.raises(EpisodeError, match=r"steps 0\.\.98 are none"):
        many.plan_edits([good, bad], tmp_path / "out")
    assert apply.check_edit([path], good.edit) == ()

"""What `check` finds in real files."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dexvla.episodes.check import check_episodes, check_file


def test_a_good_file_has_no_errors(demos: Path) -> None:
    report = check_file(demos / "episode_0.hdf5")
    assert report.ok
    assert report.warnings == []
    assert (report.steps, report.action_dim, report.state_dim, report.label_coverage) == (24, 14, 14, 1.0)
    assert report.cameras == {name: (48, 64) for name in ("cam_high", "cam_left_wrist", "cam_right_wrist")}


def test_the_upstream_example_is_good(seed_example: Path) -> None:
    report = check_episodes(sorted(seed_example.glob("*.hdf5")), every_frame=False)
    assert report.ok
    assert report.files[0].action_dim == 10
    assert not report.files[0].compressed
    assert report.files[1].compressed


def test_every_fault_of_a_file_is_named(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["action"][3, 2] = np.nan
        file["observations/images/cam_high"][5] = 0
        file["timestamp"][4] = 0.0
        del file["language_raw"]
        labels = file["substep_reasonings"]
        labels[0] = " "
    report = check_file(path)
    text = "\n".join(report.errors)
    assert "action: 1 values are NaN or infinite, first at step 3, dimension 2" in text
    assert "1 frame of cam_high cannot be decoded, first at step 5" in text
    assert any("timestamp runs backwards at step 4" in warning for warning in report.warnings)
    assert "language_raw holds nothing" in text
    assert report.label_coverage == pytest.approx(23 / 24)
    assert any("1 of 24 steps have an empty substep reasoning" in warning for warning in report.warnings)


def test_files_that_do_not_fit_together_are_found(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    for number in range(2):
        make_episode(tmp_path / f"episode_{number}.hdf5", seed=number)
    odd = make_episode(tmp_path / "episode_2.hdf5", seed=2, action_dim=10, cameras=("cam_high",))
    report = check_episodes(sorted(tmp_path.glob("*.hdf5")))
    assert all(file.ok for file in report.files)
    assert not report.ok
    assert any("action dimension: most files have 14" in error and str(odd) in error for error in report.errors)
    assert any("cameras: most files have" in error for error in report.errors)


def test_a_file_without_labels_is_fine_but_says_so(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    report = check_file(make_episode(tmp_path / "episode_0.hdf5", labels=None))
    assert report.ok
    assert report.label_coverage == 0
    assert any("no substep_reasonings" in warning for warning in report.warnings)

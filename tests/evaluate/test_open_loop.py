"""Open-loop evaluation against policies whose answer is known, on real files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dexvla.act.base import ActionChunk, PolicyInput, PolicyMetadata
from dexvla.data.chunks import action_source
from dexvla.data.statistics import norm_stats
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import load_episode
from dexvla.errors import EpisodeError
from dexvla.evaluate.open_loop import evaluate_open_loop
from dexvla.spec import CameraSpec, OpenLoopDetails


class Remembers:
    """A policy that knows an episode by heart: it finds the step by the state and answers what was recorded."""

    def __init__(self, path: Path, *, off_by: float = 0.0, says: str = "Reach for the cube", chunk: int = 8) -> None:
        self._episode = load_episode(path)
        self._off_by, self._says, self._chunk = off_by, says, chunk
        self.metadata = PolicyMetadata(
            cameras=(CameraSpec(name="cam_high", height=48, width=64),),
            action_dim=self._episode.action.shape[1],
            state_dim=self._episode.qpos.shape[1],
            chunk_size=chunk,
            checkpoint="remembers",
        )

    def reset(self, seed: int) -> None: ...

    def close(self) -> None: ...

    def infer(self, observation: PolicyInput) -> ActionChunk:
        step = int(np.argmin(np.abs(self._episode.qpos - observation.state).sum(axis=1)))
        actions = np.zeros((self._chunk, self._episode.action.shape[1]), np.float32)
        recorded = action_source(self._episode.action, step, sim=self._episode.sim)[: self._chunk]
        actions[: len(recorded)] = recorded + self._off_by
        return ActionChunk(actions=actions, normalised=actions, reasoning=self._says, infer_ms=1.0)


@pytest.mark.parametrize("sim", [True, False])
def test_a_policy_that_repeats_the_recording_has_no_error(
    tmp_path: Path, make_episode: Callable[..., Path], sim: bool
) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5", attributes={"sim": sim}, action_dim=10, state_dim=7)
    data, motions = build_manifest(find_set(str(path)), cameras=("cam_high",))
    stats = norm_stats(motions)
    report = evaluate_open_loop(policy=Remembers(path), stats=stats, data=data, stride=4, plots=tmp_path / "plots")
    assert report.predictions == 6
    assert report.error == pytest.approx((0.0,) * 10, abs=1e-6)
    assert report.reasoning_match == pytest.approx(0.5), "the second half of the episode has another label"
    plot = report.episodes[0].plot
    assert plot is not None
    with Image.open(tmp_path / "plots" / plot) as image:
        assert image.width > 800
        assert len(image.convert("RGB").getcolors(2**24) or []) > 50


def test_errors_are_in_units_of_the_action_and_of_its_range(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    data, motions = build_manifest(find_set(str(path)), cameras=("cam_high",))
    stats = norm_stats(motions)
    identity = frozenset({data.episodes[0].identity})
    report = evaluate_open_loop(policy=Remembers(path, off_by=0.25), stats=stats, data=data, stride=6, trained=identity)
    assert report.error == pytest.approx((0.25,) * 14, abs=1e-5)
    span = np.asarray(stats.action_max) - np.asarray(stats.action_min)
    assert report.error_of_range == pytest.approx(tuple(0.25 / span), rel=1e-4)
    assert report.error_at[1] == pytest.approx(float(np.mean(0.25 / span)), rel=1e-4)
    assert set(report.error_at) == {1}, "chunks of 8 steps have no 10th"
    assert report.episodes[0].held_out is False


def test_an_episode_that_does_not_fit_the_checkpoint_is_refused(
    tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    path = make_episode(tmp_path / "a" / "episode_0.hdf5")
    other = make_episode(tmp_path / "b" / "episode_0.hdf5", action_dim=10, state_dim=7, cameras=("left",))
    data, motions = build_manifest(find_set(str(other)))
    with pytest.raises(
        EpisodeError, match="10 action and 7 state dimensions; the checkpoint was trained with 14 and 14"
    ):
        evaluate_open_loop(policy=Remembers(path), stats=norm_stats(motions), data=data)


@pytest.mark.parametrize(("stride", "chunk", "steps"), [(4, 8, 24), (10, 8, 8 + 8 + 4)])
def test_details_hold_what_a_page_draws(
    tmp_path: Path, make_episode: Callable[..., Path], stride: int, chunk: int, steps: int
) -> None:
    """Each prediction's executed part against the recording, and what was said against the label, per episode."""
    path = make_episode(tmp_path / "in" / "episode_0.hdf5")
    make_episode(tmp_path / "in" / "episode_1.hdf5", labels=None)
    data, motions = build_manifest(find_set(str(tmp_path / "in")), cameras=("cam_high",))
    policy = Remembers(path, off_by=0.25, chunk=chunk)
    folder = tmp_path / "details"
    report = evaluate_open_loop(policy=policy, stats=norm_stats(motions), data=data, stride=stride, details=folder)
    assert [episode.details for episode in report.episodes] == ["episode-000.json", "episode-001.json"]
    assert sorted(file.name for file in folder.iterdir()) == ["episode-000.json", "episode-001.json"]
    first, second = (OpenLoopDetails.model_validate_json(file.read_bytes()) for file in sorted(folder.iterdir()))
    assert (len(first.steps), first.identity, first.fps) == (steps, data.episodes[0].identity, 50)
    assert sorted(set(first.steps)) == list(first.steps)
    action = load_episode(path).action
    assert np.asarray(first.recorded) == pytest.approx(action[list(first.steps)], abs=1e-6)
    assert np.asarray(first.predicted) - np.asarray(first.recorded) == pytest.approx(0.25, abs=1e-5)
    said = [(item.step, item.said, item.label) for item in first.reasoning]
    assert said[0] == (0, "Reach for the cube", "Reach for the cube")
    assert said[-1] == (24 - (24 % stride or stride), "Reach for the cube", "Lift the cube")
    assert {item.label for item in second.reasoning} == {None}
    assert len((folder / "episode-000.json").read_text().splitlines()) == 1

"""What the data of a run becomes: groups with weights, statistics from where the task says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dexvla.episodes.reader import load_episode
from dexvla.errors import UserError
from dexvla.spec import TrainSpec
from dexvla.train.prepare import held_out, load_data, prepare_data, prepare_policy, save_data
from dexvla.train.runs import Run

MakeSpec = Callable[..., TrainSpec]


def test_weights_and_statistics_of_a_task_reach_the_run(
    tmp_path: Path, make_episode: Callable[..., Path], make_spec: MakeSpec
) -> None:
    make_episode(tmp_path / "one" / "episode_0.hdf5", seed=0)
    make_episode(tmp_path / "two" / "episode_0.hdf5", seed=1)
    wide = make_episode(tmp_path / "wide" / "episode_0.hdf5", seed=2)
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text("cubes: {dataset_dir: [one, two], sample_weights: [1, 3], stats_dir: wide}")
    spec = make_spec(data=[{"path": f"{tasks}#cubes", "weight": 2.0}])
    data = prepare_data(spec)
    assert [len(source) for source in data.sources] == [1, 1]
    assert data.weights == (2.0, 6.0)
    with load_episode(wide) as episode:
        np.testing.assert_allclose(data.stats.action_min, episode.action.min(axis=0) - 1e-4, atol=1e-6)
    run = Run(tmp_path / "run")
    save_data(run, data)
    assert load_data(run) == data
    (tmp_path / "one" / "episode_0.hdf5").unlink()
    with pytest.raises(UserError, match="an episode of this run is gone"):
        load_data(run)


def test_statistics_of_other_dimensions_are_refused(
    tmp_path: Path, make_episode: Callable[..., Path], make_spec: MakeSpec
) -> None:
    make_episode(tmp_path / "one" / "episode_0.hdf5")
    make_episode(tmp_path / "wide" / "episode_0.hdf5", action_dim=10, state_dim=7)
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text("cubes: {dataset_dir: one, stats_dir: wide}")
    with pytest.raises(UserError, match="10 action and 7 state dimensions; it is named for the statistics of cubes"):
        prepare_data(make_spec(data=[{"path": f"{tasks}#cubes"}]))


def test_adding_episodes_moves_few_held_out_ones(make_spec: MakeSpec, demos: Path) -> None:
    entry = prepare_data(make_spec()).manifest.episodes[0]
    many = tuple(entry.model_copy(update={"identity": f"{number:064x}"}) for number in range(100))
    before = {entry.identity for entry in held_out(many[:90], 0.2, seed=1)}
    after = {entry.identity for entry in held_out(many, 0.2, seed=1)}
    assert len(before) == 18
    assert len(after) == 20
    assert len(before & after) >= 16
    assert {entry.identity for entry in held_out(many, 0.2, seed=2)} != after


def test_a_released_scaledp_file_starts_stage_2(make_spec: Callable[..., TrainSpec], tmp_path: Path) -> None:
    """load_pretrain_dit of the reference: what was taken and what stays fresh is in the checkpoint's manifest."""
    spec = make_spec(seed=1)
    donor, _ = prepare_policy(spec, prepare_data(spec))
    nets = {f"policy.noise_pred_net.{name}": tensor + 1 for name, tensor in donor.expert.state_dict().items()}
    nets = {name: tensor for name, tensor in nets.items() if "combine" not in name}
    torch.save({"nets": {"nets": nets, "ema": {}}}, tmp_path / "scaledp.ckpt")
    spec = make_spec(pretrained_expert=str(tmp_path / "scaledp.ckpt"), seed=9)
    policy, report = prepare_policy(spec, prepare_data(spec))
    for name, tensor in policy.expert.state_dict().items():
        taken = not name.startswith(("combine.", "cond_obs_emb."))
        assert torch.equal(tensor, donor.expert.state_dict()[name] + 1) == taken, name
    fresh = report["pretrained_expert"]["fresh"]
    assert {name.split(".")[1] for name in fresh} == {"combine", "cond_obs_emb"}

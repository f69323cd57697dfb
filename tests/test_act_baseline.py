"""The baseline that policies are compared with is ACT: its published shape, and it learns what it is shown."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from dexvla.act.base import PolicyInput
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode

FOLDER = Path(__file__).parents[1] / "benchmarks" / "act"


@pytest.fixture
def act() -> Iterator[tuple[ModuleType, ModuleType]]:
    """benchmarks/act/model.py and baseline.py."""
    sys.path.insert(0, str(FOLDER))
    try:
        import baseline
        import model

        yield model, baseline
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("baseline", "model"):
            sys.modules.pop(name, None)


def test_the_published_sizes_have_about_eighty_million_parameters(act: tuple[ModuleType, ModuleType]) -> None:
    """ "around 80M parameters" (arXiv 2304.13705, section 4.3), with four cameras and chunks of 100 actions of 14."""
    model, _ = act
    with torch.device("meta"):
        built = model.Act(model.ActSizes(), cameras=4, chunk_size=100, action_dim=14, state_dim=14)
    count = sum(parameter.numel() for parameter in built.parameters())
    assert 80e6 < count < 86e6
    small = model.Act(model.SMALL, cameras=2, chunk_size=100, action_dim=14, state_dim=14)
    assert sum(parameter.numel() for parameter in small.parameters()) < 8e6


def test_padding_and_the_order_of_cameras_matter_as_they_should(act: tuple[ModuleType, ModuleType]) -> None:
    model, _ = act
    torch.manual_seed(0)
    built = model.Act(model.SMALL, cameras=2, chunk_size=10, action_dim=3, state_dim=4).eval()
    pictures = torch.randint(0, 256, (2, 2, 56, 56, 3), dtype=torch.uint8)
    states, actions = torch.randn(2, 4), torch.randn(2, 10, 3)
    is_pad = torch.arange(10).expand(2, 10) >= 6
    other = actions.clone()
    other[:, 6:] = 7.0

    def loss(chunk: torch.Tensor) -> float:
        torch.manual_seed(1)
        return float(built.losses(pictures, states, chunk, is_pad)[0].detach())

    assert loss(actions) == pytest.approx(loss(other), rel=1e-6), "what is padding was looked at"
    assert not torch.allclose(built.predict(pictures, states), built.predict(pictures.flip(1), states), atol=1e-5)
    assert not torch.allclose(built.predict(pictures, states), built.predict(pictures, -states), atol=1e-5)


def test_it_learns_demonstrations_by_heart_goes_on_and_acts(
    act: tuple[ModuleType, ModuleType], demos: Path, tmp_path: Path
) -> None:
    _, baseline = act
    first = baseline.train(str(demos), tmp_path / "act", minutes=0.1, side=56, chunk=10, batch=4, rate=5e-4)
    later = baseline.train(str(demos), tmp_path / "act", minutes=0.4, side=56, chunk=10, batch=4, rate=5e-4)
    assert later["step"] > first["step"]
    assert later["l1"] < first["l1"]
    policy = baseline.ActPolicy(tmp_path / "act")
    manifest, _ = build_manifest(find_set(str(demos)))
    with open_episode(manifest.episodes[0].path) as episode:
        images = {name: episode.frame(name, 3) for name in episode.cameras}
        seen = PolicyInput(images=images, state=episode.qpos[3], instruction="unheard")
        chunk = policy.infer(seen)
        again = policy.infer(seen)
        assert chunk.actions.shape == (10, episode.action.shape[1])
    assert np.array_equal(chunk.actions, again.actions)

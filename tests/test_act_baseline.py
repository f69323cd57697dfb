"""The baseline that policies are compared with is ACT: its published shape, and it learns what it is shown."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dexvla.act.base import PolicyInput
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode
from dexvla.errors import CheckpointError
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "benchmarks" / "act"


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
    images = torch.randint(0, 256, (2, 2, 56, 56, 3), dtype=torch.uint8)
    states, actions = torch.randn(2, 4), torch.randn(2, 10, 3)
    is_pad = torch.arange(10).expand(2, 10) >= 6
    other = actions.clone()
    other[:, 6:] = 7.0

    def loss(chunk: torch.Tensor) -> float:
        torch.manual_seed(1)
        return float(built.losses(images, states, chunk, is_pad)[0].detach())

    assert loss(actions) == pytest.approx(loss(other), rel=1e-6), "what is padding was looked at"
    assert not torch.allclose(built.predict(images, states), built.predict(images.flip(1), states), atol=1e-5)
    assert not torch.allclose(built.predict(images, states), built.predict(images, -states), atol=1e-5)


def test_it_learns_demonstrations_by_heart_goes_on_and_acts(
    act: tuple[ModuleType, ModuleType], demos: Path, tmp_path: Path
) -> None:
    _, baseline = act
    out, settings = tmp_path / "act", {"side": 56, "chunk": 10, "batch": 4}
    first = baseline.train(str(demos), out, minutes=0.05, rate=5e-4, **settings)
    later = baseline.train(str(demos), out, minutes=0.2, rate=5e-4, **settings)
    assert later["step"] > first["step"]
    assert later["l1"] < first["l1"]
    manifest, _ = build_manifest(find_set(str(demos)))
    with open_episode(manifest.episodes[0].path) as episode:
        images = {name: episode.frame(name, 3) for name in episode.cameras}
        seen = PolicyInput(images=images, state=episode.qpos[3], instruction="unheard")
        dimensions = episode.action.shape[1]
    policy = baseline.ActPolicy(out)
    chunk = policy.infer(seen)
    assert chunk.actions.shape == (10, dimensions)
    assert np.array_equal(chunk.actions, policy.infer(seen).actions)

    # The time is over: one step more, which at the rate 0 changes nothing.
    last = baseline.train(str(demos), out, minutes=0.2, rate=0.0, **settings)
    assert last["step"] == later["step"] + 1
    assert np.array_equal(chunk.actions, baseline.ActPolicy(out).infer(seen).actions)
    state = out / "state" / f"step-{last['step']:07d}"
    assert sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file()) == [
        Path("act.json"),
        *(state.relative_to(out) / name for name in ("manifest.json", "model.safetensors", "optimizer.safetensors")),
    ]
    steps = {float(value) for name, value in load_file(state / "optimizer.safetensors").items() if "|step" in name}
    assert steps == {float(last["step"])}, "the optimiser began anew"


def test_a_training_that_was_killed_goes_on_from_what_it_saved(
    act: tuple[ModuleType, ModuleType], demos: Path, tmp_path: Path
) -> None:
    """Killed between the state and the facts, or within the state: the facts name the step that counts."""
    _, baseline = act
    out, settings = tmp_path / "act", {"minutes": 0.0, "side": 56, "chunk": 10, "batch": 4}
    assert baseline.train(str(demos), out, **settings)["step"] == 1
    facts = (out / "act.json").read_bytes()
    shutil.copytree(out / "state", tmp_path / "state")
    assert baseline.train(str(demos), out, **settings)["step"] == 2
    shutil.copytree(tmp_path / "state", out / "state", dirs_exist_ok=True)
    (out / "act.json").write_bytes(facts)
    (out / "state" / ".step-0000003.0123abcd.tmp").mkdir()
    assert baseline.train(str(demos), out, **settings)["step"] == 2
    assert [folder.name for folder in (out / "state").iterdir()] == ["step-0000002"]
    baseline.ActPolicy(out)


def test_a_damaged_policy_is_refused(act: tuple[ModuleType, ModuleType], demos: Path, tmp_path: Path) -> None:
    _, baseline = act
    baseline.train(str(demos), tmp_path / "act", minutes=0.0, side=56, chunk=10, batch=4)
    file = tmp_path / "act" / "state" / "step-0000001" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: sha256 is"):
        baseline.ActPolicy(tmp_path / "act")

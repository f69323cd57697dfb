"""A base model made on the spot and policies on it."""

import shutil
from pathlib import Path

import pytest
import torch

from dexvla.model.checkpoint import new_policy, save_policy
from dexvla.model.init_model import init_model
from dexvla.model.policy import DexVLA
from dexvla.spec import Fusion, Initialisation, NormStats
from tests.support.model_data import policy_spec


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """Beside other tests two would wait for each other, and sums must not depend on the number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base") / "tiny"
    init_model(directory, seed=3)
    return directory


@pytest.fixture(scope="session")
def norm_stats() -> NormStats:
    return NormStats(
        action_mean=(0.0,) * 10,
        action_std=(1.0,) * 10,
        action_min=(-1.0,) * 10,
        action_max=(2.0,) * 10,
        qpos_mean=(0.5,) * 7,
        qpos_std=(0.1,) * 7,
        steps=12,
    )


@pytest.fixture(scope="session")
def policy(base: Path, norm_stats: NormStats) -> DexVLA:
    """Upstream's initialisation, so that nothing is closed by a zero."""
    return new_policy(base, policy_spec(), initialisation=Initialisation.UPSTREAM, seed=1, norm_stats=norm_stats)


@pytest.fixture(scope="session")
def tinyvla(base: Path) -> DexVLA:
    return new_policy(base, policy_spec(Fusion.TINYVLA), initialisation=Initialisation.UPSTREAM, seed=1)


@pytest.fixture(scope="module")
def written(policy: DexVLA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written") / "step-12"
    save_policy(policy, directory, manifest={"step": 12, "parent": None, "data": ["episodes"]})
    return directory


@pytest.fixture
def checkpoint(written: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "checkpoint"))

"""Numbers of the reference implementation: float32 results of a tiny model, its tables, its images."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dexvla.model.checkpoint import load_policy
from dexvla.model.policy import DexVLA
from tests.support.parity_data import find_parity


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """Beside other tests two would wait for each other, and sums must not depend on the number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def parity() -> Path:
    return find_parity()


@pytest.fixture(scope="session")
def tiny(parity: Path) -> DexVLA:
    return load_policy(parity / "tiny")


@pytest.fixture(scope="session")
def inputs(parity: Path) -> dict[str, Tensor]:
    return load_file(parity / "tiny" / "inputs.safetensors")


@pytest.fixture(scope="session")
def outputs(parity: Path) -> dict[str, Tensor]:
    return load_file(parity / "tiny" / "outputs.safetensors")


@pytest.fixture(scope="session")
def tables(parity: Path) -> dict[str, Tensor]:
    return load_file(parity / "tiny" / "tables.safetensors")


@pytest.fixture(scope="session")
def info(parity: Path) -> dict[str, Any]:
    return json.loads((parity / "tiny" / "info.json").read_text())

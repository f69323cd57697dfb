"""A dataset to take files into, and a file that is fine."""

from pathlib import Path

import pytest

from backend.core.db import new_id
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from dexvla.episodes.writer import write_episode
from tests.support.intake import MakeData


@pytest.fixture
def dataset_id(studio: Studio) -> str:
    with studio.db.transaction() as db:
        row = Dataset(id=new_id(), name="cubes")
        db.add(row)
        return row.id


@pytest.fixture
def good(tmp_path: Path, make_data: MakeData) -> Path:
    write_episode(tmp_path / "good.hdf5", make_data())
    return tmp_path / "good.hdf5"

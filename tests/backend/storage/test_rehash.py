"""`studio verify` reads everything again: what is changed, what is missing, and what is none of its business."""

import time
from pathlib import Path

import h5py
import numpy as np

from backend.core.db import utc_now
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow
from tests.support.labelling_data import Labels, MakeData, ok
from tests.support.people import SignIn
from worker.admin.rehash import Rehashed, rehash


def quiet(found: Rehashed, what: str) -> None: ...


def test_what_changed_and_what_is_missing_is_said(client: SignIn, studio: Studio, make_data: MakeData) -> None:
    labels, folder = Labels(studio, make_data, 4), studio.settings.folder
    version = ok(client("operator").post(f"{labels.url}/versions", json={"include_unlabelled": True}))
    whole = rehash(studio, mib_per_second=None, on_file=quiet)
    assert (whole.total, whole.checked, whole.wrong, whole.whole) == (5, 5, False, True)

    def path(number: int) -> Path:
        return folder.episode(labels.dataset_id, labels.ids[number])

    with h5py.File(path(0), "r+") as file:
        file["observations/qpos"][3, 2] += np.float32(0.001)
    path(1).unlink()
    path(2).write_bytes(path(2).read_bytes()[:1000])
    with studio.db.transaction() as db:
        freed = db.get_one(EpisodeRow, labels.ids[3])
        freed.deleted_at = freed.freed_at = utc_now()
    manifest = folder.manifest(version["id"])
    manifest.write_text(manifest.read_text().replace('"Lift"', '"Drop"'))
    found = rehash(studio, mib_per_second=None, on_file=quiet)
    assert found.total == 4
    first, second, third = found.changed
    assert first.startswith("episode 0 of cubes")
    assert "another motion or other images" in first
    assert "not a readable HDF5 file" in second
    assert third.startswith("manifest of version 1")
    assert [one.partition(" of ")[0] for one in found.missing] == ["episode 1"]


def test_reading_keeps_to_its_rate_and_can_be_stopped(studio: Studio, make_data: MakeData) -> None:
    Labels(studio, make_data, 3)

    def stop(found: Rehashed, what: str) -> None:
        if found.checked == 2:
            raise KeyboardInterrupt

    stopped = rehash(studio, mib_per_second=None, on_file=stop)
    assert (stopped.checked, stopped.total, stopped.whole, stopped.wrong) == (2, 3, False, False)
    started = time.monotonic()
    slow = rehash(studio, mib_per_second=stopped.size / 2 / 2**20, on_file=quiet)
    assert slow.whole
    assert time.monotonic() - started > 0.5

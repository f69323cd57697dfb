"""Numbers in a file size nothing: asked over HTTP, a real server stays small. Measured, not computed."""

import http.client
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest

from backend.core.roles import Role
from backend.core.settings import Settings
from backend.intake.accept import accept
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow, EpisodeSource
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.processes import children

READ = (
    "",
    "/motion",
    "/tracks",
    "/candidates",
    "/proposals",
    "/draft",
    "/draft/check",
    "/thumbnail",
    "/file",
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[LiveStudio]:
    settings = Settings(data=tmp_path_factory.mktemp("memory") / "studio", redis_url=broker_url)
    with live_studio(settings) as live:
        live.cookie("ada", Role.OPERATOR)
        yield live


def peak_mib(live: LiveStudio) -> dict[int, float]:
    """Most memory that each process of the API ever had, by pid."""
    own = live.process.pid
    pids = [own, *children(own)]
    found = [(pid, re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())) for pid in pids]
    return {pid: int(high[1]) / 1024 for pid, high in found if high is not None}


@pytest.mark.parametrize("fps", [3e8, 1e-300])
def test_the_rate_that_a_file_claims_takes_no_memory(
    live: LiveStudio, tmp_path: Path, make_episode: Callable[..., Path], fps: float
) -> None:
    """One GET once took 13 GB: a kernel was as long as the rate said. The file and its row as an older studio let them
    in; as an upload it is refused."""
    with live.parts.db.transaction() as db:
        dataset = Dataset(name=f"rate {fps}")
        db.add(dataset)
    file = make_episode(tmp_path / "a.hdf5")
    episode = accept(live.parts, dataset_id=dataset.id, file=file, source=EpisodeSource.UPLOADED).episode_id
    with h5py.File(live.parts.settings.folder.episode(dataset.id, episode), "a") as opened:
        opened.attrs["fps"] = fps
    if fps == 3e8:
        with live.parts.db.transaction() as db:
            db.get_one(EpisodeRow, episode).fps = fps
    before = peak_mib(live)
    for part in READ:
        status, _ = raw(live, f"/api/episodes/{episode}{part}")
        assert status < 500, part
    after = peak_mib(live)
    assert after.keys() == before.keys(), "a process was killed"
    assert max(after[pid] - before[pid] for pid in before) < 256


def raw(live: LiveStudio, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=120)
    try:
        connection.request("GET", path, headers={"Cookie": live.cookie("ada")})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()

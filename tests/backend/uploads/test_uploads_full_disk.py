"""An upload on a disk that fills up meanwhile: what arrived stays, and it goes on when there is room."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.core.settings import Settings
from tests.support.labelling_data import ok, refusal
from tests.support.people import SignIn
from tests.support.robot_hosts import until
from tests.support.small_disk import fill, small_disk

pytestmark = pytest.mark.slow

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def settings(tmp_path: Path, broker_url: str) -> Iterator[Settings]:
    (tmp_path / "studio").mkdir()
    with small_disk(tmp_path / "studio", kib=200 * 1024):
        settings = Settings(data=tmp_path / "studio", redis_url=broker_url)
        settings.folder.prepare()
        yield settings


def test_it_goes_on_when_there_is_room(
    client: SignIn, settings: Settings, tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    operator = client("operator")
    dataset = ok(operator.post("/api/datasets", json={"name": "one"}))["id"]
    content = make_episode(tmp_path / "a.hdf5", steps=60, size=(240, 320)).read_bytes()
    assert len(content) > 3 * 2**20
    listed = {"files": [{"path": "a.hdf5", "size": len(content)}]}
    url = ok(operator.post(f"/api/datasets/{dataset}/uploads", json=listed))["items"][0]["url"]

    def send(at: int, end: int) -> Any:
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(at)}
        return operator.patch(url, content=content[at:end], headers={**TUS, **kind})

    def there() -> int:
        return int(operator.head(url, headers=TUS).headers["Upload-Offset"])

    assert send(0, 100_000).status_code == 204
    large = fill(settings.data)
    assert "Disk" in refusal(send(100_000, len(content)), 507)["message"].title()
    assert there() >= 100_000
    large.unlink()
    at = there()
    assert send(at, len(content)).status_code == 204
    until(lambda: ok(operator.get(url))["state"] == "taken_in", 90)
    other = {"files": [{"path": "b.hdf5", "size": 150 * 2**20}]}
    assert "Nothing was sent" in refusal(operator.post(f"/api/datasets/{dataset}/uploads", json=other), 507)["message"]

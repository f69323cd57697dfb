"""kill -9 of the API at random moments while somebody labels: what was acknowledged is stored.

KILLS=n kills so often (default 6), KILL_SEED=n repeats the moments of a run that failed. `make kill` kills 30 times.
"""

import http.client
import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from backend.core.settings import Settings
from backend.studio.context import Studio
from tests.support.databases import make_tables
from tests.support.labelling_data import STEPS, Labels, MakeData
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.robot_hosts import broker

pytestmark = pytest.mark.clockless

KILLS = int(os.environ.get("KILLS", "6"))  # each start of the server costs seconds of a processor
_SECONDS = (0.0, 0.5)  # after the first save that a server acknowledged


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(data=tmp_path / "studio")
    settings.folder.prepare()
    with broker(settings):
        yield settings


class Annotator:
    """Saves as fast as it is answered, as a page does: an edit is done once it is acknowledged."""

    def __init__(self, episode: str) -> None:
        self.url = f"{episode}/draft"
        self.said = 0  # number of the newest text that was sent
        self.acknowledged: dict[str, Any] | None = None

    def open(self, live: LiveStudio) -> dict[str, Any]:
        status, stored = live.request("GET", self.url, who="annotator")
        assert status == 200, stored
        found: dict[str, Any] = stored
        return found

    def work(self, live: LiveStudio, edit: int, begun: threading.Event) -> None:
        """Until the server is gone."""
        with suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
            while True:
                self.said += 1
                cut = 1 + self.said % (STEPS - 1)
                segments = [
                    {"start": 0, "end": cut, "text": f"Text {self.said}"},
                    {"start": cut, "end": STEPS, "text": "抓住 الأحمر"},
                ]
                status, stored = live.request("PUT", self.url, {"edit": edit, "segments": segments}, who="annotator")
                assert status == 200, stored
                self.acknowledged, edit = stored, stored["edit"]
                begun.set()


def test_kills_of_the_server_lose_no_acknowledged_edit(settings: Settings, make_data: MakeData) -> None:
    """Of the edits that nobody acknowledged, at most the one under way is stored, and then whole."""
    seed = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(2**32))
    chance = random.Random(seed)
    parts = Studio.open(settings)
    make_tables(parts.db)
    ada = Annotator(Labels(parts, make_data).episode())
    parts.close()
    cookie: str | None = None
    for _ in range(KILLS):
        with live_studio(settings) as live:
            if cookie is not None:
                live._cookies["annotator"] = cookie
            cookie = live.cookie("annotator")
            stored = ada.open(live)
            check(ada, stored, seed)
            begun = threading.Event()
            person = threading.Thread(target=ada.work, args=(live, stored["edit"], begun))
            person.start()
            assert begun.wait(60), "no save was acknowledged"
            threading.Event().wait(chance.uniform(*_SECONDS))
            live.process.kill()
            person.join(60)
            assert not person.is_alive()
    with live_studio(settings) as live:
        live._cookies["annotator"] = cookie or ""
        check(ada, ada.open(live), seed)
    assert ada.said > KILLS


def check(ada: Annotator, stored: dict[str, Any], seed: int = 0) -> None:
    known = ada.acknowledged
    if known is None:
        assert stored["edit"] == 0
    elif stored["edit"] == known["edit"]:
        assert stored["segments"] == known["segments"], f"KILL_SEED={seed}"
    else:
        assert stored["edit"] == known["edit"] + 1, f"KILL_SEED={seed}: an acknowledged edit is lost"
        assert stored["segments"][0]["text"] == f"Text {ada.said}"
        assert [one["end"] for one in stored["segments"]][-1] == STEPS


def test_the_check_sees_a_lost_edit() -> None:
    ada = Annotator("")
    ada.acknowledged = {"edit": 3, "segments": [{"start": 0, "end": STEPS, "text": "Text 3"}]}
    with pytest.raises(AssertionError):
        check(ada, {"edit": 2, "segments": [{"start": 0, "end": STEPS, "text": "Text 2"}]})

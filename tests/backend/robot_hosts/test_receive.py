"""Two tries of one recording at once: the second waits until the first is taken in, and nothing is refused."""

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from backend.core.errors import ConflictError
from backend.robot_hosts import receive, service
from backend.studio.context import Studio
from dexvla.live.hosting import Handover


def test_a_second_try_waits_for_the_end_of_the_first(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"recorded"
    file = studio.settings.folder.uploads / "far-arm.r1.hdf5"
    file.write_bytes(content)
    asked = Handover(dataset_id="d", by="ada", size=len(content), sha256=hashlib.sha256(content).hexdigest())
    taken, going_on, tries = threading.Event(), threading.Event(), list[Path]()

    def take_in(_: Studio, path: Path, **__: Any) -> str:
        tries.append(path)
        taken.set()
        assert going_on.wait(30)
        assert path.read_bytes() == content, "nobody took it away meanwhile"
        return "e1"

    monkeypatch.setattr(service, "take_in", take_in)
    answers: list[str | None] = []
    never = threading.Event()

    def end(stop: threading.Event = never) -> None:
        try:
            answers.append(receive.end(studio, "far-arm", "r1", asked, stop).episode_id)
        except ConflictError as error:
            answers.append(f"has {error.detail}")

    first, second = threading.Thread(target=end), threading.Thread(target=end)
    first.start()
    assert taken.wait(30)
    second.start()
    over = threading.Event()
    over.set()
    end(over)  # one that nobody waits for gives up
    assert answers == [f"has {{'received': {len(content)}}}"]
    going_on.set()
    first.join(30)
    second.join(30)
    assert sorted(map(str, answers[1:])) == ["e1", "has {'received': 0}"], "the second is sent again, and found"
    assert tries == [file]

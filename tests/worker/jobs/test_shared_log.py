"""A job's log goes to a store elsewhere when something was added, and takes little of the line however long it is."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from backend.store.base import StoreAwayError, Stored
from worker.jobs import shared_log


class Away:
    """A store that has what was shared, by key, and does not answer where `away` says so."""

    remote = True

    def __init__(self) -> None:
        self.shared: list[bytes] = []
        self.away = False

    def share(self, source: Path, file: Stored) -> None:
        if self.away:
            raise StoreAwayError("no answer")
        content = source.read_bytes()
        assert (file.key, file.size) == ("jobs/1/log", len(content))
        self.shared.append(content)


class Turns:
    """An event that nobody waits for: something happens instead each time, then it is set."""

    def __init__(self, *happens: Callable[[], Any]) -> None:
        self.happens, self.waits = list(happens), list[float]()

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        if self.happens:
            self.happens.pop(0)()
            return False
        return True


def test_only_what_was_added_to_is_sent_and_a_long_one_less_often(tmp_path: Path) -> None:
    log = tmp_path / "jobs" / "1" / "log"
    log.parent.mkdir(parents=True)
    log.touch()
    store = Away()
    studio: Any = SimpleNamespace(store=store, settings=SimpleNamespace(data=tmp_path))

    def add(content: bytes, *, away: bool = False) -> Callable[[], None]:
        def happens() -> None:
            store.away = away
            with log.open("ab") as file:
                file.write(content)

        return happens

    until: Any = Turns(
        add(b""), add(b"one\n"), add(b""), add(b"two\n", away=True), add(b""), add(b"x" * 2**24), add(b"")
    )
    shared_log._work(studio, log, until)
    assert store.shared == [b"one\n", b"one\ntwo\n", b"one\ntwo\n" + b"x" * 2**24]
    assert until.waits[:6] == [15.0] * 6
    assert until.waits[6:] == [(2**24 + 8) / 2**18] * 2

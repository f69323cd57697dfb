"""Trials of the dead-man with real keys: while Shift and a key are held and the robot moves, something takes the
keyboard or the page away, and the robot has to be at rest in time. For the test and for benchmarks/deadman.py.

Times are of the monotonic clock, which the robot's host, X and this process share; the page's own is measured against
it. Where the browser tells of what happens (an event), time counts from before the key, button or call that makes it
happen; where it tells nothing, from the first key repeat that did not come.
"""

import itertools
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, Playwright, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.browser import window
from tests.support.browser_studio import Person
from tests.support.desktop import Desktop, desktop

DELAY, INTERVAL = 0.660, 0.040  # X's key repeat as it is installed
SETTLED = 0.6  # seconds without movement after which none comes any more
_ROBOT = "/live/"

# What the page was told of the keyboard, and native things to stumble over.
_INIT = """
window.lastRepeat = null;
window.addEventListener("keydown", (event) => { if (event.repeat) window.lastRepeat = event.timeStamp; }, true);
"""
_TRAPS = """() => {
  if (document.getElementById("traps")) return;
  const traps = document.createElement("div");
  traps.id = "traps";
  traps.style = "position:fixed;left:250px;bottom:8px;z-index:5000;display:flex;gap:8px;background:#fff;color:#000";
  traps.innerHTML = '<select id="trap-select"><option>one<option>two<option>three</select>' +
    '<input type="file" id="trap-file"><span draggable="true" id="trap-drag">drag me along</span>';
  document.body.append(traps);
}"""


class Robot:
    """What the robot is commanded, step by step, as its host tells it over the state socket."""

    def __init__(self, base: str, robot: str, cookies: str) -> None:
        self._rows: list[tuple[float, tuple[float, ...]]] = []
        self.state: dict[str, Any] = {}
        self._ended = threading.Event()
        url = f"{base.replace('http', 'ws', 1)}/api/live/{robot}/state"
        self._thread = threading.Thread(target=self._listen, args=(url, {"Cookie": cookies, "Origin": base}))
        self._thread.start()

    def _listen(self, url: str, headers: dict[str, str]) -> None:
        with connect(url, additional_headers=headers, compression=None) as socket:
            while not self._ended.is_set():
                try:
                    state = json.loads(socket.recv(timeout=5))
                except (TimeoutError, ConnectionClosed):
                    continue
                self.state = state
                samples = state["samples"] or {"time": [], "action": []}
                self._rows.extend(zip(samples["time"], map(tuple, samples["action"]), strict=True))
                del self._rows[:-1000]

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def moves(self) -> list[float]:
        """When steps began whose command differed from the one before."""
        rows = list(self._rows)
        return [after[0] for before, after in itertools.pairwise(rows) if before[1] != after[1]]

    @property
    def told_until(self) -> float:
        """When the newest step began that is known."""
        return self._rows[-1][0] if self._rows else -math.inf

    def moved_within(self, seconds: float) -> bool:
        moves = self.moves()
        return bool(moves) and moves[-1] > time.monotonic() - seconds


@dataclass(frozen=True, kw_only=True)
class Result:
    """rest_ms: from the event, or from the first missing repeat, to the last command that differed from the one before;
    0 where it came earlier."""

    kind: str
    by: str
    rest_ms: float


class Bench:
    """Somebody in front of a browser with a window, a live page and a robot that follows the keys."""

    def __init__(self, browser: Browser, hand: Desktop, address: str, screenshots: Path | None) -> None:
        self.browser, self.hand = browser, hand
        self.person = Person(browser, address, screenshots, windowed=True)
        self.person.context.add_init_script(_INIT)
        self.person.page.close()
        self.robot: Robot | None = None
        self._up = False
        self.dice = random.Random(7)

    def sign_up(self, address: str) -> None:
        self.person.page = self.person.context.new_page()
        self.person.sign_up(address)
        self.name = self._robot_name()
        cookies = "; ".join(f"{one.get('name')}={one.get('value')}" for one in self.person.context.cookies())
        self.robot = Robot(self.person.base, self.name, cookies)
        self.open()

    def _robot_name(self) -> str:
        end = time.monotonic() + 120
        while True:
            ready = [one["name"] for one in self.person.get("/robots") if one["status"]["state"] == "holding"]
            if ready:
                return str(ready[0])
            assert time.monotonic() < end, "no robot holds"
            self.person.page.wait_for_timeout(500)

    def close(self) -> None:
        self.hand.lift_all()
        if self.robot:
            self.robot.close()

    def open(self) -> None:
        """A live page, in front, that drives slowly."""
        if self.person.page.is_closed():
            self.person.page = self.person.context.new_page()
        for other in self.person.context.pages:
            if other is not self.person.page:
                other.close()
        page = self.person.page
        self.cdp = self.person.context.new_cdp_session(page)
        self.person.go(_ROBOT + self.name)
        expect(self.person.at("live-state")).to_have_attribute("data-state", "holding")
        # Playwright makes every page believe that it has the keyboard, anew with each address
        self.cdp.send("Emulation.setFocusEmulationEnabled", {"enabled": False})
        self.person.at("live-tab-drive").click()
        self.person.at("live-drive").check()
        slider = self.person.at("live-speed").get_by_role("slider")
        slider.focus()
        slider.press("Home")
        page.evaluate(_TRAPS)
        page.bring_to_front()
        expect(self.person.at("live-drive-state")).to_have_text("Hold Shift")
        self._synchronise()

    def _synchronise(self) -> None:
        """The page's clock against ours, by the quickest of some questions."""
        best = 1.0
        for _ in range(30):
            before = time.monotonic()
            there = self.person.page.evaluate("performance.now()") / 1000
            after = time.monotonic()
            if after - before < best:
                best, self._offset = after - before, (before + after) / 2 - there

    def last_repeat(self) -> float | None:
        told = self.person.page.evaluate("window.lastRepeat")
        return None if told is None else told / 1000 + self._offset

    def point_at(self, selector: str) -> None:
        """Move the mouse to the middle of an element."""
        box = self.person.page.locator(selector).first.bounding_box()
        assert box is not None, selector
        x, y = self.person.page.evaluate("[screenX, screenY + outerHeight - innerHeight]")
        self.hand.move(x + box["x"] + box["width"] / 2, y + box["y"] + box["height"] / 2)

    def ready(self) -> None:
        """The page has the keyboard and the robot holds, whatever the last trial left."""
        if self.person.page.is_closed():
            self.open()
        page = self.person.page
        if self.person.get("/robots")[0]["status"]["state"] == "stopped":  # an Escape of ours that reached the page
            self.person.post(f"/robots/{self.name}/arm", {})
        expect(self.person.at("live-drive-state")).to_have_text("Hold Shift")
        for _ in range(3):
            self.point_at('[data-testid="live-drive-state"]')
            self.hand.click()
            with suppress(Error):
                page.wait_for_function(
                    "document.hasFocus() && !document.activeElement.matches('input, select, button')", timeout=3000
                )
                page.evaluate("window.lastRepeat = null")
                return
        raise AssertionError("the page does not get the keyboard")

    def has_focus(self) -> bool:
        return bool(self.person.page.evaluate("document.hasFocus()"))

    def drive(self, *, repeated: bool = True) -> float:
        """Hold Shift and a key until the robot moves and, if wanted, the key was repeated. When it was pressed."""
        self._up = not self._up
        pressed = self.hand.press("Shift_L", "e" if self._up else "q")
        self.wait(lambda: self.robot is not None and self.robot.moved_within(0.1), "the robot does not move")
        if repeated:
            self.wait(lambda: self.last_repeat() is not None, "the system repeats no key")
        time.sleep(self.dice.uniform(0.05, 0.25))
        return pressed

    @staticmethod
    def wait(condition: Callable[[], bool], otherwise: str, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(otherwise)
            time.sleep(0.01)

    def renderers(self) -> list[int]:
        told = self.browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        return [one["id"] for one in told["processInfo"] if one["type"] == "renderer"]


@contextmanager
def bench(playwright: Playwright, address: str, folder: Path, screenshots: Path | None) -> Iterator[Bench]:
    """A browser with a window on a desktop of its own, signed up at a new studio."""
    with desktop(folder / "desktop.log") as hand:
        browser = window(playwright, hand)
        made = Bench(browser, hand, address, screenshots)
        try:
            made.sign_up(address)
            yield made
        finally:
            made.close()
            with suppress(Error):
                browser.close()

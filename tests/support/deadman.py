"""Trials of the dead-man with real keys: while Shift and a key are held and the robot moves, something takes the
keyboard or the page away, and the robot has to be at rest in time. For the test and for benchmarks/deadman.py.

Times are of the monotonic clock, which the robot's host, X and this process share; the page's own is measured against
it. Where the browser tells of what happens (an event), time counts from before the key, button or call that makes it
happen; where it tells nothing, from the first key repeat that did not come.
"""

import itertools
import json
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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

    def __init__(self, browser: Browser, hand: Desktop, address: str, screenshots: Path) -> None:
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


# --- what may happen ----------------------------------------------------------------------------------------------

Kind = Callable[[Bench, ExitStack], float | None]
"""Makes it happen while the robot moves; what undoes it goes onto the stack. Returns since when the robot should brake,
or None: since the first repeat that did not come."""


def _settle(bench: Bench) -> None:
    """Time in which to hold the keys on, and then to let them go where nobody hears it."""
    time.sleep(SETTLED)
    bench.hand.lift_all()


def menu_of_camera(bench: Bench, undo: ExitStack) -> float:
    bench.point_at('[data-testid^="live-camera-"]')
    return bench.hand.click(3)


def menu_of_field(bench: Bench, undo: ExitStack) -> float:
    bench.point_at('[data-testid="live-record-instruction"]')
    return bench.hand.click(3)


def select_list(bench: Bench, undo: ExitStack) -> float:
    bench.point_at("#trap-select")
    undo.callback(bench.hand.click)
    return bench.hand.click()


def file_dialog(bench: Bench, undo: ExitStack) -> float:
    bench.point_at("#trap-file")

    def close() -> None:
        bench.wait(lambda: not bench.has_focus(), "no dialog opened")
        while not bench.has_focus():
            bench.hand.tap("Escape")
            time.sleep(0.3)

    undo.callback(close)
    return bench.hand.click()


def drag(bench: Bench, undo: ExitStack) -> float:
    bench.point_at("#trap-drag")
    undo.callback(bench.hand.button, 1, False)
    bench.hand.button(1, True)
    x, y = 600, 500
    now = bench.hand.move(x, y)
    bench.hand.move(x + 20, y + 20)
    return now


def print_dialog(bench: Bench, undo: ExitStack) -> float:
    def close() -> None:
        time.sleep(2.0)  # the page stands still while it is printed and cannot be asked
        bench.hand.tap("Escape")
        time.sleep(0.5)

    undo.callback(close)
    now = time.monotonic()
    bench.person.page.evaluate("void setTimeout(() => print())")
    return now


def developer_tools(bench: Bench, undo: ExitStack) -> float:
    """Shift is held already."""

    def close() -> None:
        bench.wait(lambda: not bench.has_focus(), "no tools opened", seconds=30)
        while not bench.has_focus():
            bench.hand.tap("Control_L", "Shift_L", "i")
            time.sleep(1.0)

    undo.callback(close)
    return bench.hand.tap("Control_L", "i")


def full_screen(bench: Bench, undo: ExitStack) -> float:
    return _set_window(bench, undo, {"windowState": "fullscreen"}, back={"windowState": "normal"})


def key_of_the_browser(bench: Bench, undo: ExitStack) -> float:
    undo.callback(bench.hand.tap, "F6")  # the place where addresses are typed, and back
    return bench.hand.tap("F6")


def switch_windows(bench: Bench, undo: ExitStack) -> float:
    def back() -> None:
        bench.hand.lift("Tab", "Alt_L")

    undo.callback(back)
    return bench.hand.press("Alt_L", "Tab")


def other_window(bench: Bench, undo: ExitStack) -> float:
    return undo.enter_context(bench.hand.other_window())


def other_tab(bench: Bench, undo: ExitStack) -> float:
    undo.callback(bench.person.page.bring_to_front)
    now = time.monotonic()
    other = bench.person.context.new_page()
    undo.callback(other.close)
    return now


def _set_window(bench: Bench, undo: ExitStack, bounds: dict[str, Any], back: dict[str, Any]) -> float:
    window = bench.cdp.send("Browser.getWindowForTarget")["windowId"]
    undo.callback(bench.cdp.send, "Browser.setWindowBounds", {"windowId": window, "bounds": back})
    now = time.monotonic()
    bench.cdp.send("Browser.setWindowBounds", {"windowId": window, "bounds": bounds})
    return now


def smaller_window(bench: Bench, undo: ExitStack) -> float:
    size = {"width": 1380, "height": 920}
    return _set_window(bench, undo, {name: value - 100 for name, value in size.items()}, back=size)


def minimised_window(bench: Bench, undo: ExitStack) -> float:
    return _set_window(bench, undo, {"windowState": "minimized"}, back={"windowState": "normal"})


def closed_tab(bench: Bench, undo: ExitStack) -> float:
    now = time.monotonic()
    bench.person.page.close()
    return now


def stopped_page(bench: Bench, undo: ExitStack) -> float:
    """As when a machine sleeps: the page's process stands still, and goes on later as if nothing had been."""
    pids = bench.renderers()
    now = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        undo.callback(os.kill, pid, signal.SIGCONT)
    return now


def briefly_stopped_page(bench: Bench, undo: ExitStack) -> float:
    """As above, but shorter than the silence after which the host wants a new press. The keys' end is not seen: another
    program has the keyboard."""
    pids = bench.renderers()
    grab = undo.enter_context(bench.hand.grabbed_keyboard())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(0.3)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    return grab


def killed_page(bench: Bench, undo: ExitStack) -> float:
    pids = bench.renderers()
    now = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    undo.callback(bench.person.page.close)
    return now


def paused_in_debugger(bench: Bench, undo: ExitStack) -> float:
    bench.cdp.send("Debugger.enable")
    undo.callback(bench.cdp.send, "Debugger.disable")
    now = time.monotonic()
    bench.cdp.send("Debugger.pause")
    return now


def taken_keyboard(bench: Bench, undo: ExitStack) -> None:
    """As a screen lock, a native menu or an input method takes it: no event tells the page."""
    undo.enter_context(bench.hand.grabbed_keyboard())


def lifted_newest(bench: Bench, undo: ExitStack) -> float:
    bench.hand.press("d")
    time.sleep(0.2)
    return bench.hand.lift("d")


EVENTS: dict[str, Kind] = {
    "context menu of a camera": menu_of_camera,
    "context menu of a field": menu_of_field,
    "select list": select_list,
    "file dialog": file_dialog,
    "drag": drag,
    "print dialog": print_dialog,
    "developer tools": developer_tools,
    "full screen": full_screen,
    "a key of the browser": key_of_the_browser,
    "Alt+Tab": switch_windows,
    "another window": other_window,
    "another tab": other_tab,
    "window of another size": smaller_window,
    "minimised window": minimised_window,
    "newest of two keys lifted": lifted_newest,
    "keyboard taken (lock, menu, IME)": taken_keyboard,
    "page stopped": stopped_page,
    "page stopped for 0.3 s": briefly_stopped_page,
    "page in the debugger": paused_in_debugger,
    "closed tab": closed_tab,
    "page killed": killed_page,
}
NO_REPEAT = "key repeat off"
KINDS = (*EVENTS, NO_REPEAT)


def trial(bench: Bench, kind: str) -> Result:
    """One of KINDS. Raises TimeoutError where the robot did not move beforehand, so that there was nothing to end."""
    assert bench.robot is not None
    bench.ready()
    with ExitStack() as undo:
        undo.callback(bench.hand.lift_all)
        since: float | None
        if kind == NO_REPEAT:
            undo.callback(bench.hand.repeats, True)
            bench.hand.repeats(False)
            since, by = bench.drive(repeated=False) + DELAY, "missing repeat"
            time.sleep(max(0.0, since - time.monotonic()))
        else:
            bench.drive()
            since = EVENTS[kind](bench, undo)
            by = "event"
        _settle(bench)
        if since is None:
            last = bench.last_repeat()
            assert last is not None
            since, by = last + INTERVAL, "missing repeat"
        settled = time.monotonic()
        bench.wait(lambda: bench.robot is not None and bench.robot.told_until > settled, "the host is not heard")
        moves = bench.robot.moves()
        if not any(since - 0.15 - DELAY < at <= since for at in moves):
            raise TimeoutError(f"{kind}: the robot did not move beforehand")
        return Result(kind=kind, by=by, rest_ms=round(max(0.0, moves[-1] - since) * 1000, 1))


@contextmanager
def bench(playwright: Playwright, address: str, folder: Path, screenshots: Path) -> Iterator[Bench]:
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

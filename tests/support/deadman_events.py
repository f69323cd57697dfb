"""What may take the keyboard or the page away while the robot is driven, and a trial of each."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tests.support.deadman import DELAY, INTERVAL, SETTLED, Bench, Result

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

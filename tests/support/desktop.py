"""A desktop of its own: Xvfb, a window manager, and a keyboard and a mouse whose events are the real ones.

What Playwright types goes into a page past the system. Here keys and buttons are pressed at the X server (XTEST), which
repeats held keys and gives events to whoever has the focus or a grab, as on a person's machine.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_uint, c_ulong, c_void_p
from pathlib import Path

PROGRAMS = ("Xvfb", "openbox")
WIDTH, HEIGHT = 1400, 950
_NOW = 0  # CurrentTime
_ASYNC = 1  # GrabModeAsync


def missing() -> str | None:
    """What a machine lacks for a desktop, or None."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    try:
        _libraries()
    except OSError as error:
        lacking.append(str(error))
    return (
        f"{', '.join(lacking)} missing (make test installs xvfb, openbox and libxtst6 with apt as root)"
        if lacking
        else None
    )


def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    x, xtst = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
    x.XOpenDisplay.restype, x.XOpenDisplay.argtypes = c_void_p, [c_char_p]
    x.XDefaultRootWindow.restype, x.XDefaultRootWindow.argtypes = c_ulong, [c_void_p]
    x.XStringToKeysym.restype, x.XStringToKeysym.argtypes = c_ulong, [c_char_p]
    x.XKeysymToKeycode.restype, x.XKeysymToKeycode.argtypes = c_uint, [c_void_p, c_ulong]
    x.XSync.argtypes = [c_void_p, c_int]
    x.XCloseDisplay.argtypes = [c_void_p]
    x.XGrabKeyboard.argtypes = [c_void_p, c_ulong, c_int, c_int, c_int, c_ulong]
    x.XUngrabKeyboard.argtypes = [c_void_p, c_ulong]
    x.XCreateSimpleWindow.restype = c_ulong
    x.XCreateSimpleWindow.argtypes = [c_void_p, c_ulong, c_int, c_int, c_uint, c_uint, c_uint, c_ulong, c_ulong]
    x.XMapRaised.argtypes = x.XDestroyWindow.argtypes = [c_void_p, c_ulong]
    x.XAutoRepeatOff.argtypes = x.XAutoRepeatOn.argtypes = [c_void_p]
    xtst.XTestFakeKeyEvent.argtypes = xtst.XTestFakeButtonEvent.argtypes = [c_void_p, c_uint, c_int, c_ulong]
    xtst.XTestFakeMotionEvent.argtypes = [c_void_p, c_int, c_int, c_int, c_ulong]
    return x, xtst


class Desktop:
    """Keys by X's names ("Shift_L", "q"), places in pixels of the screen. Every method returns when the server is done;
    those that press and release return time.monotonic() from before they did."""

    def __init__(self, display: str) -> None:
        self.display = display
        self._x, self._xtst = _libraries()
        self._server = self._x.XOpenDisplay(display.encode())
        if not self._server:
            raise OSError(f"no X server answers at {display}")
        self._root = self._x.XDefaultRootWindow(self._server)
        self._down: set[str] = set()

    def _key(self, name: str, down: bool) -> float:
        code = self._x.XKeysymToKeycode(self._server, self._x.XStringToKeysym(name.encode()))
        assert code, f"no key {name} on this keyboard"
        now = time.monotonic()
        self._xtst.XTestFakeKeyEvent(self._server, code, down, _NOW)
        self._x.XSync(self._server, 0)
        return now

    def press(self, *names: str) -> float:
        """Hold keys down, one after the other."""
        now = time.monotonic()
        for name in names:
            self._key(name, True)
            self._down.add(name)
        return now

    def lift(self, *names: str) -> float:
        now = time.monotonic()
        for name in names:
            self._key(name, False)
            self._down.discard(name)
        return now

    def lift_all(self) -> None:
        self.lift(*tuple(self._down))

    def tap(self, *names: str) -> float:
        """Press keys together and let them go."""
        now = self.press(*names)
        self.lift(*reversed(names))
        return now

    def move(self, x: float, y: float) -> float:
        now = time.monotonic()
        self._xtst.XTestFakeMotionEvent(self._server, -1, round(x), round(y), _NOW)
        self._x.XSync(self._server, 0)
        return now

    def button(self, number: int, down: bool) -> float:
        """1: left, 2: middle, 3: right."""
        now = time.monotonic()
        self._xtst.XTestFakeButtonEvent(self._server, number, down, _NOW)
        self._x.XSync(self._server, 0)
        return now

    def click(self, number: int = 1) -> float:
        now = self.button(number, True)
        self.button(number, False)
        return now

    def repeats(self, on: bool) -> float:
        """The system's key repeat, as its settings switch it."""
        now = time.monotonic()
        (self._x.XAutoRepeatOn if on else self._x.XAutoRepeatOff)(self._server)
        self._x.XSync(self._server, 0)
        return now

    @contextmanager
    def grabbed_keyboard(self) -> Iterator[float]:
        """All keys go to us and no window loses the focus, as while a native menu is open or the screen is locked."""
        now = time.monotonic()
        answer = self._x.XGrabKeyboard(self._server, self._root, 1, _ASYNC, _ASYNC, _NOW)
        assert answer == 0, f"the keyboard was not given to us ({answer})"
        try:
            yield now
        finally:
            self._x.XUngrabKeyboard(self._server, _NOW)
            self._x.XSync(self._server, 0)

    @contextmanager
    def other_window(self) -> Iterator[float]:
        """Another program's window opens and takes the focus."""
        now = time.monotonic()
        window = self._x.XCreateSimpleWindow(self._server, self._root, 0, 0, 300, 200, 0, 0, 0xFFFFFF)
        self._x.XMapRaised(self._server, window)
        self._x.XSync(self._server, 0)
        try:
            yield now
        finally:
            self._x.XDestroyWindow(self._server, window)
            self._x.XSync(self._server, 0)

    def close(self) -> None:
        self.lift_all()
        self._x.XCloseDisplay(self._server)


@contextmanager
def desktop(log: Path) -> Iterator[Desktop]:
    """Xvfb on a free display with openbox on it."""
    read, write = os.pipe()
    size = f"{WIDTH}x{HEIGHT}x24"
    with log.open("wb") as out:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp", "-noreset"],
            pass_fds=[write],
            stdout=out,
            stderr=out,
        )
        os.close(write)
        try:
            with os.fdopen(read) as told:
                number = told.readline().strip()
            assert number, f"Xvfb did not start: {log.read_text(errors='replace')}"
            display = f":{number}"
            manager = subprocess.Popen(
                ["openbox", "--sm-disable"], env={**os.environ, "DISPLAY": display}, stdout=out, stderr=out
            )
            try:
                hand = Desktop(display)
                try:
                    yield hand
                finally:
                    hand.close()
            finally:
                _end(manager)
        finally:
            _end(server)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

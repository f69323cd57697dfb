"""A real browser on a real studio that `studio up` started."""

import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.e2e.desktop import Desktop, desktop, missing

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def browser_path() -> str | None:
    """Chromium on PATH; None lets Playwright take its own. Skips where there is neither."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if glob.glob(os.path.expanduser("~/.cache/ms-playwright/chromium-*/chrome-linux*/chrome")):
        return None
    pytest.skip("no Chromium on this machine (make test installs it with apt as root)")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Ends with the module: its event loop counts as running in this process, where other tests begin their own."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=browser_path(), headless=True, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Desktop]:
    """The keyboard and the mouse of a desktop of its own."""
    lacks = missing()
    if lacks is not None:
        pytest.skip(lacks)
    with desktop(tmp_path / "desktop.log") as hand:
        yield hand


def window(playwright: Playwright, hand: Desktop) -> Browser:
    """A browser with a window on that desktop."""
    flags = [*FLAGS, "--window-size=1380,920", "--window-position=0,0", "--hide-crash-restore-bubble"]
    environment = {**os.environ, "DISPLAY": hand.display}
    return playwright.chromium.launch(executable_path=browser_path(), headless=False, args=flags, env=environment)


@pytest.fixture
def windowed(playwright: Playwright, hand: Desktop) -> Iterator[Browser]:
    browser = window(playwright, hand)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where tests put pictures of pages for people to look at."""
    folder = Path(__file__).parents[2] / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

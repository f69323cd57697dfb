"""A real browser on a real studio that `studio up` started."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.support.browser import FLAGS, browser_path, window
from tests.support.desktop import Desktop, desktop, missing
from tests.support.paths import ROOT


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


@pytest.fixture
def windowed(playwright: Playwright, hand: Desktop) -> Iterator[Browser]:
    browser = window(playwright, hand)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def screenshots() -> Path | None:
    """Where tests put screenshots of pages for people to look at, if they ask for some (SCREENSHOTS=1): they take
    minutes."""
    if not os.environ.get("SCREENSHOTS"):
        return None
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

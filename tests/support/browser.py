"""Chromium, with and without a window."""

import glob
import os
import shutil

import pytest
from playwright.sync_api import Browser, Playwright

from tests.support.desktop import Desktop

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


def window(playwright: Playwright, hand: Desktop) -> Browser:
    """A browser with a window on that desktop."""
    flags = [*FLAGS, "--window-size=1380,920", "--window-position=0,0", "--hide-crash-restore-bubble"]
    environment = {**os.environ, "DISPLAY": hand.display}
    return playwright.chromium.launch(executable_path=browser_path(), headless=False, args=flags, env=environment)

"""From a click on "Watch the demo policy" on the home page to a robot that moves, and how the policy then does.

    python benchmarks/first_click.py [--json FILE] [--seconds S] [--busy N] [--wait S]

A studio as `studio up` starts it, on a new data folder, and Chromium. It clicks `--wait` seconds after the home page is
there, watches for S seconds, closes the tab, opens another one and clicks again. `--busy N`: beside N processes that
compute and nothing else, at the same priority (2 fill two cores). Counted: seconds until the first chunk is there and
until the robot moves, chunks, refusals, late steps, seconds of the simulation's time in one of ours.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from dexvla.files import write_json

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.browser import FLAGS, browser_path
from tests.support.browser_studio import PASSWORD, running_studio

GIVEN_UP_SECONDS = 240
SPIN = "while True: pass"
LOOK = """() => {
  const at = (name) => document.querySelector(`[data-testid=${name}]`);
  return {
    state: at("live-state")?.dataset.state ?? null,
    phase: at("live-loading-phase")?.innerText ?? null,
    attempt: Number(at("live-loading")?.dataset.attempt ?? 1),
    chunks: Number(at("live-chunks")?.innerText.replaceAll(",", "") ?? 0),
    late: Number(at("live-late")?.innerText.replaceAll(",", "") ?? 0),
    pace: at("live-real-time")?.innerText ?? null,
    latency: at("live-latency")?.innerText ?? null,
    refused: at("live-refused")?.innerText ?? null,
    failed: at("live-demo-failed")?.innerText ?? at("error-note")?.innerText ?? null,
  };
}"""
# What the robot is told and says, beside what the page shows: a socket of its own on the same page.
LISTEN = """(robot) => {
  window.heard = { moved: null, first: null, refused: [], paces: [] };
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/live/${robot}/state`);
  socket.onmessage = ({ data }) => {
    const state = JSON.parse(data);
    const { policy, samples, real_time: pace } = state;
    const heard = window.heard;
    if (policy?.refused && !heard.refused.includes(policy.refused)) heard.refused.push(policy.refused);
    if (policy?.chunks > 0 && heard.first === null) heard.first = Date.now();
    if (policy?.chunks > 0 && pace !== null) heard.paces.push(pace);
    for (const row of (policy?.chunks > 0 && samples?.action) || []) {
      heard.rest ??= row;
      const away = Math.max(...row.map((value, i) => Math.abs(value - heard.rest[i])));
      if (heard.moved === null && away > 0.01) heard.moved = Date.now();
    }
  };
}"""


@contextmanager
def busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def clicked(context: BrowserContext, base: str, *, wait: float, seconds: float) -> dict[str, Any]:
    """One click in a new tab, which is closed at the end."""
    page = context.new_page()
    page.goto(base)
    button = page.get_by_test_id("watch-demo")
    button.wait_for(timeout=GIVEN_UP_SECONDS * 1000)
    while button.get_attribute("aria-disabled") == "true":  # no robot was heard of yet
        page.wait_for_timeout(50)
    page.wait_for_timeout(wait * 1000)
    at = time.time()
    button.click()
    page.wait_for_url("**/live/**")
    page.evaluate(LISTEN, page.url.rpartition("/")[2])
    phases = follow(page, at)
    heard = page.evaluate("() => window.heard")
    if heard["moved"] is None:
        end = page.evaluate(LOOK)
        page.close()
        return {"acts_after_s": None, "phases": phases, "page": end}
    page.wait_for_timeout(seconds * 1000)
    end, heard = page.evaluate(LOOK), page.evaluate("() => window.heard")
    page.close()
    return {
        "first_chunk_s": round(heard["first"] / 1000 - at, 2),
        "acts_after_s": round(heard["moved"] / 1000 - at, 2),
        "phases": phases,
        "watched_s": seconds,
        "state": end["state"],
        "chunks": end["chunks"],
        "late_steps": end["late"],
        "refused": heard["refused"],
        "real_time": round(sum(heard["paces"]) / len(heard["paces"]), 3) if heard["paces"] else None,
        "latency": end["latency"],
        "page": end,
    }


def follow(page: Page, at: float) -> dict[str, float]:
    """Until the robot moves, or nothing more is to be expected; when each phase was first seen, s."""
    phases: dict[str, float] = {}
    while time.time() - at < GIVEN_UP_SECONDS:
        seen = page.evaluate(LOOK)
        name = (seen["phase"] or seen["state"] or "nothing").partition(":")[0]
        phases.setdefault(f"{name}{' (second try)' if seen['attempt'] > 1 else ''}", round(time.time() - at, 2))
        if seen["failed"] or page.evaluate("() => window.heard.moved") is not None:
            break
        page.wait_for_timeout(50)
    return phases


def measure(browser: Browser, *, load: int, wait: float, seconds: float) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="first-click-", ignore_cleanup_errors=True))
        address = stack.enter_context(running_studio(Path(folder) / "data"))
        base = address.split("/setup")[0].rstrip("/")
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(address)
        page.get_by_test_id("account-name").fill("ada")
        page.get_by_test_id("account-password").fill(PASSWORD)
        stack.enter_context(busy(load))
        page.get_by_test_id("account-submit").click()
        page.get_by_test_id("first-steps").wait_for(timeout=GIVEN_UP_SECONDS * 1000)
        page.close()
        first = clicked(context, base, wait=wait, seconds=seconds)
        time.sleep(1.0)  # the tab is closed: the policy pauses
        again = clicked(context, base, wait=wait, seconds=seconds / 4)
        context.close()
        return {"busy_processes": load, "first": first, "after_the_tab_was_closed": again}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="to watch the policy")
    parser.add_argument("--busy", type=int, action="append", help="processes beside it; may be given several times")
    parser.add_argument("--wait", type=float, default=0.0, help="between the home page and the click")
    asked = parser.parse_args()
    figures = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), headless=True, args=FLAGS)
        for load in asked.busy or [0, os.cpu_count() or 2]:
            before = os.getloadavg()[0]
            figures.append(
                {"load_before": round(before, 1), **measure(browser, load=load, wait=asked.wait, seconds=asked.seconds)}
            )
            print(json.dumps(figures[-1], indent=2))
        browser.close()
    line = "{!s:>5} {!s:>7} {!s:>12} {!s:>7} {!s:>7} {!s:>8} {!s:>5} {!s:>10}"
    print(line.format("busy", "click", "first chunk", "moves", "chunks", "refused", "late", "real time"))
    for figure in figures:
        for name in ("first", "after_the_tab_was_closed"):
            one = figure[name]
            values = (one.get(key) for key in ("first_chunk_s", "acts_after_s", "chunks"))
            row = [figure["busy_processes"], name[:7], *values, len(one.get("refused", ())), one.get("late_steps")]
            print(line.format(*row, one.get("real_time")))
    if asked.json is not None:
        write_json(asked.json, {"cpu_count": os.cpu_count(), "machine": platform.processor(), "figures": figures})


if __name__ == "__main__":
    main()

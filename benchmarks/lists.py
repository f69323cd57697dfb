"""What the page's lists cost in a real browser: first row, a sort, more rows.

    python benchmarks/lists.py [--json FILE] [--only NAME ...] [--keep FOLDER] [--screenshots FOLDER]
                               [sizes and turns of scale.py]

The rows are those of scale.py, in a studio of its own; one API process serves them and the page. Every list is opened
anew, then sorted by a heading, then scrolled to the end of what is drawn. Of each: milliseconds as a person sees them,
and those that the page's main thread (its time on a core, by Chromium) and the API's CPU worked for it, which is what
counts on a busy machine; nodes are the elements of the page. Needs Chromium on PATH. --keep as in
scale.py; STUDIO_PAGE=FOLDER measures another build of the page.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from backend.identity.credentials import SESSION_COOKIE
from benchmarks.scale import Api, add_sizes, api, filled_studio
from dexvla.files import write_json
from tests.support.browser import FLAGS, browser_path

# list: address, a row, the heading that sorts it
LISTS = {
    "runs": ("/training", "run-row", "Run"),
    "checkpoints": ("/checkpoints", "checkpoint-row", "Held-out loss"),
    "evaluations": ("/evaluations", "evaluation-row", "Checkpoint"),
    "episodes": ("/datasets/{dataset}", "episode-row", "Length"),
    "audit": ("/settings/audit", "audit-row", None),
}


# a sort is there when a heading says so and no rows are waited for
SORTED = "() => document.querySelector('th[aria-sort]') && !document.querySelector('table[aria-busy=true]')"
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Meter:
    """What is done in the page, with its cost."""

    def __init__(self, page: Page, server: Api) -> None:
        self.page, self.server = page, server
        self.devtools = page.context.new_cdp_session(page)
        self.devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def _page_ms(self) -> float:
        metrics = self.devtools.send("Performance.getMetrics")["metrics"]
        return 1000 * float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    def take(self, act: Callable[[], object], *, fresh: bool = False) -> dict[str, float]:
        """fresh: the page is another document afterwards, whose tasks are counted from nought."""
        worked, tasks, began = self.server.cpu_ms(), 0.0 if fresh else self._page_ms(), time.perf_counter()
        act()
        took = 1000 * (time.perf_counter() - began)
        return {
            "ms": round(took, 1),
            "page_cpu_ms": round(self._page_ms() - tasks, 1),
            "api_cpu_ms": round(self.server.cpu_ms() - worked, 1),
        }


def measure(meter: Meter, base: str, name: str, dataset: str, turns: int) -> dict[str, Any]:
    path, row, heading = LISTS[name]
    page, rows = meter.page, meter.page.get_by_test_id(row)
    table = page.get_by_role("table").first

    def opened() -> None:
        page.goto(base + path.format(dataset=dataset))
        rows.first.wait_for()

    def sort() -> None:
        table.get_by_role("button", name=heading, exact=True).click()
        page.wait_for_function(SORTED, polling=50)

    def next_rows() -> None:
        page.evaluate("() => scrollTo(0, document.documentElement.scrollHeight)")
        page.evaluate(DRAWN)

    found: dict[str, list[dict[str, float]]] = {"first_row": [], "sort": [], "scroll": []}
    for _ in range(turns):
        page.goto("about:blank")
        found["first_row"].append(meter.take(opened, fresh=True))
        page.wait_for_load_state("networkidle")
        nodes = page.evaluate("() => document.querySelectorAll('*').length")
        if heading is not None:
            found["sort"].append(meter.take(sort))
        found["scroll"].append(meter.take(next_rows))
    return {"nodes": nodes, **{what: middle(all) for what, all in found.items() if all}}


def middle(turns: list[dict[str, float]]) -> dict[str, float]:
    return {what: statistics.median(one[what] for one in turns) for what in turns[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", choices=LISTS, default=list(LISTS))
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="of each list: light, dark and on a phone")
    add_sizes(parser)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count()}
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        settings, there, _ = filled_studio(folder, arguments)
        server = stack.enter_context(api(settings, there["cookie"]))
        base = f"http://127.0.0.1:{server.port}"
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=browser_path(), args=FLAGS)
        context = browser.new_context(viewport={"width": 1366, "height": 768})
        context.set_default_timeout(120_000)
        context.add_cookies([{"name": SESSION_COOKIE, "value": there["cookie"], "url": base}])
        meter = Meter(context.new_page(), server)
        dataset = there["datasets"][str(max(arguments.sizes))]
        for name in arguments.only:
            found[name] = measure(meter, base, name, dataset, arguments.turns)
            print(name, found[name], flush=True)
            if arguments.screenshots is not None:
                look(meter.page, base, name, dataset, arguments.screenshots)
        browser.close()
    if arguments.json:
        write_json(arguments.json, found)


def look(page: Page, base: str, name: str, dataset: str, folder: Path) -> None:
    path, row, _ = LISTS[name]
    for what, scheme, width in (("light", "light", 1366), ("dark", "dark", 1366), ("phone", "light", 390)):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 768})
        page.goto(base + path.format(dataset=dataset))
        page.get_by_test_id(row).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{name}-{what}.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1366, "height": 768})


if __name__ == "__main__":
    main()

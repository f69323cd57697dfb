"""The annotator in a real browser on episodes whose every frame says its step: exactness, latencies, actions, undo.

    python benchmarks/annotator.py [--json FILE] [--lengths T ...] [--seeks N] [--single-steps N] [--no-labelling]

A studio of its own on loopback, Chromium without a window, keys pressed one by one as a person presses them; nothing is
done by pointer. Latencies are taken in the page: from the key's event until the last camera's frame is drawn; then
the barcodes are read. Needs Chromium on PATH.

cold     nothing of the step was in the page; its cache of answers is switched off. The frame comes from the server
warm     the pack with the step was there
by hand  a driver that sees barcodes only sets its reaction lag as measured, switches off that cuts go to candidates
         (this episode's motion has nothing to do with its substeps), watches at half the speed, presses a digit when a
         substep ends and visits the boundaries afterwards, to nudge those that lie more than two steps off
proposed another episode, whose arm rests between substeps; the dataset's template is put onto the candidates, and the
         driver accepts substep by substep, and nudges what lies more than two steps off
cpu      of a second of playback, in cores: what the browser and what the studio's processes took. On a machine that
         other work keeps busy this says whether a free one would keep up
"""

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.barcodes import READ_BARCODE, write_barcode_episode
from tests.support.browser import FLAGS, browser_path
from tests.support.browser_studio import PASSWORD, running_studio, upload

LABELS = [f"{verb} the cube" for verb in ("Reach for", "Grasp", "Lift", "Carry", "Hand over", "Turn", "Place", "Leave")]
SEGMENTS = 12
TEXTS = [number % len(LABELS) + 1 for number in range(SEGMENTS)]  # digit of each substep's text
TOLERANCE = 2  # steps
DRAWS = 5  # of boundaries, for which proposals are counted: they differ in how many nudges they need
LATE_MS = 100.0  # playback that shows nothing new for so long has stalled

# Kept in the page: what the frames show and when. `arrived(step)` resolves with the drawing's time, by events' clock.
WATCH = f"""() => {{
  const read = {READ_BARCODE};
  const canvases = () => [...document.querySelectorAll("[data-testid=camera-canvas]")];
  const there = (step) => canvases().length > 0 && canvases().every((each) => each.dataset.step === String(step));
  const watch = {{ pressed: 0, pointers: 0, keys: 0, read: () => canvases().map(read) }};
  watch.arrived = (step) => new Promise((done, fail) => {{
    const end = performance.now() + 30000;
    const look = () => {{
      if (there(step)) {{ observer.disconnect(); done(performance.now()); }}
      else if (performance.now() > end) {{ observer.disconnect(); fail(new Error("no frame of step " + step)); }}
    }};
    const observer = new MutationObserver(look);
    observer.observe(document.body, {{ subtree: true, attributes: true, attributeFilter: ["data-step"] }});
    look();
  }});
  watch.expect = (step, key) => {{
    watch.result = new Promise((done) => addEventListener("keydown", function pressed(event) {{
      if (event.key !== key) return;
      removeEventListener("keydown", pressed, true);
      const from = event.timeStamp;
      done(watch.arrived(step).then((at) => ({{
        ms: at - from,
        read: watch.read(),
        cold: performance.getEntriesByType("resource").some(({{ name }}) => name.includes("=" + step + "&count=1")),
      }})));
    }}, true));
    performance.clearResourceTimings();
  }};
  watch.answer = (step) => new Promise((done) => {{
    let drawn = null;
    const look = () => {{
      if (drawn === null && Number(canvases()[0].dataset.step) >= step) drawn = performance.now();
      if (drawn === null) requestAnimationFrame(look);
    }};
    look();
    addEventListener("keydown", function pressed(event) {{
      removeEventListener("keydown", pressed, true);
      done(drawn === null ? 0 : event.timeStamp - drawn);
    }}, true);
  }});
  watch.record = (ms) => new Promise((done) => {{
    const rows = [];
    const begun = performance.now();
    const tick = (now) => {{
      const steps = canvases().map((each) => Number(each.dataset.step));
      if (rows.length === 0 || rows.at(-1)[1] !== steps[0]) rows.push([now, steps[0], new Set(steps).size === 1]);
      if (now - begun < ms) requestAnimationFrame(tick); else done(rows);
    }};
    requestAnimationFrame(tick);
  }});
  for (const kind of ["pointerdown", "pointermove", "wheel"]) addEventListener(kind, () => watch.pointers++, true);
  addEventListener("keydown", () => watch.keys++, true);
  performance.setResourceTimingBufferSize(10000);
  window.watch = watch;
}}"""


def spread(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    if not values:
        return {"n": 0}
    p50, p95, most = np.percentile(values, [50, 95, 100])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "max": round(float(most), 1), "n": len(values)}


class Studio:
    """A signed-in browser on a studio with one episode of each length."""

    def __init__(self, page: Page, base: str, token: str) -> None:
        self.page, self.base = page, base
        self._ask("POST", "/auth/setup", {"token": token, "name": "ada", "password": PASSWORD})
        self.dataset = self._ask("POST", "/datasets", {"name": "Barcodes"})["id"]
        self._ask("PATCH", f"/datasets/{self.dataset}", {"vocabulary": LABELS})
        template = [LABELS[text - 1] for text in TEXTS]
        self._ask("PATCH", f"/datasets/{self.dataset}/labelling", {"template": template})

    def set_lag(self, milliseconds: float) -> None:
        """As a person does in the settings of cuts; the page must be opened anew."""
        value = {"lagMs": min(1000, round(milliseconds))}
        self._ask("PUT", "/me/preferences/annotator", {"value": value})

    def _ask(self, method: str, path: str, body: Any) -> Any:
        answer = self.page.context.request.fetch(
            f"{self.base}/api{path}", method=method, data=body, headers={"Origin": self.base}, timeout=300_000
        )
        assert answer.ok, f"{path}: {answer.status} {answer.text()}"
        return answer.json()

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def write(self, steps: int, size: tuple[int, int], substeps: Sequence[int] = ()) -> str:
        """A new episode of the dataset; its id."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{steps}.hdf5"
            write_barcode_episode(file, steps=steps, size=size, substeps=substeps)
            return upload(self.page.context, self.base, self.dataset, file)

    def open(self, episode: str) -> None:
        self.page.goto(f"{self.base}/episodes/{episode}")
        self.page.get_by_test_id("segment-row").first.wait_for()
        self.page.evaluate(WATCH)
        self.page.evaluate("() => watch.arrived(0)")

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)


def seek(studio: Studio, step: int) -> dict[str, Any]:
    """G, the number, Enter: what was read from the frames, after how many milliseconds from Enter."""
    studio.press("g")
    studio.page.keyboard.insert_text(str(step))
    studio.page.evaluate("([step, key]) => watch.expect(step, key)", [step, "Enter"])
    studio.press("Enter")
    found: dict[str, Any] = studio.page.evaluate("() => watch.result")
    return {**found, "exact": set(found["read"]) == {step}, "step": step}


def seeks(studio: Studio, steps: int, count: int, rng: random.Random) -> dict[str, Any]:
    """Both ends, then anywhere; half of them near the one before, where the pack is there after a moment."""
    wanted = [0, steps - 1]
    while len(wanted) < count:
        near = min(steps - 1, max(0, wanted[-1] + rng.randint(-20, 20)))
        wanted.append(near if len(wanted) % 2 else rng.randrange(steps))
    rows = []
    for step in wanted[:count]:
        rows.append(seek(studio, step))
        if len(rows) % 2 == 0:
            studio.page.wait_for_timeout(80)  # as long as a person takes at least
    return {
        "exact": sum(row["exact"] for row in rows),
        "of": len(rows),
        "wrong": [row for row in rows if not row["exact"]][:5],
        "cold_ms": spread([row["ms"] for row in rows if row["cold"]]),
        "warm_ms": spread([row["ms"] for row in rows if not row["cold"]]),
    }


def single_steps(studio: Studio, steps: int, count: int) -> dict[str, Any]:
    """Arrow keys, at a person's pace, there and back."""
    times, exact = [], 0
    at = seek(studio, min(steps - 1, steps // 3))["step"]
    studio.page.wait_for_timeout(500)
    for number in range(count):
        key, by = ("ArrowRight", 1) if (number // 20) % 2 == 0 else ("ArrowLeft", -1)
        if not 0 <= at + by < steps:
            continue
        at += by
        studio.page.evaluate("([step, key]) => watch.expect(step, key)", [at, key])
        studio.press(key)
        found = studio.page.evaluate("() => watch.result")
        times.append(found["ms"])
        exact += set(found["read"]) == {at}
    return {"ms": spread(times), "exact": exact, "of": len(times)}


def cpu_seconds() -> dict[str, float]:
    """Of our own processes so far: those of the browser, and those of the studio."""
    total = {"browser": 0.0, "studio": 0.0}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            used = process.cpu_times()
            browser = any("chrom" in argument for argument in process.cmdline())
            total["browser" if browser else "studio"] += used.user + used.system
    return total


def playback(studio: Studio, speed: float, seconds: float) -> dict[str, Any]:
    """From the start. speed: as chosen; achieved: steps shown a second over those that the speed means."""
    seek(studio, 0)
    studio.page.wait_for_timeout(500)
    presses = {0.5: ["-"], 1: [], 2: ["="], 4: ["=", "="]}[speed]
    for key in presses:
        studio.press(key)
    studio.press("Space")
    before = cpu_seconds()
    rows = studio.page.evaluate("(ms) => watch.record(ms)", 1000 * seconds)
    cpu = {name: round((spent - before[name]) / seconds, 2) for name, spent in cpu_seconds().items()}
    studio.press("Space")
    for key in presses:
        studio.press({"-": "=", "=": "-"}[key])
    rows = rows[1:]  # the first frame stood there before
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(rows)]
    took = (rows[-1][0] - rows[0][0]) / 1000
    return {
        "speed": speed,
        "achieved": round((rows[-1][1] - rows[0][1]) / took / (50 * speed), 3),
        "frames_per_s": round(len(gaps) / took, 1),
        "stalls": sum(gap > LATE_MS for gap in gaps),
        "gap_ms": spread(gaps),
        "cpu": cpu,
        "cameras_in_step": all(row[2] for row in rows),
    }


def document(studio: Studio, episode: str) -> str:
    """What is stored about an episode, as bytes would be compared; the count of saves left out."""
    found = studio.get(f"/episodes/{episode}/draft")
    return json.dumps([found["segments"], found["instruction"], found["success"]])


def saved(studio: Studio) -> None:
    studio.page.wait_for_function(
        "() => document.querySelector('[data-testid=save-status]').dataset.state === 'saved'", timeout=30_000
    )


def draw_boundaries(steps: int, rng: random.Random) -> list[int]:
    """Of twelve substeps, none shorter than a second and a half."""
    cuts = sorted(rng.sample(range(1, steps // 80), SEGMENTS - 1))
    return [80 * cut + rng.randint(0, 5) for cut in cuts]


def nudged(studio: Studio, boundary: int) -> int:
    """Moves the boundary at the playhead, step by step, until it is near enough; the keys that this took."""
    found, keys = shown(studio), 0
    while abs(found - boundary) > TOLERANCE:
        studio.press("," if found > boundary else ".")
        keys += 1
        found = shown(studio)
    return keys


def labelled(studio: Studio, episode: str, truth: list[int]) -> dict[str, Any]:
    """What the labelling took, asserted to be right; `watch` counted."""
    keys, pointers = studio.page.evaluate("() => [watch.keys, watch.pointers]")
    saved(studio)
    segments = studio.get(f"/episodes/{episode}/draft")["segments"]
    assert [one["text"] for one in segments] == [LABELS[text - 1] for text in TEXTS], segments
    errors = [abs(one["start"] - wanted) for one, wanted in zip(segments[1:], truth, strict=True)]
    return {
        "substeps": SEGMENTS,
        "keys": keys,
        "keys_per_substep": round(keys / SEGMENTS, 2),
        "pointer_events": pointers,
        "boundary_error_steps": {"max": max(errors), "mean": round(sum(errors) / len(errors), 2)},
    }


def label_proposals(studio: Studio, episode: str, truth: list[int]) -> dict[str, Any]:
    """Shift+C puts the template onto the candidates, A accepts a substep and goes to the next."""
    studio.open(episode)
    studio.page.evaluate("() => { watch.keys = 0; watch.pointers = 0; }")
    begun = time.monotonic()
    studio.press("Shift+C")
    studio.page.get_by_test_id("proposals").wait_for()
    assert studio.page.get_by_test_id("proposals").get_attribute("data-count") == str(SEGMENTS), "other substeps"
    nudges = 0
    for boundary in [0, *truth]:
        nudges += nudged(studio, boundary)
        studio.press("a")
    took = time.monotonic() - begun
    return {**labelled(studio, episode, truth), "nudges": nudges, "seconds": round(took, 1)}


def label_by_hand(studio: Studio, episode: str, truth: list[int]) -> dict[str, Any]:
    """Twelve substeps of eight texts."""
    page = studio.page
    before = document(studio, episode)
    lag = reaction(studio, truth)
    studio.set_lag(lag)
    studio.open(episode)
    page.evaluate("() => { watch.keys = 0; watch.pointers = 0; }")
    begun = time.monotonic()
    studio.press("Shift+S")
    studio.press("-")
    studio.press("Space")
    for boundary, text in zip(truth, TEXTS[:-1], strict=True):
        page.wait_for_function("(step) => watch.read()[0] >= step", arg=boundary, polling="raf", timeout=180_000)
        studio.press(str(text))
    studio.press("End")
    studio.press(str(TEXTS[-1]))
    studio.press("Home")
    nudges = 0
    for boundary in truth:
        studio.press("]")
        nudges += nudged(studio, boundary)
    took = time.monotonic() - begun
    found = labelled(studio, episode, truth)
    undone = 0
    while page.get_by_test_id("undo").is_enabled():
        studio.press("Control+z")
        undone += 1
        assert undone < 500
    saved(studio)
    return {
        **found,
        "nudges": nudges,
        "seconds": round(took, 1),
        "lag_ms": round(lag),
        "undo_all_is_identical": document(studio, episode) == before,
        "undos": undone,
    }


def reaction(studio: Studio, steps: list[int]) -> float:
    """Milliseconds from the frame of a step to the key that answers it, the median, at the labelling's speed."""
    seek(studio, 0)
    studio.press("-")
    studio.press("Space")
    times = []
    for step in steps[:5]:
        studio.page.evaluate("(step) => { watch.answered = watch.answer(step); }", step)
        studio.page.wait_for_function("(step) => watch.read()[0] >= step", arg=step, polling="raf", timeout=180_000)
        studio.press("Shift")
        times.append(studio.page.evaluate("() => watch.answered"))
    studio.press("Space")
    return float(np.median(times))


def shown(studio: Studio) -> int:
    """The step that the frames show once they are those of the playhead."""
    step: int = studio.page.evaluate(
        "() => { const step = Number(document.querySelector('[data-testid=now]').dataset.step);"
        " return watch.arrived(step).then(() => watch.read()[0]); }"
    )
    return step


@contextmanager
def browser_page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), headless=True, args=FLAGS)
        context = browser.new_context(viewport={"width": 1366, "height": 768})
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
        yield page
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[100, 3000, 10_000])
    parser.add_argument("--size", type=int, nargs=2, default=[480, 640], help="rows and columns of a frame")
    parser.add_argument("--seeks", type=int, default=1000)
    parser.add_argument("--single-steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15, help="of playback at each speed")
    parser.add_argument("--no-labelling", action="store_true")
    options = parser.parse_args()
    rng, size = random.Random(0), (options.size[0], options.size[1])
    found: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        "size": options.size,
        "lengths": {},
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        running_studio(Path(folder) / "data") as address,
        browser_page() as page,
    ):
        base, token = address.split("/setup?token=")
        studio = Studio(page, base, token)
        for steps in options.lengths:
            episode = studio.write(steps, size)
            studio.open(episode)
            rows: dict[str, Any] = {"seeks": seeks(studio, steps, options.seeks, rng)}
            print(steps, json.dumps(rows["seeks"]), flush=True)
            rows["single_steps"] = single_steps(studio, steps, options.single_steps)
            print(steps, json.dumps(rows["single_steps"]), flush=True)
            if steps >= 1000:
                rows["playback"] = [playback(studio, speed, options.seconds) for speed in (1, 2, 4)]
                print(steps, json.dumps(rows["playback"]), flush=True)
            if steps == 3000 and not options.no_labelling:
                truth = draw_boundaries(steps, rng)
                rows["by_hand"] = label_by_hand(studio, episode, truth)
                print(steps, json.dumps(rows["by_hand"]), flush=True)
                rows["proposed"] = []
                for draw in [truth, *(draw_boundaries(steps, random.Random(seed)) for seed in range(1, DRAWS))]:
                    rows["proposed"].append(label_proposals(studio, studio.write(steps, size, draw), draw))
                    print(steps, json.dumps(rows["proposed"][-1]), flush=True)
            found["lengths"][str(steps)] = rows
    found["load_after"] = os.getloadavg()
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

"""How soon the robot rests after something that may hide the end of held keys, with real keys on a desktop of its own.

    python benchmarks/deadman.py [--trials N] [--json FILE] [--only KIND ...]

A whole studio (`studio up`), Chromium with a window under Xvfb and openbox, keys pressed at the X server. N trials
(default 100) go round over all kinds, in milliseconds from the event, or from the first key repeat that did not come,
to the last command of the robot that differed from the one before it.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from dexvla.files import write_json
from dexvla.live.messages import HOLD_MS
from tests.support import deadman, deadman_events, desktop
from tests.support.browser_studio import running_studio


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the figures to this file, anew after each trial")
    parser.add_argument("--only", nargs="+", choices=deadman_events.KINDS, default=deadman_events.KINDS, metavar="KIND")
    arguments = parser.parse_args()
    lacks = desktop.missing()
    if lacks is not None:
        raise SystemExit(lacks)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended early, it reports what it has
    results: list[deadman.Result] = []
    idle: list[str] = []
    try:
        with (
            tempfile.TemporaryDirectory() as name,
            running_studio(Path(name) / "data") as address,
            sync_playwright() as playwright,
            deadman.bench(playwright, address, Path(name), Path(name)) as bench,
        ):
            measure(bench, arguments.only, arguments.trials, results, idle, arguments.json)
    finally:
        if results:
            report(results, idle)


def measure(
    bench: deadman.Bench,
    kinds: Sequence[str],
    trials: int,
    results: list[deadman.Result],
    idle: list[str],
    file: Path | None,
) -> None:
    """Each trial is told, and kept, when it is over."""
    while len(results) < trials:
        kind = kinds[len(results) % len(kinds)]
        began = time.monotonic()
        try:
            results.append(deadman_events.trial(bench, kind))
        except TimeoutError as error:  # nothing moved, so nothing was there to end: tried again
            idle.append(kind)
            sys.stderr.write(f"{error}\n")
            if len(idle) > trials:
                raise SystemExit("the robot hardly ever moves; the machine is too busy") from None
            continue
        took = time.monotonic() - began
        sys.stdout.write(f"{len(results):>4} {kind:<34} {results[-1].rest_ms:>7.1f} ms   (took {took:.1f} s)\n")
        sys.stdout.flush()
        if file is not None:
            told = [{"kind": one.kind, "from": one.by, "rest_ms": one.rest_ms} for one in results]
            write_json(file, {"trials": told, "idle": len(idle), "load": round(os.getloadavg()[0], 1)})


def report(results: list[deadman.Result], idle: list[str]) -> None:
    times = defaultdict(list)
    for one in results:
        times[one.kind, one.by].append(one.rest_ms)
    say = sys.stdout.write
    say(f"{'kind':<34} {'from':<15} {'n':>3} {'p50':>7} {'max':>7}  ms\n")
    for (kind, by), found in times.items():
        say(f"{kind:<34} {by:<15} {len(found):>3} {np.median(found):>7.1f} {max(found):>7.1f}\n")
    every = [one.rest_ms for one in results]
    late = sum(rest > HOLD_MS for rest in every)
    say(f"all: p50 {np.median(every):.1f}, max {max(every):.1f} ms; {late} of {len(every)} later than {HOLD_MS} ms; ")
    say(f"{len(idle)} tries more in which the robot did not move beforehand\n")


if __name__ == "__main__":
    main()

"""How soon the robot rests after something that may hide the end of held keys, with real keys on a desktop of its own.

    python benchmarks/deadman.py [--trials N] [--json FILE]

A whole studio (`studio up`), Chromium with a window under Xvfb and openbox, keys pressed at the X server. N trials
(default 100) go round over all kinds, in milliseconds from the event, or from the first key repeat that did not come,
to the last command of the robot that differed from the one before it.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from backend.live.messages import HOLD_MS
from dexvla.files import write_json
from tests.e2e import deadman, desktop
from tests.e2e.studio import running_studio


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    lacks = desktop.missing()
    if lacks is not None:
        raise SystemExit(lacks)
    results: list[deadman.Result] = []
    idle = 0
    with (
        tempfile.TemporaryDirectory() as name,
        running_studio(Path(name) / "data") as address,
        sync_playwright() as playwright,
        deadman.bench(playwright, address, Path(name), Path(name)) as bench,
    ):
        while len(results) < arguments.trials:
            kind = deadman.KINDS[len(results) % len(deadman.KINDS)]
            try:
                results.append(deadman.trial(bench, kind))
            except TimeoutError as error:  # nothing moved, so nothing was there to end: tried again
                idle += 1
                sys.stderr.write(f"{error}\n")
                if idle > arguments.trials:
                    raise SystemExit("the robot hardly ever moves; the machine is too busy") from None
    report(results, idle)
    if arguments.json:
        write_json(
            arguments.json,
            {"trials": [{"kind": one.kind, "from": one.by, "rest_ms": one.rest_ms} for one in results], "idle": idle},
        )


def report(results: list[deadman.Result], idle: int) -> None:
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
    say(f"{idle} tries more in which the robot did not move beforehand\n")


if __name__ == "__main__":
    main()

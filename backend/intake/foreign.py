"""Read a source of another tool, in a process that can do little harm (see backend.intake.warm and
backend.intake.confine).

What to do is one line of JSON on standard input, an `Order`; what becomes of it are lines of JSON on standard output,
see `backend.intake.conversion`. Each further line of input lets it begin one more episode; at the end of the input it
ends. Exit status BROKE: something that the reader could not go on from; then the last line says what
({"broke": a backend.intake.broken.Broken}).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from backend.intake import confine

READY = "ready to read the source\n"  # what goes wrong before it is our defect, after it the source's
BROKE = 3
_MEMORY_BYTES = 6 * 2**30  # libraries of tables reserve much that they never use
_FILE_BYTES = 64 * 2**30
_NICE = 10  # below requests, robots and jobs


def main() -> None:
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    os.nice(_NICE)
    confine.leave_network()
    from backend.intake import broken, reading  # only now: they bring threads along

    source, out = Path(order["source"]), order["out"]
    confine.keep_only(readable=source, writable=None if out is None else Path(out))
    confine.limit(memory_bytes=_MEMORY_BYTES, cpu_seconds=None, file_bytes=_FILE_BYTES, threads=True)
    confine.allow_seconds(order["cpu_seconds"])
    sys.stderr.write(READY)
    try:
        reading.WORK[order["work"]](order, _say)
    except Exception as error:
        _say({"broke": broken.by_error(error).to_json()})
        os._exit(BROKE)  # at once: HDF5 may crash when it closes what it could not write


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()

"""Look at a foreign episode file, in a process that can do little harm (see backend.intake.warm and
backend.intake.confine).

What to do is one line of JSON on standard input: source, target (which must exist; it becomes the fresh copy),
file_bytes, cpu_seconds, keep_labels, instruction (for a file that has none, or empty). What was found is printed as one
line of JSON. Exit status 0 also when the file is refused (`errors` says why). Status BROKE: the file broke the reader,
or the disk is full; then the line is a `backend.intake.broken.Broken`. Any other status is of a process that could not
say it any more.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.intake import confine

_MEMORY_BYTES = 4 * 2**30
_NICE = 10  # below requests, robots and jobs
READY = "ready to look at the file\n"  # what goes wrong before it is our defect, after it the file's
BROKE = 3
_COMPLAINTS, _COMPLAINT_LENGTH = 50, 500


def main() -> None:
    from backend.intake import broken, examine  # the warm process has them; who asks it needs them not

    order: dict[str, Any] = json.loads(sys.stdin.readline())
    source, target = Path(order["source"]), Path(order["target"])
    os.nice(_NICE)
    confine.leave_network()
    confine.keep_only(readable=source, writable=target)
    confine.limit(memory_bytes=_MEMORY_BYTES, cpu_seconds=order["cpu_seconds"], file_bytes=order["file_bytes"])
    sys.stderr.write(READY)
    try:
        found = examine.examine(
            source, target, keep_labels=order["keep_labels"], instruction=order["instruction"] or None
        )
    except Exception as error:
        sys.stdout.write(json.dumps(broken.by_error(error).to_json()))
        sys.stdout.flush()
        os._exit(BROKE)  # at once: HDF5 may crash when it closes what it could not write
    sys.stdout.write(json.dumps(_bounded(asdict(found))))


def _bounded(found: dict[str, Any]) -> dict[str, Any]:
    """Names and values of the file stand in the complaints, and may be of any length."""
    for kind in ("errors", "warnings"):
        found[kind] = [text[:_COMPLAINT_LENGTH] for text in found[kind][:_COMPLAINTS]]
    return found

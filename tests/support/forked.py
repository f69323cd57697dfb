"""What a child that worker.core.forks began says of itself: `main` in a fork or in an interpreter of its own."""

import json
import os
import signal
import sys
import time
from typing import Any

parent: dict[str, Any] = {}  # filled by the one that forks


def main() -> None:
    if sys.argv[1] == "sleep":
        time.sleep(600)
    if sys.argv[1] == "fail":
        raise RuntimeError("it broke")
    descriptors = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            descriptors[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
    with open("/proc/self/cmdline", encoding="utf-8") as line:
        title = line.read().replace("\0", " ").strip()
    told = {
        "forked": bool(parent),
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "descriptors": descriptors,
        "terminate": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "session": os.getsid(0) == os.getpid(),
        "title": title,
    }
    print(json.dumps(told))  # noqa: T201
    sys.exit(3)


if __name__ == "__main__":
    main()

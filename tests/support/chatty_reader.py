"""In the place of backend.intake.foreign: a reader that a source took over. What it does is the name of its source."""

import json
import subprocess
import sys
import time
from pathlib import Path

from backend.intake.foreign import READY


def main() -> None:
    what = Path(json.loads(sys.stdin.readline())["source"]).name
    sys.stderr.write(READY)
    match what:
        case "line":
            sys.stdout.write("x" * 3 * 2**20 + "\n")
        case "endless":
            while True:
                sys.stdout.write('{"begun": "episode"}\n')
        case "silent":
            sys.stderr.flush()
            time.sleep(600)
        case "junk":
            sys.stdout.write("no JSON\n")
        case "noise":
            sys.stderr.write("a frame is odd\n" * 10_000)
            sys.stdout.write('{"shown": {}}\n')
        case "family":
            left = subprocess.Popen(["sleep", "600"])
            sys.stdout.write(json.dumps({"shown": {"pid": left.pid}}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

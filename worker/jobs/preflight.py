"""`python -m worker.jobs.preflight SPEC.yaml REPORT.json [FLAGS]`: `dexvla train --dry-run`, where a run that would not
start is a result too. Exit status 0 whenever there is a report."""

import sys
from pathlib import Path

from dexvla.cli import main as dexvla


def main(spec: str, report: str, *flags: str) -> int:
    sys.argv = ["dexvla", "train", spec, "--dry-run", "--json", report, *flags]
    try:
        dexvla()
    except SystemExit as stop:
        if not Path(report).is_file():
            return stop.code if isinstance(stop.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

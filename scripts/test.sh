#!/usr/bin/env bash
# All tests of Python: what shares the cores, then what has a clock and the cores to itself (docs/decisions/tests.md).
# Up to five that failed are run again, alone, twice at most: what fails then has failed, and what passes is named.
set -uo pipefail
failures=.pytest_cache/v/cache/lastfailed
rm -f "$failures"
status=0
scripts/shared.sh --part shared || status=1
.venv/bin/python -m pytest --part clocked || status=1
[ "$status" = 0 ] && exit 0

names=$(.venv/bin/python -c 'import json, sys; print("\n".join(json.load(open(sys.argv[1]))))' "$failures" 2>/dev/null)
count=$(grep -c . <<<"$names")
if [ "$count" = 0 ] || [ "$count" -gt 5 ]; then
  echo "test: failed"
  exit 1
fi
echo "test: again, alone: ${names//$'\n'/, }"
.venv/bin/python -m pytest --last-failed --last-failed-no-failures none ||
  .venv/bin/python -m pytest --last-failed --last-failed-no-failures none || exit 1
echo "test: FAILED AND PASSED ALONE, look at them: ${names//$'\n'/, }"

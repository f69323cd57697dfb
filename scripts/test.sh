#!/usr/bin/env bash
# All tests, in three parts (docs/decisions/tests.md): those with a clock, one after the other; wherever these leave a
# core, the page's and what computes; and when the clocks are done, what waits for other processes, beside that.
# What goes on beside is told at the end, and is in build/tests/beside.log.
# Up to five that failed are run again, alone, twice at most: what fails then has failed, and what passes is named.
set -uo pipefail
export OMP_NUM_THREADS=1      # each process computes in one thread: there are others
export PYTHONDONTWRITEBYTECODE= # set or not: a run starts hundreds of processes, which would compile everything anew
logs=build/tests
failures=v/cache/lastfailed
. scripts/memory.sh
mkdir -p "$logs"
rm -rf "${logs:?}"/* ".pytest_cache/$failures"

.venv/bin/python scripts/beside.py bash -c '
  PATH="$PWD/.venv/bin:$PATH" npm --prefix frontend test --silent; page=$?
  scripts/shared.sh --part computing -o cache_dir="$1/computing" && [ "$page" = 0 ]' beside "$logs" >"$logs/beside.log" 2>&1 &
beside=$!
trap 'kill -INT "$beside" 2>/dev/null; wait "$beside"; clean_up' EXIT

status=0
.venv/bin/python -m pytest --part clocked -o cache_dir="$logs/clocked" || status=1
echo "test: those with a clock are done after $((SECONDS / 60)) minutes; now those that wait for other processes:"
# as low as the computing ones: above them they would take everything from the jobs of their own studios, which give way
.venv/bin/python scripts/beside.py scripts/shared.sh --part waiting -o cache_dir="$logs/waiting" || status=1
echo "test: they are done after $((SECONDS / 60)) minutes; beside all of these:"
tail -n +1 -f --pid="$beside" "$logs/beside.log"
wait "$beside" || status=1
trap clean_up EXIT
echo "test: all are done after $((SECONDS / 60)) minutes"
[ "$status" = 0 ] && exit 0

names=$(.venv/bin/python - {.pytest_cache,"$logs"/{clocked,waiting,computing}}/"$failures" <<'PYTHON'
import json, pathlib, sys

files = [pathlib.Path(name) for name in sys.argv[1:]]
failed = {name: True for file in files if file.is_file() for name in json.loads(file.read_text())}
files[0].parent.mkdir(parents=True, exist_ok=True)
files[0].write_text(json.dumps(failed))
print("\n".join(failed))
PYTHON
)
count=$(grep -c . <<<"$names")
if [ "$count" = 0 ] || [ "$count" -gt 5 ]; then
  echo "test: failed"
  exit 1
fi
echo "test: again, alone: ${names//$'\n'/, }"
.venv/bin/python -m pytest --last-failed --last-failed-no-failures none ||
  .venv/bin/python -m pytest --last-failed --last-failed-no-failures none || exit 1
echo "test: FAILED AND PASSED ALONE, look at them: ${names//$'\n'/, }"

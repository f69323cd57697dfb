# Sourced by those that run tests: what these write lies in memory where there is enough of it, and is removed at the end.
# On a disk they wait more than half of their time for it (docs/decisions/tests.md).
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] &&
  [ "$(df --output=avail /dev/shm | tail -1)" -gt 8000000 ] && # kB; a whole run needs less than three gigabytes
  [ "$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)" -gt 12000000 ]; then
  TMPDIR=$(mktemp -d /dev/shm/tests.XXXXXX)
  export TMPDIR
  memory=$TMPDIR
fi
clean_up() { [ -z "${memory:-}" ] || rm -rf "$memory"; }
trap clean_up EXIT

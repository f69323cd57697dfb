#!/usr/bin/env bash
# Tests that share the cores, in as many processes as there are (docs/decisions/tests.md); arguments are pytest's.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
. scripts/memory.sh
.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"

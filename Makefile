# make setup   set up .venv (idempotent)          make check   format, lint, types
# make test    set up and test everything         make bench   the benchmarks, results in build/benchmarks
.PHONY: setup check test bench

setup:
	@bash scripts/setup.sh

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

test: check
	.venv/bin/python -m pytest $(PYTEST_ARGS)

bench: setup
	@mkdir -p build/benchmarks
	@set -e; for script in benchmarks/*.py; do \
	  .venv/bin/python $$script --json build/benchmarks/$$(basename $$script .py).json; done

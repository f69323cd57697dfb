# make up      set up what is missing and start the studio (STUDIO_DATA, STUDIO_HOST, STUDIO_PORT)
# make test    set up and test everything         make check   format, lint, types
# make setup   only the set-up (idempotent)       make bench   the benchmarks, results in build/benchmarks
# make test-fast  the tests without clock, browser, kills and much computing
# make coverage   those, and the share of each file that they ran
# make kill    30 random kills of a whole studio, on SQLite and on PostgreSQL, of backups, a recording and the API
# make bare    the first minute on a bare Debian        make images  docker-compose.yml's services, each in its image
.PHONY: up setup setup-tests check check-python check-page test test-fast coverage bench kill bare images

up: setup
	@exec .venv/bin/studio up

setup:
	@bash scripts/setup.sh

setup-tests:
	@bash scripts/setup.sh --tests
	@.venv/bin/python -m tests.support.environments

check: setup-tests
	@$(MAKE) --no-print-directory --output-sync -j2 check-python check-page

check-python:
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/mypy --explicit-package-bases benchmarks

check-page:
	@PATH="$$PWD/.venv/bin:$$PATH" npm --prefix frontend run --silent check

# Robots, and servers and pages that they are driven through, whose clocks run, come first; what computes gets what they
# leave of the cores, the page's own tests first; what waits for other processes comes when the clocks are done.
# Which tests those are stands in tests/support/parts.py and on the files themselves.
test: check
	@scripts/test.sh

# While one works; the aim is under two minutes on two quiet cores. It says what it leaves out.
test-fast: setup-tests
	@scripts/shared.sh --part fast

# the fast part again, and how much of each file it ran
coverage: setup-tests
	@scripts/shared.sh --part fast --cov --cov-report=term --no-cov-on-fail

bench: setup-tests
	@mkdir -p build/benchmarks
	@set -e; for script in benchmarks/*.py; do \
	  .venv/bin/python $$script --json build/benchmarks/$$(basename $$script .py).json; done

kill: setup-tests
	KILLS=30 .venv/bin/python -m pytest --log-cli-level info --override-ini timeout=7200 \
	  $(addprefix tests/kill/test_,everything_survives.py backup_survives.py labels_survive.py recording_survives.py)

# 77: cannot be tried on this machine, and has said why
bare:
	@scripts/bare.sh || [ $$? = 77 ]

images: setup-tests
	@.venv/bin/python scripts/try_images.py || [ $$? = 77 ]

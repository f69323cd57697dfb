# make up      set up what is missing and start the studio (STUDIO_DATA, STUDIO_HOST, STUDIO_PORT)
# make test    set up and test everything         make check   format, lint, types
# make setup   only the set-up (idempotent)       make bench   the benchmarks, results in build/benchmarks
# make kill    30 random kills of a whole studio, on SQLite and on PostgreSQL
# make bare    the first minute on a bare Debian        make images  docker-compose.yml's services, each in its image
.PHONY: up setup setup-tests check test bench kill bare images

up: setup
	@exec .venv/bin/studio up

setup:
	@bash scripts/setup.sh

setup-tests:
	@bash scripts/setup.sh --tests

check: setup-tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	@PATH="$$PWD/.venv/bin:$$PATH" npm --prefix frontend run --silent check

# What computes, and whatever only waits for others to be done, shares the cores; robots, and servers and pages that
# they are driven through, whose clocks run, have them to themselves. What lasts longest begins first.
CLOCKS := tests/act tests/robots tests/worker tests/kill tests/e2e
CLOCKLESS := $(addprefix tests/act/test_,checkpoint_policy.py chunks.py limits.py openpi_client.py protocol.py) \
  $(addprefix tests/robots/test_,against_gym_aloha.py aloha_sim.py experts.py gl.py pick_colour.py record.py replay.py \
    robot_registry.py) \
  $(addprefix tests/worker/test_,causes.py evaluate_job.py intake.py runner.py sweeper.py train_handler.py \
    training_job.py worker.py) \
  $(addprefix tests/kill/test_,backup_survives.py jobs_survive.py labels_survive.py training_survives.py) \
  $(addprefix tests/e2e/test_,annotator.py changed_file.py dying_tab.py labelling.py loop.py model_proposals.py review.py)
CLOCKED := $(filter-out $(CLOCKLESS),$(wildcard $(CLOCKS:%=%/test_*.py)))
test: check
	@PATH="$$PWD/.venv/bin:$$PATH" npm --prefix frontend test --silent
	@failed=0; \
	  OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	    tests $(CLOCKED:%=--ignore=%) || failed=1; \
	  .venv/bin/python -m pytest $(CLOCKED) || failed=1; \
	  exit $$failed

bench: setup-tests
	@mkdir -p build/benchmarks
	@set -e; for script in benchmarks/*.py; do \
	  .venv/bin/python $$script --json build/benchmarks/$$(basename $$script .py).json; done

kill: setup-tests
	KILLS=30 .venv/bin/python -m pytest --log-cli-level info --override-ini timeout=7200 tests/kill/test_everything_survives.py

# 77: cannot be tried on this machine, and has said why
bare:
	@scripts/bare.sh || [ $$? = 77 ]

images: setup-tests
	@.venv/bin/python scripts/try_images.py || [ $$? = 77 ]

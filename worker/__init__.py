"""Processes beside the API: job workers and what they run, robot hosts, and `studio up`."""

import os

# Celery reads both when it is imported, which others do before its worker begins: SIGTERM does not wait for jobs, and
# our processes keep the names under which they are looked for.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
os.environ.setdefault("NOSETPS", "1")

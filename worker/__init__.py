"""Processes beside the API: job workers and what they run, robot hosts, and `studio up`."""

"""How compute threads wait for each other when the cores are shared with other work."""

import os


def share_cores() -> None:
    """Let OpenMP threads spin only briefly before they sleep. Call it before torch is loaded; user settings stay.

    GNU OpenMP, which torch uses on Linux, spins for long by default. On a machine that is busy with anything else (a
    robot's control loop, a second training, the studio) its threads then wait for each other's time slices: two
    trainings on two cores ran forty times slower than one (benchmarks/busy_machine.py). A short spin keeps the speed of
    a quiet machine and loses only the share of the cores that others take.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")

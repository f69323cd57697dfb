"""kill -9 while recording: the file opens, nothing in it is ragged, and at most the last half second is gone, beyond
what the machine itself was behind with.

KILLS=n kills so often (default 8), KILL_SEED=n repeats the moments of a run that failed. `make kill` kills 30 times.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np

from dexvla.episodes.check import check_file
from dexvla.episodes.reader import open_episode
from dexvla.recording.finish import finish
from dexvla.recording.journal import read_journal
from tests.support.paths import ROOT

KILLS = int(os.environ.get("KILLS", "8"))

PROCESS = ROOT / "tests" / "support" / "recording_process.py"


def test_a_killed_recording_loses_half_a_second_at_most(tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED", random.randrange(10**6)))
    random.seed(seed)
    for number in range(KILLS):
        journal = tmp_path / f"{number}.partial"
        process = subprocess.Popen([sys.executable, PROCESS, journal], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        taken = [process.stdout.readline()]  # it records now
        moment = random.uniform(0.15, 1.2)
        while float(taken[-1].split()[1]) < moment:
            taken.append(process.stdout.readline())
        process.kill()
        taken += [line for line in process.stdout if line.endswith("\n")]
        process.wait()
        last, at = int(taken[-1].split()[0]), float(taken[-1].split()[1])
        recorded = read_journal(journal)
        steps = len(recorded.steps)
        assert not recorded.ended
        assert steps, f"nothing kept, KILL_SEED={seed}"
        lost = at - float(taken[steps - 1].split()[1])
        # What the machine was behind with by itself is not the recorder's: the loop waits for nothing.
        behind = max(float(line.split()[1]) - 0.02 * int(line.split()[0]) for line in taken)
        assert lost - behind <= 0.5, f"{last + 1 - steps} steps lost, KILL_SEED={seed}"
        episode = tmp_path / f"{number}.hdf5"
        assert finish(journal, episode) == steps
        assert check_file(episode).errors == []
        with open_episode(episode) as kept:
            assert (kept.qpos[:, 0] == np.arange(steps)).all(), "every step up to the last one"
        journal.unlink()
        episode.unlink()

"""Make the episode file of a recording, in a process of its own: a control loop must not share its interpreter with it.

    python -m dexvla.recording.finish

Started when a recording begins, so that everything is loaded when it ends. Standard input: one line, the JSON of
[journal, episode]. Standard output: one line of JSON, {"steps": T}, {"unreadable": "..."} for what is no recording or
{"error": "..."}. Ends when its input is closed.
"""

import json
import os
import signal
import sys
from pathlib import Path

from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError
from dexvla.recording.journal import read_journal

_NICE = 5


def finish(journal: Path, episode: Path) -> int:
    """Write `episode` from `journal`, which stays; returns the number of steps, 0 without a file where none was kept.
    One that is there already is replaced: it is of an earlier try. Raises EpisodeError, OSError."""
    recorded = read_journal(journal)
    if recorded.steps:
        episode.unlink(missing_ok=True)
        write_episode(episode, recorded.episode())
    return len(recorded.steps)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it, who then closes our input
    os.nice(_NICE)
    line = sys.stdin.readline()
    if not line.strip():
        return
    journal, episode = map(Path, json.loads(line))
    try:
        answer: dict[str, object] = {"steps": finish(journal, episode)}
    except EpisodeError as error:
        answer = {"unreadable": str(error)}
    except OSError as error:
        answer = {"error": error.strerror or str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()

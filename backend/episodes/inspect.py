"""Look at a file that came from outside, in a process that can do little harm: limits on memory, time and file size,
no HDF5 plug-ins, and no network where the kernel lets us leave it.

python -m backend.episodes.inspect SOURCE TARGET LIMIT_BYTES KEEP_LABELS

Writes the fresh copy TARGET and prints what was found as one line of JSON. Exit status 0 also when the file is refused
(`errors` says why); any other status is a file that broke the reader.
"""

import ctypes
import json
import os
import resource
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

_MEMORY_BYTES = 4 * 2**30
_CPU_SECONDS = 600
_CLONE_NEWNET = 0x40000000
_EVERY_FRAME_STEPS = 4000  # of longer episodes about 25 pictures a camera are decoded


def _confine(largest_file: int) -> None:
    os.environ["HDF5_PLUGIN_PATH"] = ""
    ctypes.CDLL(None).unshare(_CLONE_NEWNET)  # only where it is allowed; the limits below hold everywhere
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def main(source: str, target: str, limit_bytes: str, keep_labels: str) -> None:
    _confine(int(limit_bytes))
    from backend.episodes.copying import fresh_copy
    from dexvla.episodes.check import check_file
    from dexvla.episodes.identity import episode_identity
    from dexvla.episodes.manifest import camera_spec
    from dexvla.episodes.reader import open_episode
    from dexvla.errors import EpisodeError

    found: dict[str, object] = {}
    try:
        with open_episode(source) as episode:
            steps = episode.steps
        report = check_file(Path(source), every_frame=steps <= _EVERY_FRAME_STEPS)
        found = {"errors": report.errors, "warnings": report.warnings}
        if report.ok:
            with open_episode(source) as episode:
                identity = episode_identity(episode)
            fresh_copy(Path(source), Path(target), keep_labels=keep_labels == "yes")
            with open_episode(target) as episode:
                assert episode_identity(episode) == identity, "the copy is another episode"
                found |= {
                    "identity": identity,
                    "steps": episode.steps,
                    "action_dim": episode.action.shape[1],
                    "state_dim": episode.qpos.shape[1],
                    "cameras": [camera_spec(episode, name).model_dump() for name in episode.cameras],
                    "instruction": episode.instruction,
                    "labels": episode.substep_reasonings,
                    "label_source": episode.label_source,
                    **asdict(episode.attributes),
                }
    except EpisodeError as error:
        found = {"errors": [str(error).removeprefix(f"{source}: ")], "warnings": []}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

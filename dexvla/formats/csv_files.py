"""Out: tables. One CSV an episode with a row a step, and episodes.csv with a row an episode.

float32 is written with the fewest digits that give the same float32 back, times likewise as float64.
"""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.segments import per_step
from dexvla.formats.base import Exported, ExportEpisode
from dexvla.formats.outgoing import Outgoing, outgoing
from dexvla.formats.stored import our_facts

FACTS = "dexvla"  # column: what has no other, as JSON
_COLUMNS = (
    "name",
    "file",
    "steps",
    "fps",
    "instruction",
    "paraphrases",
    "success",
    "robot",
    "task",
    "cameras",
    "label_source",
    "tags",
    "person",
    FACTS,
)


class CsvExporter:
    """<name>.csv: time (s), step, state_*, velocity_*, action_*, substep, source. episodes.csv: what is said of each.

    Lists (paraphrases, cameras, tags) are JSON. A velocity that is all zeros is left out: its file has none.
    """

    name = "csv"
    title = "Tables of times, states, actions and substeps (CSV)"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        with (out / "episodes.csv").open("w", encoding="utf-8", newline="") as list_file:
            table = csv.DictWriter(list_file, _COLUMNS, lineterminator="\n")
            table.writeheader()
            for episode in episodes:
                with outgoing(episode) as going:
                    _write(out / f"{episode.name}.csv", going)
                    table.writerow(_about(going))
                    warnings = going.clock.warnings
                on_episode(Exported(name=episode.name, files=(f"{episode.name}.csv",), warnings=warnings))
        return ()


def float32_texts(values: NDArray[np.float32]) -> list[str]:
    """Each with the fewest digits that round to it."""
    return [str(value) for value in values]


def _write(path: Path, going: Outgoing) -> None:
    file = going.file
    times = file.timestamp if file.timestamp is not None else going.clock.seconds
    motion = {"state": file.qpos, "velocity": file.qvel, "action": file.action}
    if not file.qvel.any():
        del motion["velocity"]
    substeps = per_step(going.substeps) or [""] * file.steps
    sources = file.step_source or ("",) * file.steps
    with path.open("w", encoding="utf-8", newline="") as target:
        table = csv.writer(target, lineterminator="\n")
        names = [f"{name}_{number}" for name, array in motion.items() for number in range(array.shape[1])]
        table.writerow(["time", "step", *names, "substep", "source"])
        for step in range(file.steps):
            values = [text for array in motion.values() for text in float32_texts(array[step])]
            table.writerow([repr(float(times[step])), step, *values, substeps[step], str(sources[step])])


def _about(going: Outgoing) -> dict[str, str | int | float]:
    labels, about = going.labels, going.file.attributes
    return {
        "name": labels.name,
        "file": f"{labels.name}.csv",
        "steps": going.file.steps,
        "fps": "" if about.fps is None else repr(about.fps),
        "instruction": labels.instruction,
        "paraphrases": json.dumps(labels.paraphrases, ensure_ascii=False),
        "success": "" if going.success is None else str(going.success).lower(),
        "robot": about.robot or "",
        "task": about.task or "",
        "cameras": json.dumps(going.file.cameras, ensure_ascii=False),
        "label_source": str(labels.label_source or ""),
        "tags": json.dumps(labels.tags, ensure_ascii=False),
        "person": labels.person or "",
        FACTS: json.dumps(our_facts(going), ensure_ascii=False),
    }


CSV = CsvExporter()

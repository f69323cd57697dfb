"""The outcomes of a closed-loop evaluation on disk, each as soon as it is known, so that it can be watched and resumed.

settings.json    what is evaluated; only a run of the very same goes on from what is there
episodes.jsonl   one EpisodeOutcome a line
"""

import json
import os
from pathlib import Path

from pydantic import ValidationError

from dexvla.files import atomic_file, write_json
from dexvla.spec import EpisodeOutcome, EvalSpec

SETTINGS, OUTCOMES = "settings.json", "episodes.jsonl"


class OutcomeLog:
    """Begins anew, or with `resume` takes over what an interrupted run with the same settings left in the folder.

    videos: folder of the videos; an outcome whose video is gone is not taken over.
    """

    def __init__(
        self, folder: Path, spec: EvalSpec, *, checkpoint_sha256: str | None, resume: bool, videos: Path | None
    ) -> None:
        self._file = folder / OUTCOMES
        settings = {"spec": spec.model_dump(mode="json"), "checkpoint_sha256": checkpoint_sha256}
        same = resume and _settings(folder / SETTINGS) == settings
        outcomes = read_outcomes(self._file) if same else []
        self.finished = {
            outcome.seed: outcome
            for outcome in outcomes
            if videos is None or (outcome.video is not None and (videos / outcome.video).is_file())
        }
        write_json(folder / SETTINGS, settings)
        with atomic_file(self._file) as temporary:
            temporary.write_text("".join(map(_line, self.finished.values())), encoding="utf-8")

    def add(self, outcome: EpisodeOutcome) -> None:
        """Append one in one write, so that a reader beside us finds whole lines, but for the last after a kill."""
        if outcome.seed in self.finished:
            return
        with self._file.open("ab") as file:
            file.write(_line(outcome).encode())
            file.flush()
            os.fsync(file.fileno())


def read_outcomes(path: Path) -> list[EpisodeOutcome]:
    """Up to the first line that is not whole."""
    outcomes: list[EpisodeOutcome] = []
    if path.is_file():
        for line in path.read_bytes().splitlines():
            try:
                outcomes.append(EpisodeOutcome.model_validate_json(line))
            except ValidationError:
                break
    return outcomes


def _line(outcome: EpisodeOutcome) -> str:
    return json.dumps(outcome.model_dump(mode="json"), ensure_ascii=False, allow_nan=False) + "\n"


def _settings(path: Path) -> object:
    """As they would be written today, also where an earlier version wrote them."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "spec": EvalSpec.model_validate(found["spec"]).model_dump(mode="json")}
    except (OSError, ValueError, KeyError, TypeError):
        return None

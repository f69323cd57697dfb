"""Scripted demonstrations: `dexvla record` into a folder of the job, each episode into the dataset as it is done.

What a later attempt goes on from: recorded.json, the first seed that is not played yet and the seeds that failed.
The recorder plays seeds in order and writes the episode before it reports the seed, so a seed that was not reported
may have left a file; playing it again makes the same episode, which the dataset takes once.
"""

import json
import sys
from pathlib import Path
from typing import Any

from backend.datasets.jobs import RecordPayload
from backend.intake.accept import AlreadyThereError, accept
from backend.tables.episode import EpisodeSource
from dexvla.files import write_json
from worker.jobs.handlers.base import Handler, JobContext, Progress


class RecordHandler(Handler):
    payload = RecordPayload
    resumes = "it goes on after the episodes that it has"

    def __init__(self) -> None:
        self._first = 0  # seed that this attempt began with
        self._note = "starting"

    def command(self, job: JobContext) -> list[str] | None:
        spec, known = job.read(RecordPayload).spec, self._known(job)
        self._first = known["next"]
        left = spec.seed + spec.episodes - self._first
        if left <= 0:
            return None
        staging = self._staging(job)
        staging.mkdir(exist_ok=True)
        for half in staging.glob(".*.tmp"):  # of a recorder that was killed
            half.unlink()
        file = job.folder / "spec.json"
        write_json(file, spec.model_copy(update={"seed": self._first, "episodes": left}).model_dump(mode="json"))
        return [sys.executable, "-m", "dexvla.cli", "record", "--spec", str(file), "--out", str(staging)]

    def poll(self, job: JobContext) -> Progress | None:
        """Episodes that are done go into the dataset; then how many seeds were played."""
        spec, reported = job.read(RecordPayload).spec, job.reported()
        for file in sorted(self._staging(job).glob("episode_*.hdf5"), key=lambda path: int(path.stem.split("_")[1])):
            self._take(job, file)
        if reported is not None:
            self._note = reported.note
            self._remember(job, self._first + reported.done)
        return Progress(done=self._known(job)["next"] - spec.seed, total=spec.episodes, note=self._note)

    def finish(self, job: JobContext) -> dict[str, Any]:
        spec, known = job.read(RecordPayload).spec, self._known(job)
        episodes, taken = known["episodes"], known["already_there"]
        return {
            "episodes": episodes,
            "already_there": taken,
            "failed": spec.episodes - len(episodes) - taken if not spec.keep_failures else 0,
        }

    def _take(self, job: JobContext, file: Path) -> None:
        """Into the dataset, then out of the folder: after a kill in between it is found to be there already."""
        payload = job.read(RecordPayload)
        with job.fenced():  # before the work; the lock of the job keeps other attempts away meanwhile
            pass
        known = self._known(job)
        begun_before = known["taking"] == file.name  # by an attempt that was killed while it took this file
        known["taking"] = file.name
        write_json(self._state(job), known)
        try:
            accepted = accept(
                job.studio,
                dataset_id=payload.dataset_id,
                file=file,
                source=EpisodeSource.RECORDED,
                created_by=job.created_by,
                keep_labels=payload.labelled,
            )
            known["episodes"].append(accepted.episode_id)
        except AlreadyThereError as error:
            if begun_before:
                known["episodes"].append(error.episode_id)
            elif error.episode_id not in known["episodes"]:
                known["already_there"] += 1
        known["taking"] = None
        write_json(self._state(job), known)
        file.unlink()
        job.publish("dataset", payload.dataset_id)

    def _remember(self, job: JobContext, following: int) -> None:
        known = self._known(job)
        if following > known["next"]:
            write_json(self._state(job), {**known, "next": following})

    def _known(self, job: JobContext) -> dict[str, Any]:
        """next: first seed not played yet; episodes: ids of those taken; already_there: recorded by another job."""
        try:
            found: dict[str, Any] = json.loads(self._state(job).read_bytes())
        except FileNotFoundError:
            return {"next": job.read(RecordPayload).spec.seed, "episodes": [], "already_there": 0, "taking": None}
        return found

    def _state(self, job: JobContext) -> Path:
        return job.folder / "recorded.json"

    def _staging(self, job: JobContext) -> Path:
        return job.folder / "episodes"

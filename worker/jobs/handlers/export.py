"""Chosen episodes of a dataset into a format of other tools: `dexvla export`, into a folder that is whole or not there.

The archive is not written: it is made of the folder while it is sent, and only its hash is computed here.
"""

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from backend.core.archive import sha256_of
from backend.core.db import database_now
from backend.core.errors import NotFoundError
from backend.episodes.files import file_of
from backend.episodes.repository import with_files
from backend.exports.files import archive_parts, files_of
from backend.exports.jobs import MANIFEST, ExportPayload
from backend.exports.landing import land
from backend.exports.schemas import DestinationKind, DestinationOut
from backend.store.hold import hold
from backend.store.small import obtain, publish
from backend.tables.export import Export
from dexvla.episodes.manifest import load_manifest, save_manifest
from dexvla.errors import UserError
from dexvla.files import NO_LINKS
from dexvla.progress import READING
from worker.jobs.handlers.base import Handler, JobContext, Progress

_WARNINGS = 100  # that are kept; the job's log has all


class ExportHandler(Handler):
    payload = ExportPayload
    resumes = "it starts again"

    def command(self, job: JobContext) -> list[str] | None:
        if self._row(job).finished_at is not None:  # an earlier attempt made it and died before its row said so
            return None
        out = self._out(job)
        out.parent.mkdir(exist_ok=True)
        self._remove(job)  # what an attempt left that was killed
        self._report(job).unlink(missing_ok=True)
        wanted = job.read(ExportPayload)
        return [
            *(sys.executable, "-m", "dexvla.cli", "export", str(self._named(job))),
            *("--format", wanted.format, "--out", str(out), "--json", str(self._report(job))),
        ]

    def poll(self, job: JobContext) -> Progress | None:
        """Counts episodes that are written; what is only being looked at does not count."""
        line = job.last_line()
        if line is not None and line.what == READING:
            return Progress(done=0, total=line.total, note=f"looking at episode {line.done}")
        return job.reported()

    def finish(self, job: JobContext) -> dict[str, Any]:
        row = self._row(job)
        if row.finished_at is None:
            out = self._out(job)
            if not out.is_dir():
                raise UserError(f"{out}: the export left no folder")
            parts = archive_parts(out, row.name, made=row.created_at)
            where = DestinationOut.model_validate(row.destination)
            if where.kind is DestinationKind.ARCHIVE:
                size, sha256 = sum(part.size for part in parts), sha256_of(parts)
                publish(job.studio.store, job.studio.settings.data, out)
            else:
                where = where.model_copy(update={"landed": land(job.studio, row, where, out)})
                size, sha256 = files_of(parts)[1], None
            with job.fenced() as db:
                row = db.get_one(Export, row.id)
                row.files, row.file_bytes = files_of(parts)
                row.size_bytes, row.destination = size, where.model_dump(mode="json")
                row.sha256, row.warnings = sha256, self._warnings(job)
                row.finished_at = database_now(db)
        if row.destination["kind"] != DestinationKind.ARCHIVE or job.studio.store.remote:
            self._remove(job)  # what is elsewhere takes no room here
        self._unname(job)
        job.publish("dataset", row.dataset_id)
        return {"episodes": len(row.episode_ids), "files": row.files, "size_bytes": row.size_bytes}

    def clean(self, job: JobContext) -> None:
        self._unname(job)
        self._remove(job)

    def _remove(self, job: JobContext) -> None:
        """The export, and what was half-written of it."""
        out = self._out(job)
        for left in (out, *out.parent.glob(f".{out.name}.*.tmp")):
            shutil.rmtree(left, ignore_errors=True)

    def _named(self, job: JobContext) -> Path:
        """The manifest with files that are called as people know the episodes (episode_12.hdf5), since formats keep the
        names: links to the same bytes. Where the file system has no such links they keep the studio's own names.

        Raises UserError for a file that is gone, OSError for a full disk.
        """
        folder = self._links(job)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        studio = job.studio
        manifest = load_manifest(obtain(studio.store, studio.settings.data, job.folder / MANIFEST))
        with studio.db.transaction(write=False) as db:
            rows = {row.id: row for row in with_files(db, self._row(job).dataset_id)}
        entries = []
        for entry in manifest.episodes:
            row = rows.get(Path(entry.path).stem)
            if row is None:
                raise UserError("an episode of this export was deleted meanwhile; export again")
            try:
                file = file_of(studio, row)
            except NotFoundError:
                raise UserError(
                    f"the file of episode {row.number} is gone; restore it from a backup, then export again"
                ) from None
            link = folder / f"episode_{row.number}.hdf5"
            if _linked(file, link, copied=studio.store.remote):
                entry = entry.model_copy(update={"path": f"{folder.name}/{link.name}"})
            entries.append(entry)
        path = job.folder / "named.json"
        save_manifest(path, manifest.model_copy(update={"episodes": tuple(entries)}))
        return path

    def _unname(self, job: JobContext) -> None:
        shutil.rmtree(self._links(job), ignore_errors=True)
        (job.folder / "named.json").unlink(missing_ok=True)

    def _row(self, job: JobContext) -> Export:
        """Raises UserError if the export was deleted."""
        with job.studio.db.transaction(write=False) as db:
            row = db.get(Export, job.read(ExportPayload).export_id)
        if row is None or row.deleted_at is not None:
            raise UserError("this export was deleted; make a new one")
        return row

    def _out(self, job: JobContext) -> Path:
        return job.studio.settings.folder.export(job.read(ExportPayload).export_id)

    def _links(self, job: JobContext) -> Path:
        return job.studio.settings.folder.export_links(job.id)

    def _report(self, job: JobContext) -> Path:
        return job.folder / "report.json"

    def _warnings(self, job: JobContext) -> list[str]:
        """What the command warned of, of an episode with its name in front; then what was guessed of the episodes."""
        try:
            report = json.loads(self._report(job).read_bytes())
        except FileNotFoundError:
            report = {}
        found = [str(one) for one in report.get("warnings", [])]
        for episode in report.get("episodes", []):
            found += [f"{episode['name']}: {one}" for one in episode.get("warnings", [])]
        return (found[:_WARNINGS] + self._guesses(job))[: 2 * _WARNINGS]

    def _guesses(self, job: JobContext) -> list[str]:
        """Of the exported episodes, each with how many share it: whoever trains on them elsewhere should know."""
        row = self._row(job)
        exported = set(row.episode_ids)
        with job.studio.db.transaction(write=False) as db:
            rows = [one for one in with_files(db, row.dataset_id) if one.id in exported]
        counts = Counter(guess for one in rows for guess in one.guesses)
        return [f"guessed at the import of {_episodes(count)}: {guess}" for guess, count in counts.most_common()]


def _episodes(count: int) -> str:
    return f"{count} {'episode' if count == 1 else 'episodes'}"


def _linked(file: Path, link: Path, *, copied: bool) -> bool:
    """Whether `link` is another name of the file now. copied: where the disk has no such links, since the file may go
    from its cache meanwhile. Raises OSError for a full disk."""
    if copied:
        hold(file, link)
        return True
    try:
        os.link(file, link)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True

"""What lies where below the studio's data folder. Names are made by the server, never by a client."""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_OTHERS = 0o077  # what group and everybody may do
_SOCKET_NAME_MAX = 100  # a unix socket's path may have 107 bytes


class DataFolder:
    """Paths below `root`. Nothing is made here; `prepare` makes the folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "studio.db"
        self.lock = root / "studio.lock"
        self.restoring = root / "restore.json"  # while a restore is being put in place, see worker.admin.backup.switch
        self.reserve = root / "reserve"  # space for the day when the disk is full, see backend.core.space
        self.mark = root / "studio.mark"  # how much the database knew, see backend.storage.mark
        self.secrets = root / "secrets"
        self.broker = root / "valkey"
        self.sockets = root / "sockets"  # of running processes
        self.api_lock = self.sockets / "api.lock"  # one process serves a studio, see worker.core.data_lock
        self.logs = root / "logs"
        self.episodes = root / "episodes"
        self.versions = root / "versions"
        self.runs = root / "runs"
        self.jobs = root / "jobs"
        self.evaluations = root / "evaluations"
        self.exports = root / "exports"
        self.models = root / "models"
        self.robots = root / "robots"
        self.uploads = root / "uploads"
        self.staging = root / "staging"  # files that are uploaded in pieces, see backend.uploads
        self.staging_lock = self.staging / "lock"  # of whoever takes them in: there where an API has been
        self.cache = root / "cache"
        self.store_cache = self.cache / "store"  # files of a store elsewhere, by hash; see backend.store.cache
        self.lost = (
            root / "lost"
        )  # what the database does not know, see worker.admin.sweeper; made when there is something

    @property
    def broker_socket(self) -> Path:
        """In the data folder, or where its path is too long for a socket in the system's temporary folder."""
        path = self.broker / "valkey.sock"
        if len(str(path).encode()) <= _SOCKET_NAME_MAX:
            return path
        name = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"studio-{name}.sock"

    def prepare(self) -> None:
        for folder in (
            self.root,
            self.secrets,
            self.broker,
            self.sockets,
            self.logs,
            self.episodes,
            self.versions,
            self.runs,
            self.jobs,
            self.evaluations,
            self.exports,
            self.models,
            self.robots,
            self.uploads,
            self.staging,
            self.cache,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        for private in (self.secrets, self.broker, self.sockets):
            private.chmod(0o700)
        self._tighten()

    def _tighten(self) -> None:
        """Nobody else on the machine may look in: what an older studio left open is closed, once.

        What is made from now on is private by the processes' umask. The root comes last: while it is open, this was
        not finished. What belongs to another account is left to it.
        """
        if not self.root.stat().st_mode & _OTHERS:
            return
        for folder, _, names in os.walk(self.root, followlinks=False):
            for path in (Path(folder, name) for name in names):
                if not path.is_symlink():
                    _close(path)
            if Path(folder) != self.root:
                _close(Path(folder))
        _close(self.root)

    def episode(self, dataset_id: str, episode_id: str) -> Path:
        return self.episodes / dataset_id / f"{episode_id}.hdf5"

    def manifest(self, version_id: str) -> Path:
        return self.versions / version_id / "manifest.json"

    def run(self, run_id: str) -> Path:
        return self.runs / run_id

    def job(self, job_id: str) -> Path:
        """log.txt, progress.jsonl and whatever else a job leaves."""
        return self.jobs / job_id

    def evaluation(self, evaluation_id: str) -> Path:
        return self.evaluations / evaluation_id

    def export(self, export_id: str) -> Path:
        """Made as a whole by its job; there is nothing here before."""
        return self.exports / export_id

    def staged(self, upload_id: str) -> Path:
        """Of an upload: a file an id, never a name."""
        return self.staging / upload_id

    def held(self, job_id: str) -> Path:
        """Files of a store elsewhere that a job needs as long as it is not over."""
        return self.cache / "held" / job_id

    def export_links(self, job_id: str) -> Path:
        """While an export is written: links to the files of its episodes."""
        return self.job(job_id) / "episodes"


def _close(path: Path) -> None:
    with suppress(PermissionError, FileNotFoundError):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~_OTHERS)

"""What lies where below the studio's data folder. Names are made by the server, never by a client."""

import hashlib
import tempfile
from pathlib import Path

_SOCKET_NAME_MAX = 100  # a unix socket's path may have 107 bytes


class DataFolder:
    """Paths below `root`. Nothing is made here; `prepare` makes the folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "studio.db"
        self.lock = root / "studio.lock"
        self.restoring = root / "restore.json"  # while a restore is being put in place, see worker.backup.switch
        self.reserve = root / "reserve"  # space for the day when the disk is full, see backend.space
        self.mark = root / "studio.mark"  # how much the database knew, see backend.storage.mark
        self.secrets = root / "secrets"
        self.broker = root / "valkey"
        self.sockets = root / "sockets"  # of running processes
        self.logs = root / "logs"
        self.episodes = root / "episodes"
        self.versions = root / "versions"
        self.runs = root / "runs"
        self.jobs = root / "jobs"
        self.evaluations = root / "evaluations"
        self.models = root / "models"
        self.robots = root / "robots"
        self.uploads = root / "uploads"
        self.cache = root / "cache"
        self.lost = root / "lost"  # what the database does not know, see worker.sweeper; made when there is something

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
            self.models,
            self.robots,
            self.uploads,
            self.cache,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        for private in (self.secrets, self.broker, self.sockets):
            private.chmod(0o700)

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

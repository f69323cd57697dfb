"""A checkpoint as it was saved -> its row."""

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from backend.core.archive import sha256_of, tar_parts
from backend.core.downloads import Part
from backend.tables.checkpoint import Checkpoint
from dexvla.checksums import MANIFEST


@dataclass(frozen=True, kw_only=True)
class Found:
    """A checkpoint's files, and what its archive is. mtime: of the archive's entries, seconds since 1970.

    robot: that its policy was trained for; None where its data did not tell.
    """

    manifest: dict[str, Any]
    robot: str | None
    manifest_sha256: str
    files: list[dict[str, Any]]
    mtime: int
    size: int
    sha256: str


def read(folder: Path, archive_name: str) -> Found:
    """Read a whole checkpoint once. Hashes of its files are those of its manifest."""
    data = (folder / MANIFEST).read_bytes()
    manifest = json.loads(data)
    files = [{"name": name, "size": one["bytes"], "sha256": one["sha256"]} for name, one in manifest["files"].items()]
    digest = sha256(data).hexdigest()
    own = {"name": MANIFEST, "size": len(data), "sha256": digest}
    files = [own, *sorted(files, key=lambda file: str(file["name"]))]
    mtime = int(datetime.fromisoformat(manifest["created"]).timestamp())
    entries = [(str(one["name"]), Part(size=one["size"], file=folder / one["name"])) for one in files]
    parts = tar_parts(archive_name, entries, mtime=mtime)
    return Found(
        manifest=manifest,
        robot=_robot(folder),
        manifest_sha256=digest,
        files=files,
        mtime=mtime,
        size=sum(part.size for part in parts),
        sha256=sha256_of(parts),
    )


def _robot(folder: Path) -> str | None:
    config = json.loads((folder / "config.json").read_bytes())
    found = (config.get("policy") or {}).get("robot")
    return found if isinstance(found, str) else None


def new_row(run_id: str, step: int, attempt: int, found: Found) -> Checkpoint:
    manifest = found.manifest
    validation = manifest.get("validation") or {}
    return Checkpoint(
        run_id=run_id,
        step=step,
        stage=manifest["stage"],
        attempt=attempt,
        sha256=found.manifest_sha256,
        size_bytes=sum(file["size"] for file in found.files),
        files=found.files,
        archive_sha256=found.sha256,
        val_loss=validation.get("val_loss"),
        info={
            "mtime": found.mtime,
            "robot": found.robot,
            "archive_size": found.size,
            "validation": validation,
            "precision": manifest.get("precision"),
            "dexvla_version": manifest.get("dexvla_version"),
            "dataset": manifest.get("dataset"),
            "episodes": len(manifest.get("episodes", ())),
            "held_out": len(manifest.get("held_out", ())),
        },
    )

"""The spec of a run with the paths of the machine that trains it.

Where all machines share a data folder those are the spec's own. Otherwise what the run starts from is found by its rows
and kept on this machine until its job is over.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.base_models.files import model_path
from backend.checkpoints.files import checkpoint_folder
from backend.store.hold import hold_folder
from backend.studio.context import Studio
from backend.tables.base_model import RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset_version import DatasetVersion
from backend.tables.run import Run
from backend.training.schemas import RunIn
from backend.versions.files import held_version, rows_of
from dexvla.errors import UserError
from dexvla.spec import TrainSpec


@dataclass(frozen=True, kw_only=True)
class From:
    """What a run starts from, by ids. sources: [{"version_id", "weight"}]."""

    sources: list[dict[str, Any]]
    base_model_id: str | None
    expert_id: str | None
    checkpoint_id: str | None

    @classmethod
    def of_run(cls, row: Run) -> "From":
        return cls(
            sources=row.sources,
            base_model_id=row.base_model_id,
            expert_id=row.expert_id,
            checkpoint_id=row.parent_id,
        )

    @classmethod
    def of_request(cls, body: RunIn) -> "From":
        return cls(
            sources=[source.model_dump() for source in body.sources],
            base_model_id=body.base_model_id,
            expert_id=body.expert_id,
            checkpoint_id=body.checkpoint_id,
        )


def on_this_machine(studio: Studio, spec: TrainSpec, begins: From, *, output_dir: Path, held: Path) -> TrainSpec:
    """held: a folder for what comes from the store. Gigabytes may be fetched, in no transaction.

    Raises UserError, or an ApiError, for what is gone; StoreAwayError.
    """
    if not studio.store.remote:
        return spec
    with studio.db.transaction(write=False) as db:
        versions = [db.get(DatasetVersion, source["version_id"]) for source in begins.sources]
        episodes = [[] if version is None else rows_of(db, studio, version) for version in versions]
        base = None if begins.base_model_id is None else _registered(db, begins.base_model_id)
        expert = None if begins.expert_id is None else _registered(db, begins.expert_id)
        checkpoint = None if begins.checkpoint_id is None else db.get(Checkpoint, begins.checkpoint_id)
    data = []
    for version, rows, one in zip(versions, episodes, spec.data, strict=True):
        if version is None:
            raise UserError("a dataset version that this run trains on was deleted; copy the run and choose another")
        manifest = held_version(studio, version, rows, held / version.id)
        data.append(one.model_copy(update={"path": str(manifest)}))
    init_from = None if base is None else model_path(studio, base)
    if begins.checkpoint_id is not None:
        if checkpoint is None or checkpoint.deleted_at is not None:
            raise UserError("the checkpoint that this run starts from was deleted; copy the run and choose another")
        init_from = hold_folder(checkpoint_folder(studio, checkpoint), held / "checkpoint")
    cache = studio.settings.folder.cache
    changes: dict[str, Any] = {
        "data": tuple(data),
        "init_from": None if init_from is None else str(init_from),
        "pretrained_expert": None if expert is None else str(model_path(studio, expert)),
        "output_dir": str(output_dir),
        "picture_cache": None if spec.picture_cache is None else str(cache / "pictures"),
        "kept_conditions": None if spec.kept_conditions is None else str(cache / "conditions"),
    }
    return spec.model_copy(update=changes)


def _registered(db: Session, model_id: str) -> RegisteredModel:
    row = db.get(RegisteredModel, model_id)
    if row is None:
        raise UserError("a model that this run starts from is not registered any more; copy the run and choose another")
    return row

"""What a run starts from: a base model and perhaps an expert (stage 2), or a policy (stage 3)."""

import math
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from backend.base_models.detect import Found, detect
from backend.base_models.files import model_path
from backend.base_models.service import facts
from backend.checkpoints.files import checkpoint_outline
from backend.checkpoints.names import checkpoint_name
from backend.checkpoints.whole import require_manifest
from backend.core.errors import ConflictError
from backend.studio.context import Studio
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.run import Run
from backend.training.schemas import RunIn
from dexvla.errors import CheckpointError
from dexvla.spec import (
    EXPERT_SIZES,
    EXPERT_TYPE,
    POLICY_TYPE,
    PRETRAINER_TYPE,
    PolicySpec,
    PretrainerSpec,
    ScaleDPSpec,
    TrainSpec,
    default_chunk,
)

_GONE = "its files are gone from {path}; put them back there, or register the model again and choose that"


@dataclass(kw_only=True)
class Start:
    """model: base model or policy. origin: names and hashes for the run to keep. errors: by field of the form."""

    model: Found | None = None
    expert: Found | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def find(db: Session, studio: Studio, body: RunIn) -> Start:
    """Look everything up that the form names. What is missing or of the wrong kind is an error at its field."""
    start = Start()
    if body.stage == 2:
        if body.checkpoint_id is not None:
            start.errors["checkpoint_id"] = "stage 2 starts from a base model; leave the checkpoint out"
        if body.base_model_id is None:
            start.errors["base_model_id"] = "stage 2 starts from a base model (Qwen2-VL weights); choose one"
        else:
            start.model = _registered(db, studio, start, "base_model_id", body.base_model_id, {ModelKind.BACKBONE})
        if body.expert_id is not None:
            kinds = {ModelKind.EXPERT, ModelKind.POLICY}
            start.expert = _registered(db, studio, start, "expert_id", body.expert_id, kinds)
        return start
    if body.expert_id is not None:
        start.errors["expert_id"] = "stage 3 starts from a whole checkpoint; leave the expert out"
    if body.checkpoint_id is not None and body.base_model_id is not None:
        start.errors["base_model_id"] = "stage 3 starts from a checkpoint or from a registered policy, not from both"
    elif body.checkpoint_id is not None:
        start.model = _checkpoint(db, studio, start, body.checkpoint_id)
    elif body.base_model_id is not None:
        start.model = _registered(db, studio, start, "base_model_id", body.base_model_id, {ModelKind.POLICY})
    else:
        start.errors["checkpoint_id"] = "stage 3 starts from a checkpoint of stage 2 or 3; choose one"
    return start


def _registered(
    db: Session, studio: Studio, start: Start, name: str, model_id: str, kinds: set[ModelKind]
) -> Found | None:
    row = db.get(RegisteredModel, model_id)
    if row is None:
        start.errors[name] = "this model is not registered any more; choose another"
        return None
    if row.kind not in kinds:
        wanted = " or ".join(sorted(_KINDS[kind] for kind in kinds))
        start.errors[name] = f"{row.name} is {_KINDS[ModelKind(row.kind)]}; expected {wanted}"
        return None
    try:
        found = detect(model_path(studio, row))
    except CheckpointError as error:
        start.errors[name] = f"{row.name}: {error}"
        return None
    if found is None or found.kind is not ModelKind(row.kind):
        start.errors[name] = f"{row.name}: " + _GONE.format(path=row.path)
        return None
    start.origin[name.removesuffix("_id")] = facts(row)
    return found


_KINDS = {
    ModelKind.BACKBONE: "a base model",
    ModelKind.EXPERT: "a pretrained expert",
    ModelKind.POLICY: "a policy",
}


def _checkpoint(db: Session, studio: Studio, start: Start, checkpoint_id: str) -> Found | None:
    row = db.get(Checkpoint, checkpoint_id)
    if row is None:
        start.errors["checkpoint_id"] = "there is no such checkpoint; choose another"
        return None
    run = db.get_one(Run, row.run_id)
    name = checkpoint_name(run, row)
    if row.deleted_at is not None:
        start.errors["checkpoint_id"] = f"the files of {name} were deleted ({row.deleted_why}); choose another"
        return None
    try:
        found = detect(checkpoint_outline(studio, row))
    except ConflictError as error:
        start.errors["checkpoint_id"] = error.message
        return None
    if found is None or found.kind is not ModelKind.POLICY:
        start.errors["checkpoint_id"] = f"the files of {name} are gone or damaged; restore them from a backup"
        return None
    try:
        require_manifest(studio, row, run)
    except ConflictError as error:
        start.errors["checkpoint_id"] = error.message
        return None
    start.origin["checkpoint"] = {"id": row.id, "name": name, "sha256": row.sha256, "run_id": row.run_id}
    return found


def trained_policy(found: Found) -> PolicySpec | None:
    """The policy of one of our checkpoints; None for one of the reference, whose config is read when it starts."""
    if found.config.get("model_type") != POLICY_TYPE:
        return None
    try:
        return PolicySpec.model_validate(found.config["policy"])
    except (ValidationError, KeyError):
        return None


def expert_errors(spec: TrainSpec, expert: Found) -> dict[str, str]:
    """Whether the expert's sizes are those of the run, where its files tell."""
    wanted = EXPERT_SIZES[spec.expert or "tiny"]
    kind = expert.config.get("model_type")
    if kind in (None, EXPERT_TYPE) or kind == PRETRAINER_TYPE:
        if not isinstance(wanted, ScaleDPSpec):
            return {"expert": f"the pretrained expert is a ScaleDP; {spec.expert} cannot take its weights"}
        if kind == PRETRAINER_TYPE:
            try:
                return _stage_1_errors(spec, wanted, PretrainerSpec.model_validate(expert.config["pretrainer"]))
            except ValidationError:
                return {"expert_id": f"{expert.path}: its config.json is damaged"}
        if spec.pretrained_embodiment is not None:
            return {"pretrained_embodiment": "only a run of stage 1 has embodiments; leave it out"}
        return {}
    trained = trained_policy(expert)
    if trained is not None and trained.expert != wanted:
        return {"expert": f"the expert in that policy has other sizes than {spec.expert}: {_sizes(trained.expert)}"}
    if trained is not None and trained.chunk_size != (spec.chunk_size or default_chunk(spec.expert)):
        return {"chunk_size": f"the pretrained expert was trained with chunks of {trained.chunk_size} steps"}
    return {}


def _stage_1_errors(spec: TrainSpec, wanted: ScaleDPSpec, found: PretrainerSpec) -> dict[str, str]:
    errors: dict[str, str] = {}
    same = all(
        math.isclose(getattr(wanted, name), getattr(found.expert, name))
        for name in ("depth", "width", "heads", "mlp_ratio")
    )
    if not same:
        errors["expert"] = f"the pretrained expert has other sizes than {spec.expert}: {_sizes(found.expert)}"
    if found.chunk_size != (spec.chunk_size or default_chunk(spec.expert)):
        errors["chunk_size"] = f"the pretrained expert was trained with chunks of {found.chunk_size} steps"
    names = [one.name for one in found.embodiments]
    if spec.pretrained_embodiment is not None and spec.pretrained_embodiment not in names:
        errors["pretrained_embodiment"] = f"the pretrained expert knows {', '.join(names)}"
    return errors


def _sizes(size: Any) -> str:
    named = next((name for name, known in EXPERT_SIZES.items() if known == size), None)
    return named or ", ".join(f"{name} {value}" for name, value in size.model_dump().items())

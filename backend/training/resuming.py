"""Whether a training that is over can go on: from its newest checkpoint or not at all."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.checkpoints.names import checkpoint_name
from backend.core.errors import ConflictError
from backend.tables.checkpoint import Checkpoint
from backend.tables.run import Run


def refuse_if_gone(db: Session, job_id: str) -> None:
    """Raise ConflictError if the run of this job was deleted, or the checkpoint that it would go on from.

    The trainer keeps its own state (optimiser and the like) beside the newest checkpoint alone, so an older one is no
    place to go on from; starting at step 0 again would throw the curves away without a word.
    """
    run = db.scalar(select(Run).where(Run.job_id == job_id, Run.deleted_at.is_(None)))
    if run is None:
        raise ConflictError("This run was deleted; there is nothing to go on with.")
    newest = db.scalars(
        select(Checkpoint)
        .where(Checkpoint.run_id == run.id)
        .order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc())
        .limit(1)
    ).first()
    if newest is not None and newest.deleted_at is not None:
        raise ConflictError(
            f"{run.name} would go on from {checkpoint_name(run, newest)}, whose files are gone "
            f"({newest.deleted_why}). Copy the run to train anew, or start stage 3 from a checkpoint that is left."
        )

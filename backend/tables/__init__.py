"""All tables, imported for their effect on Base.metadata."""

from backend.core.db import Base
from backend.tables import audit_entry as audit
from backend.tables import base_model as registered_models
from backend.tables import checkpoint as checkpoints
from backend.tables import evaluation as evaluations
from backend.tables import job as jobs
from backend.tables import preferences
from backend.tables import robot as robots

__all__ = [
    "Base",
    "annotations",
    "audit",
    "auth",
    "checkpoints",
    "datasets",
    "episodes",
    "evaluations",
    "jobs",
    "preferences",
    "registered_models",
    "robots",
    "suggestions",
    "training",
]

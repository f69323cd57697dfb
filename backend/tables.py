"""All tables, imported for their effect on Base.metadata."""

from backend.annotations import models as annotations
from backend.audit import models as audit
from backend.auth import models as auth
from backend.checkpoints import models as checkpoints
from backend.datasets import models as datasets
from backend.db import Base
from backend.episodes import models as episodes
from backend.evaluations import models as evaluations
from backend.jobs import models as jobs
from backend.models import models as registered_models
from backend.preferences import models as preferences
from backend.robots import models as robots
from backend.suggestions import models as suggestions
from backend.training import models as training

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

"""How a dataset is labelled."""

from pydantic import BaseModel, ConfigDict, Field

from backend.core.roles import Role

MAX_ENTRIES = 500


class Labelling(BaseModel):
    """How a dataset is labelled.

    review: labels are published only after somebody else approved them. template: the substeps in their usual order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    review: bool = Field(False, description="Publish only what somebody else approved")
    reviewer_role: Role = Field(Role.ANNOTATOR, description="Least role of those who approve")
    double_percent: float = Field(
        5.0, ge=0, le=100, description="Episodes that a second person labels without seeing the first's labels, percent"
    )
    plan_tier: bool = Field(False, description="A second text over the same steps: the high-level plan")
    short_seconds: float = Field(0.5, ge=0, le=60, description="Substeps shorter than this are warned about")
    long_seconds: float = Field(15.0, gt=0, le=3600, description="Substeps longer than this are warned about")
    template: list[str] = Field([], description="The substeps of an episode in their usual order")

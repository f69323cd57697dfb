"""A dataset at one look, over the API."""

from pydantic import Field

from backend.core.schemas import Out
from dexvla.spec.survey import Survey


class SurveyedEpisode(Out):
    """An episode that was measured. Its place in the list is what the survey calls it by."""

    id: str
    number: int
    steps: int
    seconds: float | None = Field(description="None: it does not say its rate")
    success: bool | None
    idle_head: int = Field(description="Steps of rest at the beginning")
    idle_tail: int = Field(description="Steps of rest at the end")


class Unreadable(Out):
    """An episode that could not be measured, and why."""

    id: str
    number: int
    error: str


class SurveyOut(Out):
    """survey is None as long as nothing was measured. missing: episodes that are still to be measured."""

    missing: int
    episodes: list[SurveyedEpisode]
    unreadable: list[Unreadable]
    survey: Survey | None
    dimension_names: list[str] = Field(description="Of action and state; one a dimension")

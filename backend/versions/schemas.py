"""Dataset versions, and what a run uses of them."""

from datetime import datetime

from pydantic import Field

from backend.core.schemas import Id, In, Out, Prose


class VersionIn(In):
    """episode_ids: default all that are labelled (published). include_unlabelled: take the others too."""

    note: Prose = Field("", max_length=1000)
    episode_ids: list[Id] | None = Field(None, min_length=1, max_length=50_000, fail_fast=True)
    include_unlabelled: bool = False


class VersionOut(Out):
    id: str
    dataset_id: str
    dataset_name: str
    number: int
    manifest_sha256: str
    episodes: int
    steps: int
    labelled_steps: int
    cameras: list[str]
    action_dim: int
    state_dim: int
    note: str
    created_at: datetime
    created_by_name: str | None
    runs: int = Field(description="Training runs that use it")


class SourceOut(Out):
    version_id: str
    dataset_id: str
    dataset_name: str
    number: int
    manifest_sha256: str
    weight: float

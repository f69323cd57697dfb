"""Registered base models and experts."""

from datetime import datetime
from typing import Any

from pydantic import Field

from backend.core.schemas import In, Name, Out
from backend.tables.base_model import ModelKind


class ModelOut(Out):
    """available: its files are still there."""

    id: str
    name: str
    kind: ModelKind
    path: str
    size_bytes: int
    info: dict[str, Any]
    created_at: datetime
    available: bool


class ModelCandidate(Out):
    """Something below a model root that looks like a model. id stands for its path in requests."""

    id: str
    root: str
    folder: str = Field(description="Relative to the root")
    kind: ModelKind
    size_bytes: int
    info: dict[str, Any]


class ModelIn(In):
    candidate_id: str
    name: Name = Field(min_length=1, max_length=128)


class TinyModelIn(In):
    """Make a small backbone with random weights, for trying everything out without a download."""

    name: Name = Field("Tiny Qwen2-VL", min_length=1, max_length=128)
    preset: str = Field("tiny", max_length=32)
    seed: int = Field(0, ge=0, le=2**31 - 1)

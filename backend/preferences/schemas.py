"""A page's preferences as they travel."""

import json
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from backend.core.schemas import In, Out

MAX_BYTES = 32_768


class PreferencesPage(StrEnum):
    """Pages that keep preferences."""

    ANNOTATOR = "annotator"


class PreferencesOut(Out):
    """Empty where nothing was kept yet."""

    value: dict[str, Any]


class PreferencesIn(In):
    """Replaces what was kept."""

    value: dict[str, Any] = Field(description=f"JSON of the page's own, at most {MAX_BYTES} bytes")

    @field_validator("value")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        size = len(json.dumps(value, allow_nan=False).encode())
        if size > MAX_BYTES:
            raise ValueError(f"preferences of {size} bytes, at most {MAX_BYTES} are kept")
        return value

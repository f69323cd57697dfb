"""What all domains share in their answers."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Out(BaseModel):
    """An answer; read from rows by attribute."""

    model_config = ConfigDict(from_attributes=True)


class In(BaseModel):
    """A request; unknown fields are refused rather than ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Page(BaseModel, Generic[T]):
    """A part of a list. `total` counts all of it."""

    items: list[T]
    total: int = Field(ge=0)

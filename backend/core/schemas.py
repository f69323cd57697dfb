"""What all domains share in their questions and answers; rules for what is sent in are dexvla.spec.inputs."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from dexvla.spec.inputs import DIRECTION_MARKS, MAX_UNKNOWN, Id, In, Name, Prose, Title, without_marks

__all__ = ["DIRECTION_MARKS", "MAX_UNKNOWN", "Id", "In", "Name", "Out", "Page", "Prose", "Title", "without_marks"]

T = TypeVar("T")


class Out(BaseModel):
    """An answer; read from rows by attribute."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[T]):
    """A part of a list. `total` counts all of it."""

    items: list[T]
    total: int = Field(ge=0)

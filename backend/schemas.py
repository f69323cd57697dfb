"""What all domains share in their answers."""

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")


def _printable(text: str) -> str:
    """Raises ValueError for control characters other than line breaks and tabs; NUL could not even be stored."""
    if any((ord(letter) < 32 and letter not in "\n\r\t") or 0x7F <= ord(letter) < 0xA0 for letter in text):
        raise ValueError("control characters do not belong here")
    return text


def _one_line(text: str) -> str:
    text = " ".join(_printable(text).split())
    if not text:
        raise ValueError("it is empty")
    return text


Prose = Annotated[str, AfterValidator(_printable)]
Title = Annotated[str, AfterValidator(_one_line)]


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

"""What a person or another program sends in: texts that are what they look like, objects without unknown fields."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_UNKNOWN = 20  # fields of one object

# Turn the direction of the text around them, which then reads as another text than it is.
DIRECTION_MARKS = frozenset(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def without_marks(text: str) -> str:
    """The text as it is. Raises ValueError for one with a direction mark, named: dropping it would change the text in
    silence. Right-to-left scripts need none."""
    for letter in text:
        if letter in DIRECTION_MARKS:
            named = f"U+{ord(letter):04X}, {unicodedata.name(letter).lower()}"
            raise ValueError(f"it holds a direction mark, which is not seen ({named}); write it without")
    return text


def _printable(text: str) -> str:
    """Raises ValueError for control characters other than line breaks and tabs (NUL could not even be stored), and for
    direction marks."""
    without_marks(text)
    if any((ord(letter) < 32 and letter not in "\n\r\t") or 0x7F <= ord(letter) < 0xA0 for letter in text):
        raise ValueError("control characters do not belong here")
    return text


def _one_line(text: str) -> str:
    text = " ".join(_printable(text).split())
    if not text:
        raise ValueError("it is empty")
    return text


# Letters of Unicode's categories that are drawn as nothing: fillers of Hangul, the blank of braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def _name(text: str) -> str:
    """A text by which people tell things apart: on one line, composed (NFC), and all of it to be seen.

    Raises ValueError for what is not drawn or turns the direction of the text around it: two names that look the same
    would be two things, and a name could change how the line that it stands in is read.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    for letter in text:
        if unicodedata.category(letter) in _INVISIBLE or letter in _BLANK:
            raise ValueError(f"it holds a character that is not seen (U+{ord(letter):04X}); write it without")
    if not text:
        raise ValueError("it is empty")
    if unicodedata.category(text[0]).startswith("M"):
        raise ValueError("it begins with a mark that belongs onto a letter")
    return text


Id = Annotated[str, Field(max_length=64)]
Name = Annotated[str, AfterValidator(_name)]
Prose = Annotated[str, AfterValidator(_printable)]
Title = Annotated[str, AfterValidator(_one_line)]


class In(BaseModel):
    """A request; unknown fields are refused rather than ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown_fields(cls, value: Any) -> Any:
        """Of very many unknown fields a few are named: each would else be a complaint of its own."""
        if isinstance(value, dict) and len(value) > MAX_UNKNOWN:
            known = cls._names()
            unknown = [name for name in value if name not in known]
            if len(unknown) > MAX_UNKNOWN:
                named = ", ".join(repr(str(name)[:40]) for name in unknown[:3])
                raise ValueError(f"{len(unknown)} fields are unknown, {named} and others")
        return value

    @classmethod
    def _names(cls) -> frozenset[str]:
        return frozenset(cls.model_fields) | {field.alias for field in cls.model_fields.values() if field.alias}

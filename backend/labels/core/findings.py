"""What is wrong or odd about labels, as pages are told."""

from enum import StrEnum

from backend.core.schemas import Out


class FindingCode(StrEnum):
    """The first four stop a submission and a publication, the others are for people to look at; of those that nobody
    looked at (`not_looked_at`) a publication without review wants to hear that somebody did."""

    LENGTH = "length"
    BLANK = "blank"
    CHARACTERS = "characters"
    UNREVIEWED = "unreviewed"
    SHORT = "short"
    LONG = "long"
    SAME_NEIGHBOUR = "same_neighbour"
    OUT_OF_VOCABULARY = "out_of_vocabulary"
    NEAR_DUPLICATE = "near_duplicate"
    UNUSUAL_ORDER = "unusual_order"
    NOT_LOOKED_AT = "not_looked_at"


class FindingOut(Out):
    """meant: the text that its writer probably had in mind."""

    code: FindingCode
    blocking: bool
    start: int
    end: int
    text: str
    message: str
    meant: str | None = None


class CheckOut(Out):
    blocking: list[FindingOut]
    warnings: list[FindingOut]

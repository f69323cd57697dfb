"""What people say about an episode: columns that drafts, history and revisions share."""

from enum import StrEnum
from typing import Any

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import EnumText
from backend.tables.segment import LabelSegment, LabelSegments


class Tier(StrEnum):
    """substep: what the model is trained on. plan: a second text over the same steps, where a dataset has it."""

    SUBSTEP = "substep"
    PLAN = "plan"


class Quality(StrEnum):
    """Of an episode as training data, in a person's eyes."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    UNUSABLE = "unusable"


class Document:
    """Mixin: what people say about an episode.

    segments: without gap or overlap over 0 .. steps. Everything else counts in the tier `substep` of the first rater
    only. failure_step: where it went wrong.
    """

    segments: Mapped[tuple[LabelSegment, ...]] = mapped_column(LabelSegments)
    instruction: Mapped[str] = mapped_column(Text)
    success: Mapped[bool | None]
    failure_step: Mapped[int | None]
    paraphrases: Mapped[list[Any]] = mapped_column(default=list)
    quality: Mapped[Quality | None] = mapped_column(EnumText(Quality))
    tags: Mapped[list[Any]] = mapped_column(default=list)


DOCUMENT = ("segments", "instruction", "success", "failure_step", "paraphrases", "quality", "tags")

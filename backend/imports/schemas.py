"""What an import is asked for, and what is shown before it begins."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from backend.core.limits import MAX_INSTRUCTION
from backend.core.schemas import Id, In, Name, Out, Prose
from dexvla.formats.base import GuessAbout
from dexvla.spec import ImportProfile

_LONGEST_FILE = 4 * 2**20  # characters


class ImportCandidate(Out):
    """A folder below an import root that holds episodes. id stands for its path in requests.

    files, size_bytes: with its subfolders, as an import takes them. kinds: what they seem to be, by their endings.
    """

    id: str
    root: str
    folder: str = Field(description="Relative to the root")
    files: int
    size_bytes: int
    kinds: list[str]


class ImportIn(In):
    """profile goes before profile_id, and instruction into either."""

    candidate_id: str = Field(max_length=4096)
    instruction: Prose | None = Field(
        None, max_length=MAX_INSTRUCTION, description="Of the episodes that have none of their own"
    )
    profile_id: Id | None = Field(None, description="A profile that is stored here")
    profile: ImportProfile | None = Field(None, description="What the files do not say, as `dexvla import` takes it")


class ImportPreviewIn(In):
    candidate_id: str = Field(max_length=4096)
    profile: ImportProfile = ImportProfile()
    episode: str | None = Field(None, max_length=512, description="Its name in the source; empty: the first")


class FrameOut(Out):
    """image: as the profile has it; swapped: with red and blue the other way round. JPEG in base64."""

    step: int
    image: str | None
    swapped: str | None
    problem: str | None


class SourceCameraOut(Out):
    """bgr, turned: what the profile, the file or a guess says; colours_guessed: which of these bgr is. frames: the
    first, the middle and the last."""

    source: str
    height: int
    width: int
    jpeg: bool
    bgr: bool
    colours_guessed: bool
    turned: bool
    frames: list[FrameOut]


class DimensionOut(Out):
    index: int
    name: str
    low: float | None
    high: float | None
    curve: list[float | None]


class MotionOut(Out):
    """count: of all dimensions; the first ones are drawn. steps: of the points of their curves."""

    count: int
    steps: list[int]
    dimensions: list[DimensionOut]


class InstructionOut(Out):
    text: str | None
    found_in: Literal["file", "folder", "table", "text"] | None
    paraphrases: list[str]
    in_file: list[str] = Field(description="Wordings that the file holds")


class TimesOut(Out):
    """stamps: whether the source has any. said: what was found of them, in sentences."""

    stamps: bool
    file_fps: float | None
    fps: float | None
    fps_from: Literal["file", "profile", "guess"] | None
    seconds: float | None
    said: list[str]


class LabelOut(Out):
    start: int
    end: int
    text: str


class LabelsOut(Out):
    segments: list[LabelOut]
    count: int
    source: str | None


class ImportPreviewOut(Out):
    """One episode as it stands in the source, and what the profile makes of it.

    guessed: what the guesses are about. refusals: why the episode would not be taken. Where it cannot be opened at all,
    nothing but its name and the refusal is known.
    """

    format: str
    format_title: str
    format_guessed: bool
    episodes: int
    names: list[str]
    episode: str
    steps: int
    kept_steps: int
    folder: str
    cameras: list[SourceCameraOut]
    state: MotionOut | None
    action: MotionOut | None
    kept_state: MotionOut | None
    kept_action: MotionOut | None
    base_dimensions: int
    instruction: InstructionOut | None
    times: TimesOut | None
    labels: LabelsOut | None
    robot: str | None
    success: bool | None
    warnings: list[str]
    guesses: list[str]
    guessed: list[GuessAbout]
    refusals: list[str]


class ProfileIn(In):
    name: Name = Field(min_length=1, max_length=128)
    profile: ImportProfile


class ProfilePatch(In):
    name: Name | None = Field(None, min_length=1, max_length=128)
    profile: ImportProfile | None = None


class ProfileOut(Out):
    id: str
    name: str
    profile: ImportProfile
    created_at: datetime
    created_by_name: str | None
    changed_at: datetime
    changed_by_name: str | None


class FileIn(In):
    """A file of a person's, read in the page: its name, whose ending says what it is, and its text."""

    name: Prose = Field(max_length=256)
    text: str = Field(max_length=_LONGEST_FILE)


class TableOut(Out):
    table: dict[str, str] = Field(description="Instructions by episode or folder")


class ReadProfileOut(Out):
    profile: ImportProfile

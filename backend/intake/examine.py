"""What a foreign file is, and its fresh copy: the part of the inspection that knows episodes."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backend.core import limits
from backend.core.schemas import DIRECTION_MARKS
from backend.intake.copying import fresh_copy, refuse_wasteful
from dexvla.episodes.check import check_episode
from dexvla.episodes.facts import read_facts
from dexvla.episodes.identity import Identity
from dexvla.episodes.manifest import camera_spec
from dexvla.episodes.reader import Episode, open_episode
from dexvla.episodes.segments import run_length
from dexvla.episodes.times import guess_told
from dexvla.errors import EpisodeError

_EVERY_FRAME_STEPS = 4000  # of longer episodes about 25 pictures a camera are decoded


@dataclass(kw_only=True)
class Found:
    """errors: why the file is refused; without any, facts are the columns of its row.

    segments: (start, end, text) of its labels, as proposals; empty without labels. guesses: what was assumed where the
    file is silent. known: the EpisodeFacts of the copy, from which trainings start.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    segments: list[tuple[int, int, str]] = field(default_factory=list)
    label_source: str | None = None
    guesses: list[str] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)


def examine(source: Path, target: Path, *, keep_labels: bool, instruction: str | None = None) -> Found:
    """Check `source` and, if it is fine, write its fresh copy to `target`. Raises OSError for a full disk.

    instruction: for a file that has none of its own.
    """
    found = Found()
    try:
        refuse_wasteful(source)
        with open_episode(source) as episode:
            if not episode.wordings.texts and not instruction:
                found.errors = [f"it has no instruction ({episode.wordings.problem}); {GIVE_ONE}"]
                return found
            found.errors = list(_too_large(episode, instruction or ""))
            if found.errors:
                return found
            long = _long_words(episode)
            report = check_episode(episode, every_frame=episode.steps <= _EVERY_FRAME_STEPS, instruction=instruction)
            found.errors, found.warnings = report.errors, report.warnings
            if not report.ok:
                return found
            found.warnings += [
                f"attribute {name} is longer than {limits.MAX_WORD[name]} characters; left out" for name in long
            ]
            identity = fresh_copy(episode, target, keep_labels=keep_labels, instruction=instruction, leave_out=long)
            found.guesses = list(_guesses(episode))
        with open_episode(target) as copy:
            known = read_facts(copy)
            assert known.names == identity, "the copy is another episode"
            _describe(found, copy, known.names)
            found.known = known.model_dump(mode="json")
    except EpisodeError as error:
        found.errors = [str(error).removeprefix(f"{source}: ").replace(str(source), "the file")]
    return found


def _guesses(episode: Episode) -> Iterator[str]:
    """What is assumed where the file is silent: its rate, and the order of colours in its JPEG rows."""
    facts = episode.attributes
    if facts.fps_guessed and facts.fps is not None:
        yield guess_told(facts.fps)
    swapped = [camera for camera in episode.cameras if episode.is_jpeg(camera) and episode.is_swapped(camera)]
    if swapped and not episode.colours_told:
        yield (
            f"colours of {', '.join(swapped)}: read as OpenCV's tools write them, with red and blue swapped in the "
            "rows; if red is blue in the frames, import the file and say that they are rgb"
        )


GIVE_ONE = "give one with the upload, under Instruction (--instruction of an import, instruction=... in the address)"


def _long_words(episode: Episode) -> list[str]:
    """Names of the attributes whose texts are too long to be listed; the episode does without them."""
    return [name for name, most in limits.MAX_WORD.items() if len(getattr(episode.attributes, name) or "") > most]


def _too_large(episode: Episode, instruction: str) -> Iterator[str]:
    """What goes beyond backend.core.limits, before anything is decoded. instruction: for a file that has none."""
    text = episode.wordings.texts[0] if episode.wordings.texts else instruction
    numbers = [
        ("steps", episode.steps, limits.MAX_STEPS),
        ("action dimensions", episode.action.shape[1], limits.MAX_DIMENSIONS),
        ("state dimensions", episode.qpos.shape[1], limits.MAX_DIMENSIONS),
        ("cameras", len(episode.cameras), limits.MAX_CAMERAS),
        ("characters in its instruction", len(text), limits.MAX_INSTRUCTION),
        *(("characters in a camera's name", len(camera), limits.MAX_CAMERA_NAME) for camera in episode.cameras),
    ]
    yield from (f"it has {found} {what}, at most {most} are taken" for what, found, most in numbers if found > most)
    texts = {"its instruction": limits.one_line(text)}
    texts |= {f"its attribute {name}": getattr(episode.attributes, name) or "" for name in limits.MAX_WORD}
    yield from (f"{what} holds {wrong}" for what, text in texts.items() if (wrong := limits.wrong_with(text)))


def facts_of(episode: Episode, identity: Identity) -> dict[str, Any]:
    """The columns of its row."""
    attributes = asdict(episode.attributes)
    return {
        "identity": identity.value,
        "former_identity": identity.former,
        "steps": episode.steps,
        "action_dim": episode.action.shape[1],
        "state_dim": episode.qpos.shape[1],
        "cameras": [camera_spec(episode, name).model_dump() for name in episode.cameras],
        "dimension_names": _dimension_names(episode),
        "instruction": limits.one_line(episode.instruction),
        **{name: attributes[name] for name in ("sim", "robot", "task", "fps", "success", "seed", "render_profile")},
    }


def _dimension_names(episode: Episode) -> dict[str, list[str]] | None:
    """None where the file does not say, or says what may not stand on a page."""
    found = {attribute: list(names) for attribute, names in episode.dimension_names.items()}
    wrong = any(limits.wrong_with(name) for names in found.values() for name in names)
    return None if wrong or not found else found


def _describe(found: Found, episode: Episode, identity: Identity) -> None:
    found.facts = facts_of(episode, identity)
    labels = episode.substep_reasonings or ()
    marked = sum(not DIRECTION_MARKS.isdisjoint(text) for text in (*labels, episode.instruction))
    if marked:
        found.warnings.append(
            f"{marked} of its texts hold direction marks, which are not seen and turn the text around them; they were "
            "left out"
        )
    plain = ["".join(c for c in limits.one_line(text) if not limits.wrong_with(c)) for text in labels]
    long = sum(len(text) > limits.MAX_TEXT for text in plain)
    if long:
        found.warnings.append(f"{long} substep reasonings are longer than {limits.MAX_TEXT} characters; proposed cut")
    segments = run_length([text[: limits.MAX_TEXT].strip() for text in plain])
    if len(segments) > limits.MAX_SEGMENTS:
        found.warnings.append(
            f"its labels change {len(segments)} times, at most {limits.MAX_SEGMENTS} substeps can be edited; they are "
            "not proposed"
        )
    elif any(segment.text for segment in segments):
        found.segments = [(segment.start, segment.end, segment.text) for segment in segments]
        found.label_source = episode.label_source

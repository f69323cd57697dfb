"""Files of labels, written an episode at a time: those of a whole dataset never lie in memory."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from backend.core.errors import InvalidError
from backend.tables.document import Quality, Tier
from backend.tables.segment import LabelSegment

_CSV = (
    "episode", "identity", "tier", "segment", "start_step", "end_step", "start_seconds", "end_seconds", "text",
    "provenance", "source", "confidence",
)  # fmt: skip
ELAN = (
    "Tier",
    "Participant",
    "Begin Time - ss.msec",
    "End Time - ss.msec",
    "Duration - ss.msec",
    "Annotation",
    "File",
)
MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "elan": "text/tab-separated-values; charset=utf-8",
}
SUFFIX = {"json": "json", "csv": "csv", "elan": "txt"}


@dataclass(frozen=True, kw_only=True)
class WrittenEpisode:
    """Labels of an episode on their way out; the names are those of backend.labels.dataset.formats.LabelledEpisode."""

    number: int
    identity: str
    steps: int
    fps: float | None
    annotator: str | None
    instruction: str
    paraphrases: Sequence[str]
    success: bool | None
    failure_step: int | None
    quality: Quality | None
    tags: Sequence[str]
    segments: Sequence[LabelSegment]


def write(dataset: str, tier: Tier, form: str, episodes: Iterable[WrittenEpisode]) -> Iterator[str]:
    """Raises InvalidError for ELAN's text of episodes whose rate is unknown: it knows nothing but seconds."""
    if form == "json":
        yield from _json(dataset, tier, episodes)
    elif form == "csv":
        yield _rows([_CSV])
        for episode in episodes:
            yield _rows(_csv(tier, episode))
    else:
        yield "\t".join(ELAN) + "\n"
        for episode in episodes:
            yield "".join(f"{line}\n" for line in _elan(tier, episode))


def without_rate(number: int) -> InvalidError:
    return InvalidError(
        f"Episode {number} does not say its rate in Hz, and ELAN's text knows seconds alone; take CSV or JSON."
    )


def _json(dataset: str, tier: Tier, episodes: Iterable[WrittenEpisode]) -> Iterator[str]:
    head = {"format": "dexvla-labels", "version": 1, "dataset": dataset, "tier": tier.value}
    yield json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}") + ',\n "episodes": ['
    between = "\n"
    for episode in episodes:
        yield between + _json_episode(episode)
        between = ",\n"
    yield "\n ]\n}\n"


def _json_episode(episode: WrittenEpisode) -> str:
    """A line a segment. What there is none of is left out."""
    names = ("number", "identity", "steps", "fps", "annotator", "instruction", "paraphrases", "success")
    more = ("failure_step", "quality", "tags")
    said = {name: getattr(episode, name) for name in (*names, *more) if getattr(episode, name) is not None}
    parts = [
        json.dumps({name: value for name, value in one._asdict().items() if value is not None}, ensure_ascii=False)
        for one in episode.segments
    ]
    inner = json.dumps(said, ensure_ascii=False).removesuffix("}")
    lines = ",\n   ".join(parts)
    return f'  {inner}, "segments": [\n   {lines}\n  ]}}'


def _rows(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _seconds(step: int, fps: float | None) -> str:
    return "" if fps is None else f"{step / fps:.6f}"


def _csv(tier: Tier, episode: WrittenEpisode) -> Iterator[Sequence[object]]:
    for number, one in enumerate(episode.segments):
        yield [
            episode.number, episode.identity, tier.value, number, one.start, one.end,
            _seconds(one.start, episode.fps), _seconds(one.end, episode.fps), one.text, one.provenance.value,
            one.source or "", "" if one.confidence is None else one.confidence,
        ]  # fmt: skip


def _elan(tier: Tier, episode: WrittenEpisode) -> Iterator[str]:
    if episode.fps is None:
        raise without_rate(episode.number)
    for one in episode.segments:
        start, end = one.start / episode.fps, one.end / episode.fps
        cells = [tier.value, episode.annotator or "", f"{start:.3f}", f"{end:.3f}", f"{end - start:.3f}"]
        yield "\t".join([*cells, one.text, f"episode_{episode.number}"])

"""Labellings taken from what people published: the usual sequence onto this motion, or the labels of similar episodes.

Each function returns segments, what they were made by and with, and a report.
"""

import itertools
import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy.orm import Session

from backend.core.errors import InvalidError, NotFoundError
from backend.episodes.files import file_of
from backend.labels.proposals import motion, repository
from backend.labels.proposals.repository import Published
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.segment import LabelSegment, ProposalSegment
from dexvla.episodes.reader import read_positions
from dexvla.errors import EpisodeError
from dexvla.segmentation.alignment import align, usual_parts
from dexvla.segmentation.warping import Labelled, nearest, transfer

Made = tuple[tuple[ProposalSegment, ...], dict[str, Any], dict[str, Any]]

_EXAMPLES = 100  # published episodes that say which sequence is usual, and how long its substeps are
_LENGTHS = 2.0  # episodes more than so many times longer or shorter are not alike
_READING_SECONDS = 1.2  # for motions that were never compared before; the rest comes next time
_UNREADABLE = "No file of a similar episode can be read; restore them from a backup."
_FOREIGN = 0.5  # confidence of labels from another instruction


def template(db: Session, row: EpisodeRow, sequence: Sequence[str] | None, found: Sequence[tuple[int, float]]) -> Made:
    """found: boundary candidates (step, confidence). Raises InvalidError where there is no sequence to put on them."""
    alike, _ = _alike(repository.published(db, row.dataset_id, but=row.id), row)
    examples = repository.labels(db, alike[-_EXAMPLES:])
    steps = {one.row.id: one.row.steps for one in alike}
    texts, origin = _sequence(db, row, sequence, list(examples.values()))
    same = {key: segments for key, segments in examples.items() if _texts(segments) == texts}
    usual = None
    if same:
        usual = usual_parts([_starts(segments) for segments in same.values()], [steps[key] for key in same])
    if len(texts) > row.steps:
        raise InvalidError(f"{len(texts)} substeps do not fit into {row.steps} steps; give a shorter sequence.")
    put = align(found, steps=row.steps, substeps=len(texts), fps=motion.fps_of(row), usual=usual)
    sure = [*put.confidences, 1.0]
    segments = _segments(put.starts, row.steps, texts, [min(pair) for pair in itertools.pairwise(sure)])
    report = {
        "template_from": origin,
        "examples": len(same),
        "expected": put.expected,
        "found": put.found,
        "guessed": [put.starts[index] for index in put.guessed],
        "unused": list(put.unused),
        "mismatch": put.mismatch,
    }
    return segments, {"sequence": list(texts)}, report


def _sequence(
    db: Session, row: EpisodeRow, given: Sequence[str] | None, examples: Sequence[Sequence[LabelSegment]]
) -> tuple[tuple[str, ...], str]:
    """The sequence and where it is from."""
    if given is not None:
        return tuple(given), "given"
    dataset = db.get(Dataset, row.dataset_id)
    assert dataset is not None
    if dataset.labelling.get("template"):
        return tuple(map(str, dataset.labelling["template"])), "template"
    if examples:
        ((texts, _),) = Counter(_texts(segments) for segments in examples).most_common(1)
        return texts, "published"
    if not dataset.vocabulary:
        raise InvalidError(
            "The dataset has no vocabulary and no published labels yet. Write its substeps down in their order first."
        )
    return tuple(map(str, dataset.vocabulary)), "vocabulary"


def similar(
    db: Session, studio: Studio, row: EpisodeRow, neighbours: int, *, hidden: Collection[str] = frozenset()
) -> Made:
    """hidden: episodes whose labels whoever asks must not see. Raises EpisodeError, and InvalidError where no published
    episode is of the same task and of a similar length."""
    every = [one for one in repository.published(db, row.dataset_id, but=row.id) if one.row.id not in hidden]
    alike, basis = _alike(every, row)
    fitting = [one for one in alike if 1 / _LENGTHS <= one.row.steps / row.steps <= _LENGTHS]
    if not fitting:
        raise InvalidError(
            f"{len(every)} other episodes of the dataset have published labels, {len(alike)} are of the same task, "
            "none of a similar length. Publish a few first."
        )
    compared, motions = _compared(studio, row, fitting)
    if not compared:
        raise InvalidError(_UNREADABLE)
    order = nearest(motion.features(studio, row), motions, count=neighbours)
    chosen = [compared[index] for index, _ in order]
    labels = repository.labels(db, chosen)
    qpos = read_positions(file_of(studio, row))
    examples = _examples(studio, chosen, [distance for _, distance in order], labels)
    if not examples:
        raise InvalidError(_UNREADABLE)
    taken = transfer(qpos, motion.fps_of(row), examples)
    factor = 1.0 if basis == "instruction" else _FOREIGN
    numbers = {one.row.id: one.row.number for one in chosen}
    report = {
        "basis": basis,
        "compared": len(compared),
        "left": len(fitting) - len(compared),
        "neighbours": [
            {"episode_id": one.key, "number": numbers[one.key], "distance": round(one.distance, 4)}
            for one in taken.sources
        ],
    }
    segments = _segments(taken.starts, row.steps, taken.texts, [factor * value for value in taken.confidences])
    return segments, {"neighbours": neighbours}, report


def _compared(studio: Studio, row: EpisodeRow, fitting: Sequence[Published]) -> tuple[list[Published], list[Any]]:
    """Episodes with their features: all that were compared before, and as many new ones as can be read in time."""
    known = [(one, motion.features_at_hand(studio, one.row)) for one in fitting]
    new = [one for one, features in known if features is None]
    until = time.monotonic() + _READING_SECONDS
    pairs = [(one, features) for one, features in known if features is not None]
    for one in sorted(new, key=lambda one: abs(one.row.steps - row.steps)):
        if time.monotonic() > until and pairs:
            break
        try:
            pairs.append((one, motion.features(studio, one.row)))
        except (EpisodeError, NotFoundError):  # somebody else's file is damaged or gone: there are others
            continue
    return [one for one, _ in pairs], [features for _, features in pairs]


def _alike(every: Sequence[Published], row: EpisodeRow) -> tuple[list[Published], str]:
    """Those with the same instruction, or else of the same task, or else all; and which of the three."""
    told = [one for one in every if _folded(one.row.instruction) == _folded(row.instruction)]
    if told:
        return told, "instruction"
    task = [one for one in every if row.task is not None and one.row.task == row.task]
    return (task, "task") if task else (list(every), "dataset")


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")


def _examples(
    studio: Studio, chosen: Sequence[Published], distances: Sequence[float], labels: dict[str, tuple[LabelSegment, ...]]
) -> list[tuple[Labelled, float]]:
    found = []
    for one, distance in zip(chosen, distances, strict=True):
        segments = labels[one.row.id]
        try:
            qpos = read_positions(file_of(studio, one.row))
        except (EpisodeError, NotFoundError):  # compared from the cache, but gone since
            continue
        labelled = Labelled(key=one.row.id, qpos=qpos, starts=_starts(segments), texts=_texts(segments))
        found.append((labelled, distance))
    return found


def _texts(segments: Sequence[LabelSegment]) -> tuple[str, ...]:
    return tuple(segment.text for segment in segments)


def _starts(segments: Sequence[LabelSegment]) -> tuple[int, ...]:
    return tuple(segment.start for segment in segments)


def _segments(
    starts: Sequence[int], steps: int, texts: Sequence[str], confidences: Sequence[float]
) -> tuple[ProposalSegment, ...]:
    return tuple(
        ProposalSegment(start, end, text, round(confidence, 4))
        for start, end, text, confidence in zip(starts, [*starts[1:], steps], texts, confidences, strict=True)
    )

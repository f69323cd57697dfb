"""The texts of an episode file: the instruction, its other wordings, and what is said of each step."""

import json
from dataclasses import dataclass

from dexvla.episodes import bounds
from dexvla.episodes.entries import Entries, UnfitError

_MOST_WORDINGS = 64
# Where other tools put the instruction, in the order in which they are asked.
_ELSEWHERE = ("language_instruction", "instruction", "instructions", "language", "task_description", "prompt")

LANGUAGE = ("language_raw", *_ELSEWHERE)
NO_INSTRUCTION = "language_raw holds nothing, expected one instruction that is not empty"


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """texts: the instruction, then other wordings; empty where there is none. problem: why, in words."""

    texts: tuple[str, ...]
    problem: str = NO_INSTRUCTION


def wordings_of(entries: Entries) -> Wordings:
    """language_raw, or what other tools call it. Nothing raises for what is in it."""
    problem = NO_INSTRUCTION
    if entries.has("language_raw"):
        try:
            texts = _different(entries.strings("language_raw"))
        except UnfitError as error:
            texts, problem = (), str(error).removeprefix(f"{entries.path}: ")
        else:
            problem = "language_raw holds only empty texts, expected one instruction that is not empty"
        if texts:
            return _bounded(entries, texts)
    for name in _ELSEWHERE:
        found = entries.optional(lambda name=name: _different(entries.texts_of_attribute(name)))  # type: ignore[misc]
        place = "attribute"
        if not found and entries.has(name):
            found = entries.optional(lambda name=name: _different(entries.strings(name)))  # type: ignore[misc]
            place = "dataset"
        if found:
            entries.warn(f"the instruction was taken from the {place} {name}: {found[0][:80]!r}")
            return _bounded(entries, found)
    return Wordings(texts=(), problem=problem)


def _different(texts: list[str]) -> tuple[str, ...]:
    """Those that are not empty, each once. One text that is a JSON list of texts is that list."""
    if len(texts) == 1 and texts[0].lstrip().startswith("["):
        try:
            listed = json.loads(texts[0])
        except ValueError:
            listed = None
        if isinstance(listed, list) and listed and all(isinstance(text, str) for text in listed):
            texts = listed
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def _bounded(entries: Entries, texts: tuple[str, ...]) -> Wordings:
    if len(texts[0]) > bounds.MAX_INSTRUCTION:
        return Wordings(
            texts=(),
            problem=f"language_raw has {len(texts[0])} characters, expected an instruction of at most "
            f"{bounds.MAX_INSTRUCTION}",
        )
    others = [text for text in texts[1:] if len(text) <= bounds.MAX_INSTRUCTION][:_MOST_WORDINGS]
    if len(others) < len(texts) - 1:
        entries.warn(
            f"{len(texts) - 1 - len(others)} of {len(texts) - 1} other wordings are too long or too many; left out"
        )
    if others:
        entries.warn(f"language_raw holds {len(texts)} wordings: the first is the instruction, the others paraphrases")
    return Wordings(texts=(texts[0], *others))


def substeps_of(entries: Entries, steps: int) -> tuple[str, ...] | None:
    """One text a step, (T,), or None if there are no labels that fit.

    `reasoning` of one text counts for all steps, with one a step it is the labels.
    """
    if entries.has("substep_reasonings"):
        texts = entries.optional(lambda: entries.strings("substep_reasonings"))
        return None if texts is None else _fitting(entries, "substep_reasonings", texts, steps)
    if not entries.has("reasoning"):
        return None
    texts = entries.optional(lambda: entries.strings("reasoning"))
    if not texts:
        return None
    return (texts[0],) * steps if len(texts) == 1 else _fitting(entries, "reasoning", texts, steps)


def _fitting(entries: Entries, name: str, texts: list[str], steps: int) -> tuple[str, ...] | None:
    if len(texts) == steps + 1:
        entries.warn(f"{name} has {steps + 1} texts for {steps} steps; the last one is left out")
    elif len(texts) != steps:
        entries.warn(f"{len(texts)} {name} for {steps} steps; the labels are left out")
        return None
    return tuple(texts[:steps])

"""Samples without actions: images, a question and an answer, mixed into a run so that the backbone keeps its words.

A source of `text_data` is a JSON-lines file beside its images:

    {"images": ["a.png"], "instruction": "What lies left of the cup?", "answer": "A spoon."}
    {"images": ["b.png", "c.png"], "instruction": "Fold the shirt.", "reasoning": "Flatten the left sleeve."}

`answer` is taught as it stands; `reasoning` as in an episode, with the mark that announces an action. `images` may be
empty. Such a sample counts in the reasoning loss and not in the action loss.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field, ValidationError, model_validator
from torch.utils.data import Dataset

from dexvla.errors import UserError
from dexvla.model.processing import END_TOKEN, Processor, answer_text, build_inputs
from dexvla.spec import PolicySpec, Spec, first_error
from dexvla.train.data import EpisodeSamples


class TextEntry(Spec):
    """One line of the file. Exactly one of answer and reasoning."""

    images: tuple[str, ...] = ()
    instruction: str = Field(min_length=1)
    answer: str | None = Field(None, min_length=1)
    reasoning: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_target(self) -> "TextEntry":
        if (self.answer is None) == (self.reasoning is None):
            raise ValueError("give exactly one of answer and reasoning")
        return self

    @property
    def target(self) -> str:
        return answer_text(self.reasoning) if self.answer is None else f"{self.answer}{END_TOKEN}"


def read_text_entries(path: Path) -> list[TextEntry]:
    """All lines of the file, checked, with their images there. Raises UserError naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = TextEntry.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: line {number} is not JSON: {error.msg}") from error
        except ValidationError as error:
            raise UserError(f"{path}: line {number}: {first_error(error)}") from error
        missing = [name for name in entry.images if not (path.parent / name).is_file()]
        if missing:
            raise UserError(f"{path}: line {number}: image {missing[0]} is not in {path.parent}")
        entries.append(entry)
    if not entries:
        raise UserError(f"{path}: holds no samples")
    return entries


class TextSamples(Dataset[dict[str, Any]]):
    """Samples of one file in the form of `EpisodeSamples`: chunk and state are zeros, every step is padding."""

    def __init__(self, path: Path, *, policy: PolicySpec, processor: Processor, noise_draws: int = 1) -> None:
        self._draws = () if noise_draws == 1 else (noise_draws,)
        self._folder = path.parent
        self._entries = read_text_entries(path)
        self._policy = policy
        self._processor = processor
        self._area = max((camera.height * camera.width for camera in policy.cameras), default=240 * 320)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        _, index = key
        entry, policy = self._entries[index], self._policy
        images = [self._image(name) for name in entry.images]
        sample = build_inputs(
            self._processor,
            images=images,
            image_sizes=[self._shown(image.shape[0], image.shape[1]) for image in images],
            instruction=entry.instruction,
            answer=entry.target,
            normalised=False,
        )
        chunk = (policy.chunk_size, policy.action_dim)
        sample["actions"] = torch.zeros(chunk)
        sample["states"] = torch.zeros(policy.state_dim)
        sample["is_pad"] = torch.ones(policy.chunk_size, dtype=torch.bool)
        sample["noise"] = torch.zeros(*self._draws, *chunk)
        sample["timesteps"] = torch.zeros(self._draws, dtype=torch.long)
        if not images:  # a batch joins the patches of all its samples, of this one none
            side = self._processor.image_processor.patch_size
            sample["pixel_values"] = torch.zeros(0, 3 * side**2, dtype=torch.uint8)
            sample["image_grid_thw"] = torch.zeros(0, 3, dtype=torch.long)
        return sample

    def _image(self, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        try:
            with Image.open(self._folder / name) as image:
                return np.asarray(image.convert("RGB"))
        except OSError as error:
            raise UserError(f"{self._folder / name}: not a readable image: {error}") from error

    def _shown(self, height: int, width: int) -> tuple[int, int]:
        """Shrunk to the area of a camera image, with its own proportions."""
        scale = min(1.0, (self._area / (height * width)) ** 0.5)
        return max(28, round(height * scale)), max(28, round(width * scale))


class WithTexts(Dataset[dict[str, Any]]):
    """Episode samples first, then those of each text file, under one index."""

    def __init__(self, episodes: EpisodeSamples, texts: Sequence[TextSamples]) -> None:
        self._parts: list[EpisodeSamples | TextSamples] = [episodes, *texts]
        self._starts = [0, *accumulate(len(part) for part in self._parts)]
        self.collate = episodes.collate

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        place, index = key
        part = bisect_right(self._starts, index) - 1
        return self._parts[part][place, index - self._starts[part]]

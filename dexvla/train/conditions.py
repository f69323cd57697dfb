"""What a frozen backbone makes of each step, computed once: two vectors instead of images and words.

A backbone that does not train reads the same image and the same words to the same hidden states every time, and the
fusion looks at nothing but their means over prompt and answer. So a run with `freeze_backbone` can keep the means on
disk and train fusion and expert from them. A file's name is the hash of all that they depend on: episode, labels,
wording, cameras, the backbone's own weights. Files that no run uses may be deleted at any time.

Legend: n samples of an episode, h hidden width.
"""

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dexvla.data.open_files import OpenFiles, most_handles
from dexvla.errors import UserError
from dexvla.files import atomic_file
from dexvla.model import DexVLA
from dexvla.spec import EpisodeEntry, Fusion, TrainSpec
from dexvla.train.data import EpisodeSamples

FORMAT = 1  # to be raised whenever the same backbone and episode would give other vectors
_BATCH = 32


def check_kept(spec: TrainSpec, fusion: Fusion, entries: Sequence[EpisodeEntry]) -> None:
    """Raise UserError for a run whose conditions change from step to step."""
    wrong = None
    if fusion is Fusion.TINYVLA:
        wrong = "the fusion tinyvla pools prompt and answer in one; take film or pooled"
    elif spec.use_paraphrases and any(entry.paraphrases for entry in entries):
        wrong = "some episodes have several wordings, of which each sample draws one; set use_paraphrases to false"
    if wrong:
        raise UserError(f"kept_conditions: {wrong}, or leave kept_conditions out")


class KeptConditions:
    """A folder of means of hidden states. `prepare` fills it, `open` reads it; several runs may share it."""

    def __init__(self, folder: str | os.PathLike[str], policy: DexVLA, samples: EpisodeSamples) -> None:
        self.folder = Path(folder)
        self._policy, self._samples = policy, samples
        self._backbone = _weights_hash(policy)

    def path(self, entry: EpisodeEntry) -> Path:
        settings, spec = self._samples.settings, self._policy.spec
        depends = {
            "format": FORMAT,
            "backbone": self._backbone,
            "episode": entry.content,
            "instruction": entry.instruction,
            "substeps": [segment.model_dump() for segment in entry.substeps] if settings.use_reasoning else None,
            "stretches": [stretch.model_dump() for stretch in entry.stretches],
            "cameras": [camera.model_dump() for camera in spec.cameras],
            "centre_crop": settings.centre_crop,
        }
        name = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        return self.folder / f"format-{FORMAT}" / name[:2] / f"{name}.npy"

    def prepare(
        self, entries: Sequence[EpisodeEntry], *, on_episode: Callable[[int, int], Any] = lambda done, total: None
    ) -> None:
        """Compute what is missing of `entries`, which are those of the samples, in their order."""
        first = 0
        for number, entry in enumerate(entries):
            if not self.path(entry).is_file():
                with atomic_file(self.path(entry)) as temporary, temporary.open("wb") as file:
                    np.save(file, self.compute(range(first, first + entry.samples)))
            first += entry.samples
            on_episode(number + 1, len(entries))

    def compute(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """(n, 2, h) means of prompt and answer of the samples at `indices`: in batches of 32, so always the same."""
        rows = []
        for start in range(0, len(indices), _BATCH):
            drawn = [self._samples[0, index] for index in indices[start : start + _BATCH]]
            batch = self._samples.collate(drawn)
            device = self._policy.device
            with torch.no_grad():
                means = self._policy.means({key: value.to(device) for key, value in batch.items()})
            rows.append(means.float().cpu().numpy())
        return np.concatenate(rows)

    def open(self, entry: EpisodeEntry) -> NDArray[np.float32]:
        """(n, 2, h), mapped from the file. Raises UserError for one that is missing or damaged."""
        path = self.path(entry)
        try:
            means: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: kept conditions are missing or damaged ({error}); delete it and resume"
            ) from error
        expected = (entry.samples, 2, self._policy.backbone.hidden_size)
        if means.shape != expected or means.dtype != np.float32:
            raise UserError(
                f"{path}: holds {means.dtype} {means.shape}, expected float32 {expected}; delete it, resume"
            )
        return means


class SamplesFromMeans(Dataset[dict[str, Any]]):
    """Training samples without images and words: `means` (2, h) instead. The order is that of `samples`."""

    def __init__(self, samples: EpisodeSamples, kept: KeptConditions, entries: Sequence[EpisodeEntry]) -> None:
        self._samples, self._kept, self._entries = samples, kept, tuple(entries)
        self._starts = [0, *accumulate(entry.samples for entry in self._entries)]
        self._open: OpenFiles[int, NDArray[np.float32]] = OpenFiles(most_handles())

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        place, index = key
        number = bisect_right(self._starts, index) - 1
        opened = self._open.get(number, lambda: self._kept.open(self._entries[number]))
        means = opened[index - self._starts[number]]
        return {"means": torch.from_numpy(np.array(means)), **self._samples.motion(index, place)}

    @staticmethod
    def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def _weights_hash(policy: DexVLA) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(policy.backbone.state_dict().items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

"""What the loop trains: a module with the data, losses and files that belong to its stage.

The loop knows order, optimiser, metrics, checkpoints and interrupts; a task knows samples, sums and how it is saved.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from dexvla.data.cache import ImageCache
from dexvla.spec import CameraSpec, EpisodeEntry, TrainSpec
from dexvla.train.prepare import RunData
from dexvla.train.runs import Run

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Term:
    """A logged loss: a mean over all that is counted. weight: its part in what is minimised; 0: for reading only."""

    name: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """An embodiment as the pre-flight sees it. name: empty where there is but one."""

    name: str
    data: RunData
    cameras: tuple[CameraSpec, ...]
    recorded_cameras: tuple[CameraSpec, ...]


class SampleSet(Dataset[dict[str, Any]], ABC):
    """Samples by (place, index); index counts through the episodes of all sources."""

    @abstractmethod
    def collate(self, samples: list[dict[str, Any]]) -> Batch: ...


class TrainerTask(ABC):
    """report: what it starts from, for the checkpoint's manifest. terms: the losses; the first has weight 1."""

    spec: TrainSpec
    model: nn.Module
    report: dict[str, Any]
    terms: tuple[Term, ...]

    @property
    @abstractmethod
    def sources(self) -> tuple[tuple[EpisodeEntry, ...], ...]:
        """Training episodes, in groups that are drawn alike."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Samples in each group, in the order of `samples`."""
        return tuple(sum(entry.samples for entry in episodes) for episodes in self.sources)

    @property
    @abstractmethod
    def weights(self) -> tuple[float, ...]:
        """How often a group's samples are drawn, relative to the others."""

    @abstractmethod
    def parts(self) -> list[Part]: ...

    def prepare_conditions(self, on_episode: Callable[[int, int], Any]) -> None:  # noqa: B027
        """Keep what a frozen part of the model makes of the samples, if the run asks for it."""

    @abstractmethod
    def samples(self, image_cache: ImageCache | None) -> Any:
        """The training samples, a SampleSet or what looks like one; their images from a prepared cache, if any."""

    @abstractmethod
    def counts(self, batch: Batch) -> list[float]:
        """What each term is a mean over: its elements in this batch."""

    @abstractmethod
    def sums(self, model: nn.Module, batch: Batch) -> list[Tensor]:
        """Each term summed over the batch. model: `self.model` as wrapped for several processes."""

    @abstractmethod
    def validate(self, autocast: Callable[[], AbstractContextManager[Any]]) -> dict[str, float]:
        """Means over held-out samples, val_loss among them."""

    @abstractmethod
    def checkpoint_gradients(self) -> None: ...

    @abstractmethod
    def save(self, folder: Path, manifest: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def save_data(self, run: Run) -> None: ...

    @abstractmethod
    def activations(self, spec: TrainSpec) -> int:
        """Estimate of what the backward pass keeps with this batch, precision and checkpointing, bytes."""

    def notes(self) -> list[str]:
        """What a person should know before the run starts, beside what the data tells."""
        return []

    def where(self, index: int) -> str:
        """The training sample of this index, for people: its file and step."""
        for entry in self.train:
            if index < entry.samples:
                for stretch in entry.stretches:
                    if index < stretch.end - stretch.start:
                        return f"{entry.path} step {stretch.start + index}"
                    index -= stretch.end - stretch.start
            index -= entry.samples
        return f"text sample {index}"

    @property
    def train(self) -> tuple[EpisodeEntry, ...]:
        return tuple(entry for source in self.sources for entry in source)

    @property
    def held_out(self) -> tuple[EpisodeEntry, ...]:
        return tuple(entry for part in self.parts() for entry in part.data.held_out)

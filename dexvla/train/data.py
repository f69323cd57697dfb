"""Episode files to training samples.

Legend: T chunk length, A action dimensions, S state dimensions.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dexvla.data.action_space import to_space
from dexvla.data.augment import Draw, augment
from dexvla.data.cache import ImageCache
from dexvla.data.chunks import action_chunk, action_source
from dexvla.data.images import centre_crop, resize_bilinear
from dexvla.data.normalise import normalise_actions, normalise_state
from dexvla.data.open_files import OpenFiles, most_handles
from dexvla.episodes.reader import Episode, load_episode
from dexvla.episodes.segments import per_step
from dexvla.model.processing import Processor, answer_text, build_inputs, collate
from dexvla.spec import ActionSpace, CameraSpec, EpisodeEntry, NormStats, PaddedActions, Stretch

_POSITIONS = ActionSpace()


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How a sample is made. cameras: in the order of the prompt, with the size that images are resized to.

    centre_crop: see `PolicySpec`; of images that are not augmented, which crops them at random. paraphrases: a sample
    draws its instruction from all wordings of the episode. noise_draws: with more than one, noise is (draws, T, A) and
    timesteps (draws,) instead of (T, A) and ().
    """

    cameras: tuple[CameraSpec, ...]
    chunk_size: int
    diffusion_steps: int
    use_reasoning: bool
    paraphrases: bool = False
    padded_actions: PaddedActions
    action_space: ActionSpace = _POSITIONS
    augment: bool
    centre_crop: float = 1.0
    noise_draws: int = 1
    seed: int


class EpisodeReader(Dataset[dict[str, Any]], ABC):
    """Every step that is to be learnt from is a sample; `samples[place, index]` makes the one that stands at `place`.

    `place` seeds augmentation, wording, diffusion noise and time step, so that a resumed run, or one on another number
    of processes, sees the same numbers. A file that cannot be read raises
    EpisodeError: no sample is ever replaced by another one. With a prepared `image_cache`, frames come from there.
    handles: files that it may hold open at a time (None: see dexvla.data.open_files).
    """

    def __init__(
        self,
        *,
        entries: Sequence[EpisodeEntry],
        root: Path,
        stats: NormStats,
        settings: SampleSettings,
        image_cache: ImageCache | None = None,
        handles: int | None = None,
    ) -> None:
        self._entries = tuple(entries)
        self._root = root
        self._stats = stats
        self.settings = settings
        self._starts = [0, *accumulate(entry.samples for entry in self._entries)]
        self._labels = [per_step(entry.substeps) for entry in self._entries]
        self._image_cache = image_cache
        prepared = 0 if image_cache is None else len(settings.cameras)  # handles of an episode's images
        share = (handles or most_handles()) // (1 + prepared)
        self._open: OpenFiles[int, Episode] = OpenFiles(share, close=Episode.close)
        self._prepared: OpenFiles[int, list[NDArray[np.uint8]]] = OpenFiles(share)

    def __len__(self) -> int:
        return self._starts[-1]

    def locate(self, index: int) -> tuple[int, int]:
        """Sample index -> (episode, step)."""
        episode, stretch, place = self._locate(index)
        return episode, stretch.start + place

    def _locate(self, index: int) -> tuple[int, Stretch, int]:
        """Sample index -> (episode, stretch, step within it)."""
        episode = bisect_right(self._starts, index) - 1
        place = index - self._starts[episode]
        for stretch in self._entries[episode].stretches:
            if place < stretch.end - stretch.start:
                return episode, stretch, place
            place -= stretch.end - stretch.start
        raise IndexError(f"sample {index} of {len(self)}")

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        place, index = key
        number, step = self.locate(index)
        entry, settings = self._entries[number], self.settings
        episode = self._episode(number)
        images = self._images(number, step, episode)
        if settings.augment:
            images = augment(images, Draw.sample(np.random.default_rng([settings.seed, 3, place])))
        else:
            images = [centre_crop(image, settings.centre_crop) for image in images]
        reasoning = self._labels[number][step] if settings.use_reasoning and self._labels[number] else None
        sample = self.inputs(images, self._wording(entry, place), reasoning)
        sample.update(self.motion(index, place))
        return sample

    def motion(self, index: int, place: int) -> dict[str, torch.Tensor]:
        """What a sample has apart from images and words: actions, states, is_pad, noise and timesteps."""
        number, stretch, place_in = self._locate(index)
        entry, settings, episode = self._entries[number], self.settings, self._episode(number)
        state = episode.qpos[stretch.start + place_in]
        positions = action_source(episode.action[stretch.start : stretch.end], place_in, sim=entry.sim)
        source = to_space(positions, state, settings.action_space)
        chunk, is_pad = action_chunk(source, settings.chunk_size, settings.padded_actions)
        noise, timesteps = self._draw(place, chunk.shape)
        return {
            "actions": torch.from_numpy(normalise_actions(chunk, self._stats)),
            "states": torch.from_numpy(normalise_state(state, self._stats)),
            "is_pad": torch.from_numpy(is_pad),
            "noise": noise,
            "timesteps": timesteps,
        }

    def _wording(self, entry: EpisodeEntry, place: int) -> str:
        if not (self.settings.paraphrases and entry.paraphrases):
            return entry.instruction
        wordings = (entry.instruction, *entry.paraphrases)
        return wordings[np.random.default_rng([self.settings.seed, 5, place]).integers(len(wordings))]

    def _draw(self, place: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise and time steps of the sample at `place`; the first draw is the same however many there are."""
        settings = self.settings
        noises, steps = [], []
        for draw in range(settings.noise_draws):
            rng = np.random.default_rng([settings.seed, 4, place, *([draw] if draw else [])])
            noises.append(rng.standard_normal(shape, np.float32))
            steps.append(int(rng.integers(settings.diffusion_steps)))
        if settings.noise_draws == 1:
            return torch.from_numpy(noises[0]), torch.tensor(steps[0])
        return torch.from_numpy(np.stack(noises)), torch.tensor(steps)

    @abstractmethod
    def inputs(self, images: list[NDArray[np.uint8]], instruction: str, reasoning: str | None) -> dict[str, Any]:
        """What a model makes of images (in the size of `settings.cameras`) and words."""

    def _images(self, number: int, step: int, episode: Episode) -> list[NDArray[np.uint8]]:
        """The cameras' images in the size that the policy sees."""
        cameras, cache = self.settings.cameras, self._image_cache
        if cache is None:
            return [
                resize_bilinear(episode.frame(camera.name, step), camera.height, camera.width) for camera in cameras
            ]
        entry = self._entries[number]
        prepared = self._prepared.get(number, lambda: [cache.open(entry, camera) for camera in cameras])
        return [images[step] for images in prepared]

    def _episode(self, number: int) -> Episode:
        return self._open.get(number, lambda: load_episode(self._root / self._entries[number].path))


class EpisodeSamples(EpisodeReader):
    """Samples for a policy: prompt and answer as tokens, images as patches."""

    def __init__(self, *, processor: Processor, **options: Any) -> None:
        super().__init__(**options)
        self._processor = processor

    def inputs(self, images: list[NDArray[np.uint8]], instruction: str, reasoning: str | None) -> dict[str, Any]:
        return build_inputs(
            self._processor,
            images=images,
            image_sizes=[(camera.height, camera.width) for camera in self.settings.cameras],
            instruction=instruction,
            answer=answer_text(reasoning),
            normalised=False,
        )

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Samples -> batch: texts left padded, patches one after the other, the rest stacked."""
        return collate(samples, self._processor)

"""Stage 1 as the loop trains it: the expert alone, on several embodiments at once (docs/decisions/stage1.md)."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dexvla.data.cache import ImageCache
from dexvla.data.open_files import most_handles
from dexvla.model.pretrainer import Pretrainer, present_embodiments
from dexvla.model.pretrainer_files import new_pretrainer, save_pretrainer
from dexvla.model.text_encoder import TextTokenizer, pad_texts, text_for
from dexvla.spec import (
    AUGMENTED_CROP,
    DEFAULT_CHUNK,
    RESNET_SIZES,
    SCALEDP_SIZES,
    EmbodimentSpec,
    EpisodeEntry,
    NormStats,
    Precision,
    PretrainerSpec,
    TrainSpec,
)
from dexvla.train.data import EpisodeReader, SampleSettings
from dexvla.train.embodiments import EmbodimentData, embodiment_spec, save_embodiments
from dexvla.train.runs import Run
from dexvla.train.trainer_task import Batch, Part, SampleSet, Term, TrainerTask
from dexvla.train.validation import NOISE_SEED, Totals, validation_places


class EmbodimentSamples(EpisodeReader):
    """The steps of episodes of one embodiment: images as they are, the text's tokens, chunk and state."""

    def __init__(self, *, number: int, tokenizer: TextTokenizer, **options: Any) -> None:
        super().__init__(**options)
        self._number, self._tokenizer = number, tokenizer

    def inputs(self, images: list[NDArray[np.uint8]], instruction: str, reasoning: str | None) -> dict[str, Any]:
        return {
            "embodiment": self._number,
            "ids": self._tokenizer.ids(text_for(instruction, reasoning)),
            "images": {
                camera.name: torch.from_numpy(np.array(image))
                for camera, image in zip(self.settings.cameras, images, strict=True)
            },
        }


class MixedSamples(SampleSet):
    """Samples of several sources, whatever their embodiments; the index counts through the sources."""

    def __init__(self, parts: Sequence[EmbodimentSamples]) -> None:
        self._parts = tuple(parts)
        self._starts = [0, *accumulate(len(part) for part in self._parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        place, index = key
        source = bisect_right(self._starts, index) - 1
        return self._parts[source][place, index - self._starts[source]]

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        """Samples -> the batch that Pretrainer takes, in the order of their embodiments."""
        samples = sorted(samples, key=lambda sample: sample["embodiment"])
        batch: Batch = {"timesteps": torch.stack([sample["timesteps"] for sample in samples])}
        batch["input_ids"], batch["attention_mask"] = pad_texts([sample["ids"] for sample in samples])
        for number in sorted({sample["embodiment"] for sample in samples}):
            mine = [sample for sample in samples if sample["embodiment"] == number]
            for key in ("actions", "noise", "states", "is_pad"):
                batch[f"{key}.{number}"] = torch.stack([sample[key] for sample in mine])
            for name in mine[0]["images"]:
                batch[f"images.{number}.{name}"] = torch.stack([sample["images"][name] for sample in mine])
        return batch


class PretrainTask(TrainerTask):
    def __init__(self, spec: TrainSpec, data: EmbodimentData) -> None:
        assert spec.expert is not None
        self.spec, self._data = spec, data
        wanted = PretrainerSpec(
            expert=SCALEDP_SIZES[spec.expert],
            chunk_size=spec.chunk_size or DEFAULT_CHUNK,
            image_encoder=RESNET_SIZES[spec.image_encoder or "resnet-50"],
            embodiments=tuple(embodiment_spec(name, one, spec) for name, one in data.items()),
        )
        self.model: Pretrainer = new_pretrainer(
            wanted,
            text_encoder=spec.text_encoder,
            initialisation=spec.initialisation,
            seed=spec.seed,
            stats={name: one.stats for name, one in data.items()},
        )
        if spec.precision is Precision.BF16_PURE:
            self.model.to(torch.bfloat16)
        trains = spec.text_encoder is None if spec.train_text_encoder is None else spec.train_text_encoder
        self.model.text.requires_grad_(trains)
        self.report = {"text_encoder": spec.text_encoder or "random weights", "rest": "random weights"}
        several = [Term(f"action_loss.{name}", 0.0) for name in data] if len(data) > 1 else []
        self.terms = (Term("action_loss", 1.0), *several)

    @property
    def sources(self) -> tuple[tuple[EpisodeEntry, ...], ...]:
        return tuple(source for one in self._data.values() for source in one.sources)

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(weight for one in self._data.values() for weight in one.weights)

    def parts(self) -> list[Part]:
        return [
            Part(
                name=one.name if len(self._data) > 1 else "",
                data=self._data[one.name],
                cameras=one.cameras,
                recorded_cameras=one.recorded_cameras,
            )
            for one in self.model.spec.embodiments
        ]

    def samples(self, image_cache: ImageCache | None) -> MixedSamples:
        return MixedSamples(
            [
                self._samples(
                    number,
                    source,
                    augment=self.spec.augment,
                    paraphrases=self.spec.use_paraphrases,
                    image_cache=image_cache,
                )
                for number, one in enumerate(self._data.values())
                for source in one.sources
            ]
        )

    def counts(self, batch: Batch) -> list[float]:
        each = [
            float(batch[f"actions.{number}"].numel()) if f"actions.{number}" in batch else 0.0
            for number in range(len(self._data))
        ]
        return [sum(each), *(each if len(self.terms) > 1 else [])]

    def sums(self, model: nn.Module, batch: Batch) -> list[Tensor]:
        losses = model(batch)
        total = torch.stack(list(losses.sums.values())).sum()
        if len(self.terms) == 1:
            return [total]
        nothing = torch.zeros_like(total)
        return [total, *(losses.sums.get(number, nothing).detach() for number in range(len(self._data)))]

    @torch.no_grad()
    def validate(self, autocast: Callable[[], AbstractContextManager[Any]]) -> dict[str, float]:
        """val_loss and val_action_error_K in units of the action (see `validate` of stage 2).

        Of several embodiments val_action_loss.NAME and val_action_error_K.NAME. The same samples and noise every time.
        """
        held = [
            self._samples(number, one.held_out, augment=False)
            for number, one in enumerate(self._data.values())
            if one.held_out
        ]
        samples = MixedSamples(held)
        places = validation_places(samples, self.spec.validation_samples)
        names = ["val_loss", *(f"val_{term.name}" for term in self.terms[1:])]
        device, size = self.model.trunk.pos_embed.device, self.spec.batch_size
        totals, generator = Totals(), torch.Generator().manual_seed(NOISE_SEED)
        training = self.model.training
        self.model.eval()
        try:
            for start in range(0, len(places), size):
                batch = samples.collate([samples[place] for place in places[start : start + size]])
                batch = {key: value.to(device) for key, value in batch.items()}
                with autocast():
                    for name, total, count in zip(names, self.sums(self.model, batch), self.counts(batch), strict=True):
                        totals.add(name, float(total), count)
                    self._add_predictions(totals, batch, generator)
        finally:
            self.model.train(training)
        return totals.means()

    def _add_predictions(self, totals: Totals, batch: Batch, generator: torch.Generator) -> None:
        noise = {
            number: torch.randn(batch[f"actions.{number}"].shape, generator=generator).to(batch["timesteps"].device)
            for number in present_embodiments(batch)
        }
        for number, predicted in self.model.predict(batch, noise).items():
            one = self.model.spec.embodiments[number]
            totals.add_action_errors(
                predicted,
                batch[f"actions.{number}"],
                batch[f"is_pad.{number}"],
                stats=self.model.stats[one.name],
                space=one.action_space,
                suffix=f".{one.name}" if len(self._data) > 1 else "",
            )

    def checkpoint_gradients(self) -> None:
        self.model.checkpoint_gradients(True)

    def save(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        save_pretrainer(self.model, folder, manifest=manifest)

    def save_data(self, run: Run) -> None:
        save_embodiments(run, self._data)

    def notes(self) -> list[str]:
        notes = []
        if self.spec.text_encoder is None:
            notes.append(
                "the text encoder is a small DistilBERT with random weights, trained along; "
                "name the directory of a pretrained one as text_encoder, as the paper has it"
            )
        names = ", ".join(
            f"{one.name} ({one.action_dim} actions, {one.state_dim} states)" for one in self.model.spec.embodiments
        )
        views = len(self.model.spec.views)
        notes.append(f"embodiments: {names}; {views} cameras, each with an image encoder of its own")
        return notes

    def activations(self, spec: TrainSpec) -> int:
        """Feature maps of the image encoders, five of full width a block, and 17 vectors a block of the trunk."""
        model = self.model.spec
        value = 4 if spec.precision is Precision.FLOAT32 else 2
        maps = 0.0
        largest = max(model.embodiments, key=lambda one: sum(camera.height * camera.width for camera in one.cameras))
        for camera in largest.cameras:
            for stage, (width, depth) in enumerate(
                zip(model.image_encoder.widths, model.image_encoder.depths, strict=True)
            ):
                cells = camera.height * camera.width / 4 ** (stage + 2)
                maps += cells * width * (5 if not spec.gradient_checkpointing else 1) * depth
        trunk = model.chunk_size * model.expert.width * model.expert.depth * (1 if spec.gradient_checkpointing else 17)
        return int(spec.batch_size * (maps + trunk) * value)

    def _samples(
        self,
        number: int,
        entries: tuple[EpisodeEntry, ...],
        *,
        augment: bool,
        paraphrases: bool = False,
        image_cache: ImageCache | None = None,
    ) -> EmbodimentSamples:
        spec, model = self.spec, self.model.spec
        embodiment: EmbodimentSpec = model.embodiments[number]
        stats: NormStats = self.model.stats[embodiment.name]
        assert self.model.tokenizer is not None
        return EmbodimentSamples(
            number=number,
            tokenizer=self.model.tokenizer,
            entries=entries,
            root=Path("/"),
            stats=stats,
            settings=SampleSettings(
                cameras=embodiment.cameras,
                chunk_size=model.chunk_size,
                diffusion_steps=model.diffusion.train_steps,
                use_reasoning=spec.use_reasoning,
                paraphrases=paraphrases,
                padded_actions=spec.padded_actions,
                action_space=embodiment.action_space,
                augment=augment,
                centre_crop=AUGMENTED_CROP if spec.augment else 1.0,
                seed=spec.seed,
            ),
            image_cache=image_cache,
            handles=max(2, most_handles() // len(self.sources)),
        )

"""Stages 2 and 3 as the loop trains them: a DexVLA policy on one embodiment."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dexvla.data.cache import ImageCache
from dexvla.model import DexVLA
from dexvla.model.checkpoint import save_policy
from dexvla.model.processing import IGNORE
from dexvla.spec import EpisodeEntry, Precision, TrainSpec
from dexvla.train.conditions import KeptConditions, SamplesFromMeans, check_kept
from dexvla.train.data import EpisodeSamples, SampleSettings
from dexvla.train.lora import add_lora, plain_state_dict
from dexvla.train.prepare import RunData, prepare_policy, save_data
from dexvla.train.runs import Run
from dexvla.train.text import TextSamples, WithTexts
from dexvla.train.trainer_task import Batch, Part, Term, TrainerTask
from dexvla.train.validation import validate, validation_places


class PolicyTask(TrainerTask):
    def __init__(self, spec: TrainSpec, data: RunData) -> None:
        self.spec, self._data = spec, data
        self.model: DexVLA
        self.model, self.report = prepare_policy(spec, data)
        make_trainable(self.model, spec)
        self._texts = self._text_samples()
        self.terms = (Term("action_loss", 1.0), Term("llm_loss", self.model.spec.llm_loss_weight))

    @property
    def sources(self) -> tuple[tuple[EpisodeEntry, ...], ...]:
        return self._data.sources

    @property
    def sizes(self) -> tuple[int, ...]:
        return (*super().sizes, *(len(texts) for texts in self._texts))

    @property
    def weights(self) -> tuple[float, ...]:
        return (*self._data.weights, *(source.weight for source in self.spec.text_data))

    def parts(self) -> list[Part]:
        spec = self.model.spec
        return [Part(name="", data=self._data, cameras=spec.cameras, recorded_cameras=spec.recorded_cameras)]

    def samples(self, image_cache: ImageCache | None) -> EpisodeSamples | WithTexts | SamplesFromMeans:
        episodes = self._samples(
            self.train,
            augment=self.spec.augment,
            paraphrases=self.spec.use_paraphrases,
            image_cache=image_cache,
            noise_draws=self.spec.noise_draws,
        )
        if self.spec.kept_conditions is not None:
            return SamplesFromMeans(episodes, self._kept(episodes), self.train)
        return WithTexts(episodes, self._texts) if self._texts else episodes

    def prepare_conditions(self, on_episode: Callable[[int, int], Any]) -> None:
        """Let the frozen backbone read every step that is trained on, unless the run's folder of them has it."""
        if self.spec.kept_conditions is not None:
            self._kept(self._samples(self.train, augment=False)).prepare(self.train, on_episode=on_episode)

    def _kept(self, episodes: EpisodeSamples) -> KeptConditions:
        assert self.spec.kept_conditions is not None
        check_kept(self.spec, self.model.spec.fusion, self.train)
        return KeptConditions(self.spec.kept_conditions, self.model, episodes)

    def counts(self, batch: Batch) -> list[float]:
        acting = ~batch["is_pad"].all(dim=1)  # a sample of words alone is nothing but padding
        elements = int(acting.sum()) * batch["actions"][0].numel()
        if "means" in batch:
            return [elements, 0]
        return [elements, int((batch["labels"][:, 1:] != IGNORE).sum())]

    def sums(self, model: nn.Module, batch: Batch) -> list[Tensor]:
        inputs = {key: value for key, value in batch.items() if key not in ("noise", "timesteps")}
        if "means" in batch:  # no word is read: the text's loss cannot change
            action_loss_sum = model(inputs, noise=batch["noise"], timesteps=batch["timesteps"])
            return [action_loss_sum, action_loss_sum.new_zeros(())]
        losses = model(inputs, noise=batch["noise"], timesteps=batch["timesteps"], keep_logits=False)
        return [losses.action_loss_sum, losses.llm_loss_sum]

    def validate(self, autocast: Callable[[], AbstractContextManager[Any]]) -> dict[str, float]:
        samples = self._samples(self.held_out, augment=False)
        return validate(
            self.model,
            samples,
            validation_places(samples, self.spec.validation_samples),
            batch_size=self.spec.batch_size,
            max_new_tokens=self.spec.validation_max_tokens,
            autocast=autocast,
        )

    def checkpoint_gradients(self) -> None:
        self.model.backbone.checkpoint_gradients(True)

    def save(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        weights = plain_state_dict(self.model) if self.spec.lora is not None else None
        save_policy(self.model, folder, manifest=manifest, state_dict=weights)

    def save_data(self, run: Run) -> None:
        save_data(run, self._data)

    def notes(self) -> list[str]:
        spec = self.spec
        if spec.stage == 2 and spec.lora is not None and "expert" in spec.lora.towers and not spec.pretrained_expert:
            return [
                "the expert starts from random weights, of which only adapters are trained; it will learn little. "
                "Name a pretrained_expert, or leave expert out of lora.towers"
            ]
        return []

    def activations(self, spec: TrainSpec) -> int:
        """Per token and block about 34 x width bytes in 16 bit (Korthikanti et al. 2022, without attention scores).

        With gradient checkpointing one vector of the width per block, and one block in full.
        """
        config = self.model.backbone.config
        text: Any = config.text_config  # a configuration of Qwen2-VL, as vision_config
        vision: Any = config.vision_config
        pixels = sum(camera.height * camera.width for camera in self.model.spec.cameras)
        patches = pixels / vision.patch_size**2
        tokens = patches / vision.spatial_merge_size**2 + 100
        value = 4 if spec.precision is Precision.FLOAT32 else 2

        def tower(count: float, width: int, depth: int) -> float:
            full = 17 * count * width * value
            return count * width * depth * value + full if spec.gradient_checkpointing else full * depth

        one = tower(patches, vision.embed_dim, vision.depth) + tower(tokens, text.hidden_size, text.num_hidden_layers)
        logits = 100 * text.vocab_size * 4
        return int(spec.batch_size * (one + logits))

    def _text_samples(self) -> list[TextSamples]:
        assert self.model.processor is not None
        return [
            TextSamples(
                Path(source.path),
                policy=self.model.spec,
                processor=self.model.processor,
                noise_draws=self.spec.noise_draws,
            )
            for source in self.spec.text_data
        ]

    def _samples(
        self,
        entries: tuple[EpisodeEntry, ...],
        *,
        augment: bool,
        paraphrases: bool = False,
        image_cache: ImageCache | None = None,
        noise_draws: int = 1,
    ) -> EpisodeSamples:
        spec, policy = self.spec, self.model
        assert policy.processor is not None
        return EpisodeSamples(
            entries=entries,
            root=Path("/"),
            stats=self._data.stats,
            processor=policy.processor,
            settings=SampleSettings(
                cameras=policy.spec.cameras,
                chunk_size=policy.spec.chunk_size,
                diffusion_steps=policy.spec.diffusion.train_steps,
                use_reasoning=spec.use_reasoning,
                paraphrases=paraphrases,
                padded_actions=spec.padded_actions,
                action_space=policy.spec.action_space,
                augment=augment,
                centre_crop=policy.spec.centre_crop,
                noise_draws=noise_draws,
                seed=spec.seed,
            ),
            image_cache=image_cache,
        )


def make_trainable(policy: DexVLA, spec: TrainSpec) -> None:
    """Freeze what the spec freezes and put its adapters in, the same ones for the same seed."""
    for name, parameter in policy.named_parameters():
        backbone = name.startswith("backbone.")
        frozen = backbone and (spec.freeze_backbone or (spec.freeze_vision and ".visual." in name))
        parameter.requires_grad_(not frozen)
    if spec.lora is not None:
        torch.manual_seed(spec.seed)
        add_lora(policy, spec.lora)

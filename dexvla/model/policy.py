"""The policy: Qwen2-VL reads images and instruction and says its reasoning, the expert turns both into actions.

Shapes: b samples, l tokens (padding included), h hidden width, v vocabulary, t steps of the chunk, a action values,
s state values, d DDIM steps, n draws of noise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2VLConfig

from dexvla.errors import UserError
from dexvla.model.backbone import Backbone
from dexvla.model.fusion import TinyVLAFusion, masked_mean, new_fusion, split_by_labels
from dexvla.model.processing import IGNORE, Processor, answer_text
from dexvla.model.scaledp import ScaleDP
from dexvla.model.token_loss import token_loss
from dexvla.model.unet import UNet
from dexvla.spec import Fusion, Initialisation, NormStats, PolicySpec, UNetSpec


@dataclass
class Losses:
    """Result of a training step. Sums and counts let a trainer average over processes and accumulation steps."""

    loss: Tensor
    llm_loss: Tensor
    action_loss: Tensor
    llm_loss_sum: Tensor
    llm_tokens: Tensor
    action_loss_sum: Tensor
    action_elements: Tensor
    condition: Tensor  # (b, 1, h) float32
    noise_pred: Tensor  # (b, t, a) float32, or (b, n, t, a) as the noise is
    noisy_actions: Tensor  # the same
    last_hidden_states: Tensor  # (b, l, h); rows at padding mean nothing
    logits: Tensor | None = None  # (b, l, v) float32
    hidden_states: tuple[Tensor, ...] | None = None  # embeddings, then each block; the last one is normed


@dataclass
class Prediction:
    """What the policy wants to do. Actions are normalised; `NormStats` take them back to physical units."""

    actions: Tensor  # (b, t, a) float32 in [-1, 1]
    reasoning_ids: list[list[int]]  # generated or forced tokens, end token included
    reasoning_text: list[str] | None  # None without a processor
    condition: Tensor  # (b, 1, h) float32
    ddim_samples: Tensor  # (d, b, t, a) float32, the sample after each step
    noise_pred_steps: Tensor  # (d, b, t, a) float32
    ddim_timesteps: list[int]
    hidden_states: list[Tensor]  # per sample (prompt + answer tokens, h): those the condition could draw on


@dataclass
class _Reading:
    """Hidden states of prompt and answer with their masks, and the answer's tokens."""

    hidden_blh: Tensor
    prompt_bl: Tensor
    answer_bl: Tensor
    ids: list[list[int]]


class DexVLA(nn.Module):
    """Backbone, fusion and expert. Weights are as allocated: see `initialise` and dexvla.model.checkpoint."""

    def __init__(
        self,
        spec: PolicySpec,
        config: Qwen2VLConfig,
        *,
        norm_stats: NormStats | None = None,
        processor: Processor | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.norm_stats = norm_stats
        self.processor = processor
        self.backbone = backbone if backbone is not None else Backbone(config)
        self.fusion = new_fusion(spec.fusion, self.backbone.hidden_size)
        expert = UNet if isinstance(spec.expert, UNetSpec) else ScaleDP
        self.expert = expert(spec, self.backbone.hidden_size)

    @property
    def device(self) -> torch.device:
        return next(self.expert.parameters()).device

    def initialise(self, how: Initialisation, generator: torch.Generator) -> None:
        """Fresh fusion and expert; the backbone is left alone."""
        self.fusion.initialise(how, generator)
        self.expert.initialise(how, generator)

    # --- training ---------------------------------------------------------------------------------------------

    def forward(self, batch: Mapping[str, Tensor], **options: Any) -> Any:
        """`losses`, or `action_loss_from_means` of samples that have them, so that wrappers for several GPUs, which
        only see `forward`, work."""
        if "means" in batch:
            return self.action_loss_from_means(batch, **options)
        return self.losses(batch, **options)

    def losses(
        self,
        batch: Mapping[str, Tensor],
        *,
        noise: Tensor | None = None,
        timesteps: Tensor | None = None,
        generator: torch.Generator | None = None,
        keep_logits: bool = True,
        keep_hidden_states: bool = False,
    ) -> Losses:
        """Next-token loss on the answer plus the expert's noise error, averaged over the whole chunk.

        batch: input_ids, attention_mask, labels (b, l); pixel_values (patches, 1176), or bytes (patches, 588) that
        are normalised here, image_grid_thw; actions (b, t, a) and states (b, s) normalised; is_pad (b, t).
        noise (b, t, a) and timesteps (b,) are drawn from `generator` if not given; noise (b, n, t, a) and timesteps
        (b, n) are n draws of each sample: the backbone runs once, the expert n times, and the loss is the mean (as in
        CogACT, arXiv 2411.19650).
        keep_logits=False computes the output projection only where there are labels, some rows at a time, and keeps
        none of it: most of the cost and memory of a step with a large vocabulary.
        """
        actions_bta, states_bs = self._check_actions(batch["actions"]), self._check_states(batch["states"])
        mask_bl, labels_bl = batch["attention_mask"].bool(), batch["labels"]
        hidden_blh, _, all_hidden = self._read(batch, mask_bl, keep_hidden_states=keep_hidden_states)

        wanted_bl = labels_bl[:, 1:] != IGNORE
        logits_blv = self.backbone.lm_head(hidden_blh).float() if keep_logits else None
        answer_labels = labels_bl[:, 1:][wanted_bl]
        if logits_blv is not None:
            llm_loss_sum = F.cross_entropy(logits_blv[:, :-1][wanted_bl], answer_labels, reduction="sum")
        else:
            llm_loss_sum = token_loss(hidden_blh[:, :-1][wanted_bl], self.backbone.lm_head.weight, answer_labels)
        llm_tokens = wanted_bl.sum()
        llm_loss = llm_loss_sum / llm_tokens.clamp(min=1)

        seen_blh = hidden_blh.detach() if self.spec.insulate_backbone else hidden_blh
        condition_bh = self.fusion(seen_blh, *split_by_labels(mask_bl, labels_bl))
        actions_bta = actions_bta.float()
        drawn_on = generator.device if generator is not None else actions_bta.device
        if noise is None:
            noise = torch.randn(actions_bta.shape, generator=generator, device=drawn_on).to(actions_bta.device)
        if timesteps is None:
            shape = (len(actions_bta),)
            timesteps = torch.randint(self.spec.diffusion.train_steps, shape, generator=generator, device=drawn_on)
            timesteps = timesteps.to(actions_bta.device)
        noisy_bnta, noise_pred_bnta, error_bnta = self._noise_error(
            actions_bta, states_bs, condition_bh, noise, timesteps, ~batch["is_pad"].bool()
        )
        action_loss_sum = error_bnta.sum() / error_bnta.shape[1]
        action_loss = action_loss_sum / actions_bta.numel()
        return Losses(
            loss=action_loss + self.spec.llm_loss_weight * llm_loss,
            llm_loss=llm_loss,
            action_loss=action_loss,
            llm_loss_sum=llm_loss_sum,
            llm_tokens=llm_tokens,
            action_loss_sum=action_loss_sum,
            action_elements=torch.tensor(actions_bta.numel(), device=actions_bta.device),
            condition=condition_bh.unsqueeze(1),
            noise_pred=noise_pred_bnta.view(noise.shape),
            noisy_actions=noisy_bnta.view(noise.shape),
            last_hidden_states=hidden_blh,
            logits=logits_blv,
            hidden_states=all_hidden,
        )

    def means(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(b, 2, h) float32: the last hidden states' means over prompt and answer, all that the fusion looks at."""
        mask_bl = batch["attention_mask"].bool()
        hidden_blh, _, _ = self._read(batch, mask_bl)
        prompt_bl, answer_bl = split_by_labels(mask_bl, batch["labels"])
        return torch.stack([masked_mean(hidden_blh, prompt_bl), masked_mean(hidden_blh, answer_bl)], 1)

    def action_loss_from_means(self, batch: Mapping[str, Tensor], *, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Sum of the action losses, as `losses` has it, of samples whose `means` (b, 2, h) are known; noise and
        timesteps as there. The backbone is not asked."""
        assert not isinstance(self.fusion, TinyVLAFusion), "it pools prompt and answer in one"
        actions_bta, states_bs = self._check_actions(batch["actions"]), self._check_states(batch["states"])
        condition_bh = self.fusion.from_means(batch["means"][:, 0], batch["means"][:, 1])
        _, _, error_bnta = self._noise_error(
            actions_bta.float(), states_bs, condition_bh, noise, timesteps, ~batch["is_pad"].bool()
        )
        return error_bnta.sum() / error_bnta.shape[1]

    def _noise_error(
        self,
        actions_bta: Tensor,
        states_bs: Tensor,
        condition_bh: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        valid_bt: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy actions, predicted noise and its squared error where the chunk is valid, each (b, n, t, a)."""
        noise_bnta = noise.float().view(len(noise), -1, *noise.shape[-2:])
        draws = noise_bnta.shape[1]
        noisy_bnta = self.expert.schedule.add_noise(
            actions_bta.repeat_interleave(draws, 0), noise_bnta.flatten(0, 1), timesteps.flatten()
        ).view_as(noise_bnta)
        steps_bn = timesteps.view(len(noise), -1)
        predicted_bnta = self._predict_noise(noisy_bnta, steps_bn, condition_bh, states_bs, valid_bt.any(1))
        return noisy_bnta, predicted_bnta, (predicted_bnta - noise_bnta).square() * valid_bt[:, None, :, None]

    def _predict_noise(
        self, noisy_bnta: Tensor, steps_bn: Tensor, condition_bh: Tensor, states_bs: Tensor, acting_b: Tensor
    ) -> Tensor:
        """(b, n, t, a) float32. Samples that do not act, all padding, are words alone: the expert is not asked, 0."""

        def ask(noisy: Tensor, steps: Tensor, condition: Tensor, states: Tensor) -> Tensor:
            predicted: Tensor = self.expert(noisy.flatten(0, 1), steps.flatten(), condition, states)
            return predicted.float().view(noisy.shape)

        parts = (noisy_bnta, steps_bn, condition_bh, states_bs)
        if bool(acting_b.all()):
            return ask(*parts)
        # one at least: with several processes, every one has gradients for every weight
        rows = acting_b.nonzero().squeeze(1) if bool(acting_b.any()) else acting_b.new_zeros(1, dtype=torch.long)
        return torch.zeros_like(noisy_bnta).index_copy(0, rows, ask(*(part[rows] for part in parts)))

    # --- inference --------------------------------------------------------------------------------------------

    def predict(
        self,
        inputs: Mapping[str, Tensor],
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        max_new_tokens: int = 256,
        eos_token_id: int | Sequence[int] | None = None,
        ddim_steps: int | None = None,
        reasoning: str | Sequence[str] | None = None,
        flat_positions: bool = False,
        on_token: Callable[[list[list[int]]], None] | None = None,
    ) -> Prediction:
        """Say a reasoning, greedily, and sample a chunk of actions conditioned on it.

        inputs: input_ids and attention_mask (b, l) of prompts padded on the left, pixel_values, image_grid_thw,
        states (b, s) normalised. noise (b, t, a) starts the denoising and is drawn from `generator` if not given.
        reasoning: texts to take as said instead of generating; "" is the empty reasoning.
        The condition draws on the answer's tokens except the last one (the end token; or whatever came last when
        max_new_tokens ran out), as in DexVLA; if the last is the only one, on that. Without FiLM (TinyVLA, pooled) a
        policy reads the prompt alone unless a reasoning is given.
        flat_positions reads the prompt with 1-D positions instead of those of training, as the reference does when it
        evaluates TinyVLA: for comparing with it only.
        on_token: called while the answer is generated, once a token, with the tokens of each sample so far.
        """
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {max_new_tokens}; at least one token has to be generated")
        if flat_positions and (self.spec.fusion is Fusion.FILM or reasoning is not None):
            raise UserError("flat_positions is for policies without FiLM and without a reasoning")
        states_bs = self._check_states(inputs["states"])
        ids_bl = inputs["input_ids"]
        mask_bl = inputs.get("attention_mask", torch.ones_like(ids_bl)).bool()
        if len(mask_bl) != len(states_bs) or not bool(mask_bl[:, -1].all()):
            raise ValueError("prompts must be as many as states, and padded on the left only")
        shape = (len(states_bs), self.spec.chunk_size, self.spec.action_dim)
        if noise is None:
            device = generator.device if generator is not None else states_bs.device
            noise = torch.randn(shape, generator=generator, device=device).to(states_bs.device)
        elif tuple(noise.shape) != shape:
            raise ValueError(f"noise has shape {tuple(noise.shape)}, expected {shape}")
        with torch.no_grad(), _evaluating(self):
            if flat_positions:
                hidden_blh, _, _ = self._read(inputs, mask_bl, flat_positions=True)
                reading = self._prompt_only(hidden_blh, mask_bl)
            else:
                reading = self._answer(inputs, mask_bl, reasoning, max_new_tokens, eos_token_id, on_token)
            condition_bh = self.fusion(reading.hidden_blh, reading.prompt_bl, reading.answer_bl)
            result = self.expert.sample(condition_bh, states_bs, noise, steps=ddim_steps)
        keep_bl = reading.prompt_bl | reading.answer_bl
        return Prediction(
            actions=result.actions_bta,
            reasoning_ids=reading.ids,
            reasoning_text=[self.processor.reasoning_text(ids) for ids in reading.ids] if self.processor else None,
            condition=condition_bh.unsqueeze(1),
            ddim_samples=result.samples_sbta,
            noise_pred_steps=result.noise_sbta,
            ddim_timesteps=result.timesteps,
            hidden_states=[hidden[keep] for hidden, keep in zip(reading.hidden_blh, keep_bl, strict=True)],
        )

    def _answer(
        self,
        inputs: Mapping[str, Tensor],
        mask_bl: Tensor,
        reasoning: str | Sequence[str] | None,
        max_new_tokens: int,
        eos_token_id: int | Sequence[int] | None,
        on_token: Callable[[list[list[int]]], None] | None,
    ) -> _Reading:
        """Read the prompt and the answer that is given, generated or, without FiLM, absent."""
        batch = len(mask_bl)
        if reasoning is not None:
            texts = [reasoning] * batch if isinstance(reasoning, str) else list(reasoning)
            return self._read_forced(inputs, mask_bl, self._forced_ids(texts, batch))
        if self.spec.fusion is not Fusion.FILM:
            hidden_blh, _, _ = self._read(inputs, mask_bl)
            return self._prompt_only(hidden_blh, mask_bl)
        return self._generate(inputs, mask_bl, max_new_tokens, self._end_ids(eos_token_id), on_token)

    def _read(
        self,
        inputs: Mapping[str, Tensor],
        mask_bl: Tensor,
        *,
        cache: Any = None,
        keep_hidden_states: bool = False,
        flat_positions: bool = False,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...] | None]:
        """Last hidden states (b, l, h), next free position (b,) and, on request, all hidden states."""
        self.backbone.choose_attention()
        ids_bl, pixels, grid = inputs["input_ids"], inputs.get("pixel_values"), inputs.get("image_grid_thw")
        if pixels is not None and pixels.dtype == torch.uint8:
            if self.processor is None:
                raise UserError("images are bytes, and the policy has no image settings to normalise them with")
            pixels = self.processor.image_patches.normalise(pixels)
        if flat_positions:
            positions_3bl, following_b = self.backbone.flat_positions(mask_bl)
        else:
            positions_3bl, following_b = self.backbone.positions(ids_bl, mask_bl, grid)
        embeds_blh = self.backbone.embed(ids_bl, pixels, grid)
        hidden_blh, all_hidden = self.backbone.language(
            embeds_blh, mask_bl, positions_3bl, cache=cache, keep_hidden_states=keep_hidden_states
        )
        return hidden_blh, following_b, all_hidden

    def _generate(
        self,
        inputs: Mapping[str, Tensor],
        mask_bl: Tensor,
        limit: int,
        end_ids: Tensor,
        on_token: Callable[[list[list[int]]], None] | None,
    ) -> _Reading:
        """Greedy decoding with a cache. A sample that is done drags filler along, which no condition draws on."""
        cache = self.backbone.new_cache()
        hidden_blh, position_b, _ = self._read(inputs, mask_bl, cache=cache)
        hidden, valid_bl = [hidden_blh], mask_bl
        done_b = torch.zeros_like(mask_bl[:, 0])
        ids: list[list[int]] = [[] for _ in range(len(mask_bl))]
        while True:
            token_b = self.backbone.lm_head(hidden[-1][:, -1]).float().argmax(-1)
            for row, token, done in zip(ids, token_b.tolist(), done_b.tolist(), strict=True):
                if not done:
                    row.append(token)
            if on_token is not None:
                on_token(ids)
            done_b = done_b | torch.isin(token_b, end_ids.to(token_b.device))
            said = len(hidden)
            # The last token's state is not needed, unless it is the only token of its sample.
            finished = bool(done_b.all()) or said >= limit
            if finished and said > 1:
                break
            valid_bl = F.pad(valid_bl, (0, 1), value=True)
            embeds_b1h = self.backbone.embed(token_b[:, None], None, None)
            positions_3b1 = position_b[None, :, None].expand(3, -1, 1)
            state_b1h, _ = self.backbone.language(embeds_b1h, valid_bl, positions_3b1, cache=cache)
            hidden.append(state_b1h)
            position_b = position_b + 1
            if finished:
                break
        return self._reading(torch.cat(hidden, dim=1), mask_bl, ids)

    def _read_forced(self, inputs: Mapping[str, Tensor], mask_bl: Tensor, ids: list[list[int]]) -> _Reading:
        """The same states as if the tokens `ids` had been generated, in a single pass."""
        longest = max(len(row) for row in ids)
        filler = ids[0][-1]
        answer_ids = torch.tensor([row + [filler] * (longest - len(row)) for row in ids], device=mask_bl.device)
        lengths = torch.tensor([len(row) for row in ids], device=mask_bl.device)
        answer_mask = torch.arange(longest, device=mask_bl.device)[None] < lengths[:, None]
        full = {**inputs, "input_ids": torch.cat([inputs["input_ids"], answer_ids], dim=1)}
        hidden_blh, _, _ = self._read(full, torch.cat([mask_bl, answer_mask], dim=1))
        return self._reading(hidden_blh, mask_bl, ids)

    @staticmethod
    def _prompt_only(hidden_blh: Tensor, mask_bl: Tensor) -> _Reading:
        return _Reading(hidden_blh, mask_bl, torch.zeros_like(mask_bl), [[] for _ in range(len(mask_bl))])

    @staticmethod
    def _reading(hidden_blh: Tensor, prompt_bl: Tensor, ids: list[list[int]]) -> _Reading:
        """Mark the answer tokens to pool: all but the last, or the last where it is the only one."""
        prompt_length = prompt_bl.shape[1]
        extra = hidden_blh.shape[1] - prompt_length
        counts = torch.tensor([max(len(row) - 1, 1) for row in ids], device=hidden_blh.device)
        answer = torch.arange(extra, device=hidden_blh.device)[None] < counts[:, None]
        answer_bl = F.pad(answer, (prompt_length, 0), value=False)
        return _Reading(hidden_blh, F.pad(prompt_bl, (0, extra), value=False), answer_bl, ids)

    def _forced_ids(self, texts: list[str], batch: int) -> list[list[int]]:
        if self.processor is None:
            raise UserError("a reasoning can only be forced on a policy that has its tokenizer (processor is None)")
        if len(texts) != batch:
            raise UserError(f"{len(texts)} reasonings were given for {batch} samples")
        return [self.processor.answer_ids(answer_text(text)) for text in texts]

    def _end_ids(self, given: int | Sequence[int] | None) -> Tensor:
        if given is None:
            given = self.processor.end_id if self.processor else self.backbone.config.text_config.eos_token_id
        if given is None:
            raise UserError("neither processor nor configuration says which token ends an answer; pass eos_token_id")
        return torch.tensor([given] if isinstance(given, int) else list(given))

    def _check_actions(self, actions_bta: Tensor) -> Tensor:
        expected = (self.spec.chunk_size, self.spec.action_dim)
        if actions_bta.ndim != 3 or tuple(actions_bta.shape[1:]) != expected:
            raise UserError(
                f"actions have shape {tuple(actions_bta.shape)}, expected (batch, {expected[0]}, {expected[1]})"
            )
        return actions_bta

    def _check_states(self, states_bs: Tensor) -> Tensor:
        if states_bs.ndim != 2 or states_bs.shape[1] != self.spec.state_dim:
            raise UserError(f"states have shape {tuple(states_bs.shape)}, expected (batch, {self.spec.state_dim})")
        return states_bs


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Every part in evaluation mode for a while; a recomputing block in training mode would drop the cache."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True

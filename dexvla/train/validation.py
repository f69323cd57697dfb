"""Validation on held-out episodes: losses, action error in physical units, and what the policy says.

Samples, noise and denoising seeds are the same at every validation, so that the curves compare.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dexvla.data.action_space import from_space
from dexvla.data.normalise import unnormalise_actions
from dexvla.model import DexVLA
from dexvla.model.processing import IGNORE, collate
from dexvla.spec import ActionSpace, NormStats

HORIZONS = (1, 10, 50)
NOISE_SEED = 20_250_205


class HeldOut(Protocol):
    """Samples by (place, index)."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: tuple[int, int]) -> dict[str, Any]: ...

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]: ...


def validation_places(samples: HeldOut, count: int) -> list[tuple[int, int]]:
    """(place, index) of at most `count` samples, spread evenly over all held-out steps."""
    indices = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return [(place, int(index)) for place, index in enumerate(indices)]


@torch.no_grad()
def validate(
    policy: DexVLA,
    samples: HeldOut,
    places: Sequence[tuple[int, int]],
    *,
    batch_size: int,
    max_new_tokens: int,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> dict[str, float]:
    """Means over `places`; the policy is put back into training mode afterwards.

    val_loss, val_action_loss, val_llm_loss: as in training. val_token_accuracy: share of answer tokens that are the
    most likely one, given those before. val_reasoning_match: share of labelled samples whose generated reasoning
    equals the label. val_action_error_K: mean absolute error of the K-th predicted action, units of the action, from
    the policy's own reasoning; only where chunk and episode reach that far.
    """
    device = next(policy.parameters()).device
    generator = torch.Generator().manual_seed(NOISE_SEED)
    totals = Totals()
    training = policy.training
    policy.eval()
    try:
        for start in range(0, len(places), batch_size):
            drawn = [samples[place] for place in places[start : start + batch_size]]
            with autocast():
                _add_losses(totals, policy, _on(device, samples.collate(drawn)))
                _add_predictions(totals, policy, drawn, max_new_tokens, generator)
    finally:
        policy.train(training)
    means = totals.means()
    return {"val_loss": means["val_action_loss"] + policy.spec.llm_loss_weight * means["val_llm_loss"], **means}


class Totals:
    """Sums and counts by name."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, float] = {}

    def add(self, name: str, total: float, count: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + total
        self._counts[name] = self._counts.get(name, 0.0) + count

    def add_action_errors(
        self,
        predicted_bta: Tensor,
        recorded_bta: Tensor,
        is_pad_bt: Tensor,
        *,
        stats: NormStats,
        space: ActionSpace,
        suffix: str = "",
    ) -> None:
        """Of normalised chunks: val_action_error_K, the mean absolute error of the K-th action, units of the action.

        Only where chunk and episode reach that far. suffix: behind the names.
        """
        origin = np.zeros(recorded_bta.shape[-1], np.float32)  # both start from the same state, whichever it is
        predicted, recorded = (
            np.stack(
                [from_space(unnormalise_actions(one, stats), origin, space) for one in chunks.float().cpu().numpy()]
            )
            for chunks in (predicted_bta, recorded_bta)
        )
        error, valid = np.abs(predicted - recorded), ~is_pad_bt.cpu().numpy()
        for horizon in HORIZONS:
            if horizon <= error.shape[1]:
                rows = error[:, horizon - 1][valid[:, horizon - 1]]
                self.add(f"val_action_error_{horizon}{suffix}", float(rows.sum()), rows.size)

    def means(self) -> dict[str, float]:
        return {name: total / self._counts[name] for name, total in self._sums.items() if self._counts[name]}


def _add_losses(totals: Totals, policy: DexVLA, batch: dict[str, Tensor]) -> None:
    inputs = {key: value for key, value in batch.items() if key not in ("noise", "timesteps")}
    losses = policy.losses(inputs, noise=batch["noise"], timesteps=batch["timesteps"])
    totals.add("val_action_loss", float(losses.action_loss_sum), batch["actions"].numel())
    labels = batch["labels"][:, 1:]
    answered = labels != IGNORE
    totals.add("val_llm_loss", float(losses.llm_loss_sum), int(answered.sum()))
    assert losses.logits is not None
    right = (losses.logits[:, :-1].argmax(-1) == labels) & answered
    totals.add("val_token_accuracy", int(right.sum()), int(answered.sum()))


def _add_predictions(
    totals: Totals,
    policy: DexVLA,
    drawn: Sequence[Mapping[str, Tensor]],
    max_new_tokens: int,
    generator: torch.Generator,
) -> None:
    assert policy.processor is not None
    assert policy.norm_stats is not None
    device = next(policy.parameters()).device
    prompts = _on(device, collate([_prompt(sample) for sample in drawn], policy.processor))
    chunk = torch.stack([sample["actions"] for sample in drawn])
    noise = torch.randn(chunk.shape, generator=generator).to(device)
    predicted = policy.predict(prompts, noise=noise, max_new_tokens=max_new_tokens)
    assert predicted.reasoning_text is not None
    for said, sample in zip(predicted.reasoning_text, drawn, strict=True):
        label = policy.processor.reasoning_text(sample["input_ids"][sample["labels"] != IGNORE].tolist())
        if label:
            totals.add("val_reasoning_match", float(said == label), 1)
    totals.add_action_errors(
        predicted.actions,
        chunk,
        torch.stack([sample["is_pad"] for sample in drawn]),
        stats=policy.norm_stats,
        space=policy.spec.action_space,
    )


def _prompt(sample: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sample without its answer, as at inference."""
    asked = sample["input_ids"][sample["labels"] == IGNORE]
    kept = {name: sample[name] for name in ("pixel_values", "image_grid_thw", "states")}
    return {"input_ids": asked, **kept}


def _on(device: torch.device, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.to(device) for key, value in batch.items()}

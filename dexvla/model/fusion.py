"""From hidden states to the one vector that conditions the action expert.

Shapes: b samples, l tokens (padding included), h hidden width. Which tokens are prompt and which are answer comes from
masks, never from a pad id.
"""

import torch
from torch import Tensor, nn

from dexvla.model.fresh import close, init_weights
from dexvla.spec import Fusion, Initialisation


def split_by_labels(attention_mask_bl: Tensor, labels_bl: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (b, l) of prompt and answer: the answer is everything valid from the first labelled token on."""
    valid_bl = attention_mask_bl.bool()
    answer_bl = (labels_bl != -100).cumsum(-1).bool() & valid_bl
    return valid_bl & ~answer_bl, answer_bl


def masked_mean(hidden_blh: Tensor, mask_bl: Tensor) -> Tensor:
    """Mean (b, h), float32, of the hidden states where the mask is set; zeros for a row without any."""
    mask_bl1 = mask_bl.unsqueeze(-1)
    total_bh = hidden_blh.float().masked_fill(~mask_bl1, 0.0).sum(1)
    return total_bh / mask_bl1.sum(1).clamp(min=1)


class FilmFusion(nn.Module):
    """Scale and shift the prompt's mean by the reasoning's (FiLM, arXiv 1709.07871), the plain mean added back."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.prompt_proj = _projection(hidden_size)
        self.reasoning_proj = _projection(hidden_size)
        self.film_scale = nn.Linear(hidden_size, hidden_size)
        self.film_shift = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden_blh: Tensor, prompt_bl: Tensor, answer_bl: Tensor) -> Tensor:
        """Condition (b, h) float32. Every sample needs at least one prompt and one answer token."""
        return self.from_means(masked_mean(hidden_blh, prompt_bl), masked_mean(hidden_blh, answer_bl))

    def from_means(self, mean_bh: Tensor, answer_bh: Tensor) -> Tensor:
        """The same from the means (b, h), float32, of prompt and answer."""
        dtype = self.film_scale.weight.dtype
        prompt_bh = self.prompt_proj(mean_bh.to(dtype))
        reasoning_bh = self.reasoning_proj(answer_bh.to(dtype))
        scale_bh, shift_bh = self.film_scale(reasoning_bh), self.film_shift(reasoning_bh)
        return prompt_bh.float() * (1 + scale_bh.float()) + shift_bh.float() + mean_bh

    def initialise(self, how: Initialisation, generator: torch.Generator) -> None:
        """zero: FiLM starts as the identity, the reasoning does not disturb until it has learnt to help."""
        init_weights(self, how, generator)
        if how is Initialisation.ZERO:
            close(self.film_scale, self.film_shift)


class PooledFusion(nn.Module):
    """The prompt alone, as if FiLM were the identity for good: its projected mean and the plain mean added."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.prompt_proj = _projection(hidden_size)

    def forward(self, hidden_blh: Tensor, prompt_bl: Tensor, answer_bl: Tensor) -> Tensor:
        """Condition (b, h) float32. Every sample needs at least one prompt token."""
        return self.from_means(masked_mean(hidden_blh, prompt_bl), masked_mean(hidden_blh, answer_bl))

    def from_means(self, mean_bh: Tensor, answer_bh: Tensor) -> Tensor:
        """The same from the means (b, h), float32; that of the answer does not matter."""
        return self.prompt_proj(mean_bh.to(self.prompt_proj[0].weight.dtype)).float() + mean_bh

    def initialise(self, how: Initialisation, generator: torch.Generator) -> None:
        init_weights(self, how, generator)


class TinyVLAFusion(nn.Module):
    """Mean of all valid hidden states, prompt and answer (arXiv 2409.12514); the expert norms it."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()

    def forward(self, hidden_blh: Tensor, prompt_bl: Tensor, answer_bl: Tensor) -> Tensor:
        """Condition (b, h) float32."""
        return masked_mean(hidden_blh, prompt_bl | answer_bl)

    def initialise(self, how: Initialisation, generator: torch.Generator) -> None:
        """It has no weights."""


_FUSIONS = {Fusion.FILM: FilmFusion, Fusion.POOLED: PooledFusion, Fusion.TINYVLA: TinyVLAFusion}


def new_fusion(kind: Fusion, hidden_size: int) -> FilmFusion | PooledFusion | TinyVLAFusion:
    return _FUSIONS[kind](hidden_size)


def _projection(hidden_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size))

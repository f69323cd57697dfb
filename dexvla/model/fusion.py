"""From hidden states to the one vector that conditions the action expert.

Shapes: b samples, l tokens (padding included), h hidden width. Which tokens are prompt and which are answer comes from
masks, never from a pad id.
"""

from torch import Tensor, nn

from dexvla.spec import Fusion


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
        dtype = self.film_scale.weight.dtype
        mean_bh = masked_mean(hidden_blh, prompt_bl)
        prompt_bh = self.prompt_proj(mean_bh.to(dtype))
        reasoning_bh = self.reasoning_proj(masked_mean(hidden_blh, answer_bl).to(dtype))
        scale_bh, shift_bh = self.film_scale(reasoning_bh), self.film_shift(reasoning_bh)
        return prompt_bh.float() * (1 + scale_bh.float()) + shift_bh.float() + mean_bh

    def init_zero(self) -> None:
        """FiLM starts as the identity: the reasoning does not disturb until it has learnt to help."""
        for linear in (self.film_scale, self.film_shift):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)


class TinyVLAFusion(nn.Module):
    """Mean of all valid hidden states, then LayerNorm (arXiv 2409.12514)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, hidden_blh: Tensor, prompt_bl: Tensor, answer_bl: Tensor) -> Tensor:
        """Condition (b, h) float32."""
        mean_bh = masked_mean(hidden_blh, prompt_bl | answer_bl)
        norm = self.norm
        return nn.functional.layer_norm(mean_bh, mean_bh.shape[-1:], norm.weight.float(), norm.bias.float(), norm.eps)

    def init_zero(self) -> None:
        """Nothing to zero: a LayerNorm starts as it should."""


def new_fusion(kind: Fusion, hidden_size: int) -> FilmFusion | TinyVLAFusion:
    return FilmFusion(hidden_size) if kind is Fusion.FILM else TinyVLAFusion(hidden_size)


def _projection(hidden_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size))

"""Two parts of Qwen2-VL's vision tower in a faster form: the same weights, names and numbers.

Shapes: n patches of all images, k images, d values of a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchEmbed, VisionAttention, apply_rotary_pos_emb_vision

from dexvla.model.attention import COMPOSED, attend


class ImageAttention(VisionAttention):
    """Attention within each image, for images of one size in a single call.

    transformers' own walks over the images in Python, in every layer, and asks the device for their lengths each
    time: with three cameras and a batch of 12 that is 36 calls a layer where one does.
    """

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        max_seqlen: int | None = None,
        *,
        image_length: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(n, width) -> (n, width). image_length: patches of each image where all have as many, else None."""
        if image_length is None or self.config._attn_implementation not in ("sdpa", COMPOSED):
            output: Tensor = super().forward(hidden_states, cu_seqlens, position_embeddings, max_seqlen, **kwargs)
            return output
        assert position_embeddings is not None
        patches = len(hidden_states)
        query, key, value = self.qkv(hidden_states).view(patches, 3, self.num_heads, -1).unbind(1)
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        by_image = [
            part.view(-1, image_length, self.num_heads, self.head_dim).transpose(1, 2) for part in (query, key, value)
        ]
        attended = attend(*by_image, scale=self.scaling)
        return self.proj(attended.transpose(1, 2).reshape(patches, -1))


class LinearPatchEmbed(PatchEmbed):
    """A convolution whose kernel is its stride is a matrix product, and several times as fast as one."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(n, 1176) -> (n, width)."""
        weight = self.proj.weight
        return F.linear(hidden_states.to(weight.dtype), weight.flatten(1))


def quicken(visual: torch.nn.Module) -> None:
    """Let a freshly built vision tower use both. Names and weights stay."""
    visual.patch_embed.__class__ = LinearPatchEmbed
    for block in visual.blocks:
        block.attn.__class__ = ImageAttention

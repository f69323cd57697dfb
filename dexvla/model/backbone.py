"""Qwen2-VL, carried by transformers' own class, with the few calls a policy needs.

Shapes: b samples, l tokens (padding included), h hidden width, v vocabulary, n patches of all images of the batch.
Positions are worked out here for every forward pass and handed over; nothing is remembered between calls, so
training after generation, several batches in flight and samples of different lengths do not disturb each other.
"""

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, Qwen2VLConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLForConditionalGeneration
from transformers.utils import is_flash_attn_2_available
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids

from dexvla.model.attention import COMPOSED, better_composed, compute_dtype
from dexvla.model.vision import quicken


class Backbone(Qwen2VLForConditionalGeneration):
    """Qwen2-VL: the vision tower attends within each image, the language model causally with 3-axis positions."""

    def __init__(self, config: Qwen2VLConfig) -> None:
        super().__init__(config)
        quicken(self.model.visual)
        self.tie()

    @property
    def hidden_size(self) -> int:
        return int(self.config.text_config.hidden_size)

    @property
    def tied(self) -> bool:
        return bool(self.config.tie_word_embeddings)

    def tie(self) -> None:
        """Make the output projection the embedding itself, where the configuration says so."""
        if self.tied:
            self.lm_head.weight = self.model.language_model.embed_tokens.weight

    def choose_attention(self) -> str:
        """Set the attention kernel for where and in what precision this runs now, and return its name.

        flash_attention_2 where it is installed and can run (on a GPU, in 16 bits), torch's own kernels otherwise, but
        for training in bfloat16 on a CPU (see dexvla.model.attention).
        """
        weight = self.model.language_model.embed_tokens.weight
        half = compute_dtype(weight) in (torch.bfloat16, torch.float16)
        name = "flash_attention_2" if weight.is_cuda and half and _has_flash_attention() else "sdpa"
        if better_composed(weight):
            name = COMPOSED
        if self.config._attn_implementation != name:
            self.set_attn_implementation(name)
        return name

    def checkpoint_gradients(self, enabled: bool) -> None:
        """Recompute the blocks of both towers in the backward pass instead of keeping their activations.

        The switch is set block by block: transformers' own also makes the embeddings require gradients, which would
        send the backward pass through a frozen backbone.
        """
        for module in self.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.gradient_checkpointing = enabled
                module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def positions(
        self, input_ids_bl: Tensor, attention_mask_bl: Tensor, image_grid_thw: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Rotary positions (3, b, l) of the tokens and the next free position (b,) of each sample.

        Positions at padding are 1, as in the reference, and mean nothing. Worked out on the CPU: it is a loop over runs
        of tokens.
        """
        device = input_ids_bl.device
        ids, mask = input_ids_bl.cpu(), attention_mask_bl.cpu().bool()
        grid = None if image_grid_thw is None or len(image_grid_thw) == 0 else image_grid_thw.cpu()
        image_tokens = (ids == self.config.image_token_id) & mask
        expected = 0 if grid is None else int(grid.prod(-1).sum()) // self.config.vision_config.spatial_merge_size**2
        if int(image_tokens.sum()) != expected:
            raise ValueError(
                f"the text has {int(image_tokens.sum())} image tokens, the images given make {expected}; "
                "the texts and images of a batch do not belong together"
            )
        positions, _ = self.model.get_rope_index(
            ids, mm_token_type_ids=image_tokens.int(), image_grid_thw=grid, attention_mask=mask
        )
        following = positions.amax(dim=(0, 2)) + 1
        return positions.masked_fill(~mask, 1).to(device), following.to(device)

    @staticmethod
    def flat_positions(attention_mask_bl: Tensor) -> tuple[Tensor, Tensor]:
        """Like `positions`, but the plain count of tokens on all three axes: what a model for text alone would use."""
        count_bl = attention_mask_bl.long().cumsum(-1)
        return (count_bl - 1).clamp(min=0).expand(3, -1, -1), count_bl[:, -1]

    def embed(self, input_ids_bl: Tensor, pixel_values: Tensor | None, image_grid_thw: Tensor | None) -> Tensor:
        """Token embeddings (b, l, h) with the image tokens replaced by what the vision tower made of the images."""
        embeds_blh = self.model.language_model.embed_tokens(input_ids_bl)
        if pixel_values is None or image_grid_thw is None:
            return embeds_blh
        visual = self.model.visual
        blank = len(image_grid_thw) == 0
        if blank:
            if not (torch.is_grad_enabled() and any(weight.requires_grad for weight in visual.parameters())):
                return embeds_blh
            # a step without any image: gradients of nought, for other processes wait for them
            side = visual.spatial_merge_size
            image_grid_thw = torch.tensor([[1, side, side]])
            pixel_values = pixel_values.new_zeros(side**2, pixel_values.shape[1])
        # Lengths and positions are worked out on the CPU: the tower would ask the device for them again and again.
        grid = image_grid_thw.cpu()
        lengths = (grid[:, 1] * grid[:, 2]).tolist()
        positions = get_vision_position_ids(grid, visual.spatial_merge_size)
        vision_nh = visual(
            pixel_values.to(visual.dtype),
            grid_thw=grid,
            position_ids=positions.to(pixel_values.device),
            cu_seqlens=get_vision_cu_seqlens(grid).to(pixel_values.device),
            max_seqlen=max(lengths),
            image_length=lengths[0] if len(set(lengths)) == 1 else None,
        ).pooler_output
        if blank:
            return embeds_blh + 0.0 * vision_nh.sum().to(embeds_blh.dtype)
        where_bl1 = (input_ids_bl == self.config.image_token_id).unsqueeze(-1)
        return embeds_blh.masked_scatter(where_bl1, vision_nh.to(embeds_blh.dtype))

    def language(
        self,
        embeds_blh: Tensor,
        attention_mask_bl: Tensor,
        positions_3bl: Tensor,
        *,
        cache: DynamicCache | None = None,
        keep_hidden_states: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Last hidden states (b, l, h) after the final norm; on request also embeddings and each block's output.

        With a cache, the mask covers the cached tokens too and the cache grows by l.
        """
        output = self.model.language_model(
            inputs_embeds=embeds_blh,
            attention_mask=attention_mask_bl,
            position_ids=positions_3bl,
            past_key_values=cache,
            use_cache=cache is not None,
            output_hidden_states=keep_hidden_states,
        )
        return output.last_hidden_state, output.hidden_states if keep_hidden_states else None

    def new_cache(self) -> DynamicCache:
        return DynamicCache(config=self.config.text_config)

    def _apply(self, fn: Any, recurse: bool = True) -> "Backbone":
        """Like every module's, except that the rotary frequencies stay float32: in bfloat16 far tokens would blur."""
        super()._apply(fn, recurse)
        self.restore_rotary()
        return self

    def restore_rotary(self) -> None:
        """Recompute the rotary frequencies (they are not stored) in float32 on the device where they are."""
        visual, language = self.model.visual.rotary_pos_emb, self.model.language_model.rotary_emb
        for module, formula in (
            (visual, visual.compute_axial_rope_parameters),
            (language, language.compute_default_rope_parameters),
        ):
            device = module.inv_freq.device
            frequencies, _ = formula(module.config)
            module.inv_freq = frequencies.to(device)
            module.original_inv_freq = frequencies.to(device, copy=True)


@cache
def _has_flash_attention() -> bool:
    return bool(is_flash_attn_2_available())

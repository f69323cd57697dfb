"""The vision tower's faster parts against transformers' own, which stay one `__class__` away."""

import pytest
import torch
from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchEmbed, VisionAttention

from dexvla.model.policy import DexVLA
from dexvla.model.vision import ImageAttention, LinearPatchEmbed


@pytest.mark.parametrize("grids", [[(1, 4, 6)] * 3, [(1, 4, 4), (1, 4, 6), (1, 2, 8)]], ids=["one size", "three sizes"])
def test_outputs_and_gradients_are_those_of_transformers(policy: DexVLA, grids: list[tuple[int, int, int]]) -> None:
    backbone = policy.backbone
    visual = backbone.model.visual
    assert type(visual.patch_embed) is LinearPatchEmbed
    assert all(type(block.attn) is ImageAttention for block in visual.blocks)
    generator = torch.Generator().manual_seed(0)
    grid = torch.tensor(grids)
    pixels = torch.randn(int(grid.prod(-1).sum()), 1176, generator=generator)
    tokens = int(grid.prod(-1).sum()) // 4
    ids = torch.full((1, tokens), backbone.config.image_token_id)

    def run() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        policy.zero_grad()
        embeds = backbone.embed(ids, pixels, grid)
        embeds.square().mean().backward()
        return embeds.detach(), {name: value.grad.clone() for name, value in visual.named_parameters()}

    ours, our_gradients = run()
    visual.patch_embed.__class__ = PatchEmbed
    for block in visual.blocks:
        block.attn.__class__ = _Stock
    try:
        theirs, their_gradients = run()
    finally:
        visual.patch_embed.__class__ = LinearPatchEmbed
        for block in visual.blocks:
            block.attn.__class__ = ImageAttention
        policy.zero_grad()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for name, gradient in our_gradients.items():
        assert torch.allclose(gradient, their_gradients[name], atol=1e-6, rtol=1e-4), name


class _Stock(VisionAttention):
    """transformers' attention, which does not know the hint."""

    def forward(self, *args: torch.Tensor, image_length: int | None = None, **options: object) -> torch.Tensor:
        return super().forward(*args, **options)

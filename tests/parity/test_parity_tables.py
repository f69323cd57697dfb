"""What rounding the weights must not touch."""

import torch
from torch import Tensor

from dexvla.model.policy import DexVLA


def test_casting_the_weights_leaves_the_tables_alone(tiny: DexVLA, tables: dict[str, Tensor]) -> None:
    """A bfloat16 schedule gives NaN in the last step; rounded rotary frequencies blur positions."""
    import copy

    cast = copy.deepcopy(tiny).to(torch.bfloat16)
    assert cast.expert.pos_embed.dtype == torch.bfloat16
    assert cast.expert.schedule.alphas_cumprod.dtype == torch.float32
    assert torch.equal(cast.expert.t_embedder.table.float(), tables["scaledp.timestep_embedding_bf16"].float())
    for ours, theirs in (
        (cast.backbone.model.visual.rotary_pos_emb, tiny.backbone.model.visual.rotary_pos_emb),
        (cast.backbone.model.language_model.rotary_emb, tiny.backbone.model.language_model.rotary_emb),
    ):
        assert ours.inv_freq.dtype == torch.float32
        assert torch.equal(ours.inv_freq, theirs.inv_freq)

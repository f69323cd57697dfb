"""Noise schedule and time-step embedding against the reference's tables."""

import pytest
import torch
from torch import Tensor

from dexvla.model.ddim import Schedule
from dexvla.model.policy import DexVLA
from dexvla.model.scaledp import timestep_table
from dexvla.model.unet import sinusoid_table
from dexvla.spec import DiffusionSpec


def test_noise_schedule(tables: dict[str, Tensor]) -> None:
    schedule = Schedule(DiffusionSpec())
    torch.testing.assert_close(schedule.betas, tables["betas"], atol=0, rtol=1e-6)
    torch.testing.assert_close(schedule.alphas_cumprod, tables["alphas_cumprod"], atol=0, rtol=1e-6)


def test_timestep_embedding_is_the_rounded_one(tables: dict[str, Tensor]) -> None:
    ours = timestep_table(100)
    assert torch.equal(ours, tables["scaledp.timestep_embedding_bf16"].float())
    assert (ours - tables["scaledp.timestep_embedding_float32_for_comparison"]).abs().max() > 0.1


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


@pytest.mark.parametrize("width", [32, 256])
def test_the_u_nets_sinusoid_is_the_rounded_one(tables: dict[str, Tensor], width: int) -> None:
    ours = sinusoid_table(100, width)
    assert torch.equal(ours, tables[f"unet.sinusoid_bf16_dim{width}"].float())
    assert (ours - tables[f"unet.sinusoid_float32_for_comparison_dim{width}"]).abs().max() > 0.1

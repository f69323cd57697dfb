"""ScaleDP, the action expert: a diffusion transformer with adaLN-Zero conditioning (arXiv 2409.14411, 2212.09748).

Shapes: b samples, t steps of the chunk, a action values, s state values, h width of the condition, w width of the
expert, d DDIM steps.
Names of the parts are those of DiT, which is also how existing checkpoints name them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dexvla.model.attention import attend
from dexvla.model.ddim import DDIMResult, Schedule
from dexvla.model.fresh import close, init_weights
from dexvla.spec import Fusion, Initialisation, PolicySpec, ScaleDPSpec

_FREQUENCIES = 256  # entries of the time-step embedding before its MLP


def timestep_table(steps: int) -> Tensor:
    """(steps, 256) float32 table of [cos(t f), sin(t f)] whose values are exactly those DexVLA was trained with.

    f_i = exp(-ln(10000) i / 128) is rounded to bfloat16 after each operation, the angle is float32, and the result
    is rounded to bfloat16. Unrounded frequencies would move entries by up to 0.14.
    """
    half = _FREQUENCIES // 2
    exponent = -math.log(10000.0) * torch.arange(half, dtype=torch.bfloat16)
    frequencies = torch.exp(exponent / half).float()
    angles = torch.arange(steps, dtype=torch.float32)[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1).bfloat16().float()


def modulate(x_btw: Tensor, shift_bw: Tensor, scale_bw: Tensor) -> Tensor:
    return x_btw * (1 + scale_bw.unsqueeze(1)) + shift_bw.unsqueeze(1)


class Attention(nn.Module):
    """Self-attention over the steps of the chunk, without a mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_btw: Tensor) -> Tensor:
        batch, steps, width = x_btw.shape
        q, k, v = self.qkv(x_btw).view(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, steps, width))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the condition."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x_btw: Tensor, cond_bw: Tensor) -> Tensor:
        return self.modulated(x_btw, self.adaLN_modulation(cond_bw))

    def modulated(self, x_btw: Tensor, modulation_b6w: Tensor) -> Tensor:
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = modulation_b6w.chunk(6, dim=-1)
        x_btw = x_btw + gate_attn.unsqueeze(1) * self.attn(modulate(self.norm1(x_btw), shift_attn, scale_attn))
        return x_btw + gate_mlp.unsqueeze(1) * self.mlp(modulate(self.norm2(x_btw), shift_mlp, scale_mlp))


class FinalLayer(nn.Module):
    def __init__(self, width: int, action_dim: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, action_dim)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x_btw: Tensor, cond_bw: Tensor) -> Tensor:
        return self.modulated(x_btw, self.adaLN_modulation(cond_bw))

    def modulated(self, x_btw: Tensor, modulation_b2w: Tensor) -> Tensor:
        shift, scale = modulation_b2w.chunk(2, dim=-1)
        return self.linear(modulate(self.norm_final(x_btw), shift, scale))


class TimestepEmbedder(nn.Module):
    """Row of the fixed table, then an MLP."""

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.table: Tensor
        self.register_buffer("table", timestep_table(steps), persistent=False)

    def forward(self, timesteps_b: Tensor) -> Tensor:
        return self.mlp(self.table[timesteps_b].to(self.mlp[0].weight.dtype))


class ScaleDP(nn.Module):
    """Predicts the noise in a chunk of actions from the condition, the robot state and the time step."""

    def __init__(self, spec: PolicySpec, cond_dim: int) -> None:
        super().__init__()
        expert = spec.expert
        assert isinstance(expert, ScaleDPSpec)
        width = expert.width
        self.schedule = Schedule(spec.diffusion)
        self.norm_after_pool = nn.LayerNorm(cond_dim) if spec.fusion is Fusion.TINYVLA else None
        self.combine = nn.Sequential(
            nn.Linear(cond_dim + spec.state_dim, expert.combine_width),
            nn.ReLU(),
            nn.Linear(expert.combine_width, expert.combine_width),
            nn.ReLU(),
            nn.Linear(expert.combine_width, cond_dim),
        )
        self.cond_obs_emb = nn.Linear(cond_dim, width)
        self.t_embedder = TimestepEmbedder(spec.diffusion.train_steps, width)
        self.x_embedder = nn.Linear(spec.action_dim, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, spec.chunk_size, width))
        self.blocks = nn.ModuleList(Block(width, expert.heads, expert.mlp_ratio) for _ in range(expert.depth))
        self.final_layer = FinalLayer(width, spec.action_dim)

    def forward(self, noisy_bta: Tensor, timesteps_b: Tensor, condition_bh: Tensor, states_bs: Tensor) -> Tensor:
        """Predicted noise (b, t, a) at training steps `timesteps_b` (b,).

        Condition and states may be fewer: then each stands for as many noisy chunks in a row.
        """
        seen_bw = self.observe(condition_bh, states_bs)
        cond_bw = self.t_embedder(timesteps_b) + seen_bw.repeat_interleave(len(noisy_bta) // len(seen_bw), 0)
        x_btw = self.x_embedder(noisy_bta.to(self.x_embedder.weight.dtype)) + self.pos_embed
        for block in self.blocks:
            x_btw = block(x_btw, cond_bw)
        return self.final_layer(x_btw, cond_bw)

    def observe(self, condition_bh: Tensor, states_bs: Tensor) -> Tensor:
        """What the expert makes of condition and state, (b, w); the same at every denoising step."""
        condition_bh, norm = condition_bh.float(), self.norm_after_pool
        if norm is not None:
            condition_bh = F.layer_norm(
                condition_bh, norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps
            )
        joined = torch.cat([condition_bh, states_bs.float()], dim=-1)
        return self.cond_obs_emb(self.combine(joined.to(self.cond_obs_emb.weight.dtype)))

    @torch.no_grad()
    def sample(
        self, condition_bh: Tensor, states_bs: Tensor, noise_bta: Tensor, *, steps: int | None = None
    ) -> DDIMResult:
        """Denoise `noise_bta` to a chunk (see Schedule.sample).

        The modulations depend on step and observation only, so those of all steps are computed up front in one batch.
        """
        timesteps = torch.tensor(self.schedule.sampling_timesteps(steps), device=noise_bta.device)
        cond_dbw = self.t_embedder(timesteps)[:, None] + self.observe(condition_bh, states_bs)[None]
        modulations = [block.adaLN_modulation(cond_dbw) for block in self.blocks]
        final = self.final_layer.adaLN_modulation(cond_dbw)

        def predict_noise(sample_bta: Tensor, index: int) -> Tensor:
            x_btw = self.x_embedder(sample_bta.to(self.x_embedder.weight.dtype)) + self.pos_embed
            for block, modulation in zip(self.blocks, modulations, strict=True):
                x_btw = block.modulated(x_btw, modulation[index])
            return self.final_layer.modulated(x_btw, final[index])

        return self.schedule.sample(predict_noise, noise_bta, steps=steps)

    def initialise(self, how: Initialisation, generator: torch.Generator) -> None:
        """Fresh weights. See docs/decisions/model.md for the two ways."""
        init_weights(self, how, generator, tables=("pos_embed",))
        if how is Initialisation.UPSTREAM:
            nn.init.zeros_(self.pos_embed)
            return
        with torch.no_grad():
            self.pos_embed.copy_(sincos_positions(self.pos_embed.shape[1], self.pos_embed.shape[2]))
        close(*(block.adaLN_modulation[1] for block in self.blocks))
        close(self.final_layer.adaLN_modulation[1], self.final_layer.linear)


def sincos_positions(steps: int, width: int) -> Tensor:
    """(steps, width) table of sines and cosines of the step index (arXiv 1706.03762)."""
    frequencies = torch.exp(-math.log(10000.0) * torch.arange((width + 1) // 2) / ((width + 1) // 2))
    angles = torch.arange(steps)[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]

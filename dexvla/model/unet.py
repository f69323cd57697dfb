"""The U-Net expert: a 1-D U-Net over the steps of the chunk, conditioned by FiLM (diffusion policy, arXiv 2303.04137).

Shapes: b samples, t steps of the chunk, p steps inside (t rounded up), a action values, s state values, h width of the
condition, e width of the time-step embedding, c channels, f = e + h features of a condition, d DDIM steps. Convolutions
run over (b, c, p).
Names of the parts are those of the reference's checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dexvla.model.ddim import DDIMResult, Schedule
from dexvla.model.fresh import close, init_weights
from dexvla.spec import Initialisation, PolicySpec, UNetSpec


def sinusoid_table(steps: int, width: int) -> Tensor:
    """(steps, width) float32 table of [sin(t f), cos(t f)] with exactly the values that DexVLA's U-Net trains with.

    f_i = exp(-i ln(10000) / (width/2 - 1)); every operation is rounded to bfloat16, the angle t f too, which moves
    entries by up to 0.36 (parity: unet.sinusoid_bf16_dim256).
    """
    half = width // 2
    spacing = -math.log(10000.0) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.bfloat16) * spacing)
    angles = torch.arange(steps, dtype=torch.bfloat16)[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


class StepTable(nn.Module):
    """Row of the fixed table at a training step."""

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", sinusoid_table(steps, width), persistent=False)

    def forward(self, timesteps_b: Tensor) -> Tensor:
        return self.table[timesteps_b]


class ConvBlock(nn.Module):
    """Convolution that keeps the number of steps, GroupNorm, Mish."""

    def __init__(self, c_in: int, c_out: int, spec: UNetSpec) -> None:
        super().__init__()
        convolution = nn.Conv1d(c_in, c_out, spec.kernel_size, padding=spec.kernel_size // 2)
        self.block = nn.Sequential(convolution, nn.GroupNorm(spec.n_groups, c_out), nn.Mish())

    def forward(self, x_bcp: Tensor) -> Tensor:
        return self.block(x_bcp)


class ResidualBlock(nn.Module):
    """Two convolution blocks with the condition's scale and shift in between, and a residual around both."""

    def __init__(self, c_in: int, c_out: int, features: int, spec: UNetSpec) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([ConvBlock(c_in, c_out, spec), ConvBlock(c_out, c_out, spec)])
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(features, 2 * c_out))
        self.residual_conv = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x_bcp: Tensor, film_b2c: Tensor) -> Tensor:
        """film_b2c: scales, then shifts, one a channel: what `cond_encoder` makes of the features."""
        scale_bc, shift_bc = film_b2c.chunk(2, dim=-1)
        inner_bcp = self.blocks[0](x_bcp) * scale_bc.unsqueeze(-1) + shift_bc.unsqueeze(-1)
        return self.blocks[1](inner_bcp) + self.residual_conv(x_bcp)


class Downsample(nn.Module):
    """Half as many steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x_bcp: Tensor) -> Tensor:
        return self.conv(x_bcp)


class Upsample(nn.Module):
    """Twice as many steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, channels, 4, stride=2, padding=1)

    def forward(self, x_bcp: Tensor) -> Tensor:
        return self.conv(x_bcp)


class UNet(nn.Module):
    """Predicts the noise in a chunk of actions from the condition, the robot state and the time step.

    Any chunk size goes: zeros are appended until every level can be halved (to a multiple of 4 with three levels), and
    what the network says about them is cut off. Noise, schedule and loss see the chunk alone.
    """

    def __init__(self, spec: PolicySpec, cond_dim: int) -> None:
        super().__init__()
        expert = spec.expert
        assert isinstance(expert, UNetSpec)
        width, dims = expert.diffusion_step_embed_dim, expert.down_dims
        features = width + cond_dim

        def pair(c_in: int, c_out: int, *resize: nn.Module) -> nn.ModuleList:
            blocks = (ResidualBlock(c_in, c_out, features, expert), ResidualBlock(c_out, c_out, features, expert))
            return nn.ModuleList([*blocks, *resize])

        self.schedule = Schedule(spec.diffusion)
        self._multiple = expert.horizon_multiple
        self.norm_after_pool = nn.LayerNorm(cond_dim)
        self.combine = nn.Linear(cond_dim + spec.state_dim, cond_dim)
        self.diffusion_step_encoder = nn.Sequential(
            StepTable(spec.diffusion.train_steps, width),
            nn.Linear(width, 4 * width),
            nn.Mish(),
            nn.Linear(4 * width, width),
        )
        levels = list(zip((spec.action_dim, *dims), dims, strict=False))
        self.down_modules = nn.ModuleList(
            [
                *(pair(c_in, c_out, Downsample(c_out)) for c_in, c_out in levels[:-1]),
                pair(*levels[-1]),
            ]
        )
        self.mid_modules = pair(dims[-1], dims[-1])
        # Each level takes the output of the level below beside what its counterpart on the way down has seen.
        self.up_modules = nn.ModuleList([pair(2 * c_out, c_in, Upsample(c_in)) for c_in, c_out in reversed(levels[1:])])
        self.final_conv = nn.Sequential(ConvBlock(dims[0], dims[0], expert), nn.Conv1d(dims[0], spec.action_dim, 1))

    def forward(self, noisy_bta: Tensor, timesteps_b: Tensor, condition_bh: Tensor, states_bs: Tensor) -> Tensor:
        """Predicted noise (b, t, a) at training steps `timesteps_b` (b,).

        Condition and states may be fewer: then each stands for as many noisy chunks in a row.
        """
        seen_bh = self.observe(condition_bh, states_bs)
        seen_bh = seen_bh.repeat_interleave(len(noisy_bta) // len(seen_bh), 0)
        features_bf = torch.cat([self.embed_steps(timesteps_b), seen_bh], dim=-1)
        return self._denoise(noisy_bta, [block.cond_encoder(features_bf) for block in self._residual_blocks()])

    def embed_steps(self, timesteps_b: Tensor) -> Tensor:
        """(b, e)"""
        table, *mlp = self.diffusion_step_encoder
        embedded_be = table(timesteps_b).to(self.combine.weight.dtype)
        for layer in mlp:
            embedded_be = layer(embedded_be)
        return embedded_be

    def observe(self, condition_bh: Tensor, states_bs: Tensor) -> Tensor:
        """What the expert makes of condition and state, (b, h); the same at every denoising step."""
        norm = self.norm_after_pool
        condition_bh = F.layer_norm(
            condition_bh.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps
        )
        joined = torch.cat([condition_bh, states_bs.float()], dim=-1)
        return self.combine(joined.to(self.combine.weight.dtype))

    @torch.no_grad()
    def sample(
        self, condition_bh: Tensor, states_bs: Tensor, noise_bta: Tensor, *, steps: int | None = None
    ) -> DDIMResult:
        """Denoise `noise_bta` to a chunk (see Schedule.sample).

        Scales and shifts depend on step and observation only, so those of all steps are computed up front.
        """
        timesteps = torch.tensor(self.schedule.sampling_timesteps(steps), device=noise_bta.device)
        seen_bh, steps_de = self.observe(condition_bh, states_bs), self.embed_steps(timesteps)
        count, batch = len(timesteps), len(seen_bh)
        features_dbf = torch.cat([steps_de[:, None].expand(-1, batch, -1), seen_bh[None].expand(count, -1, -1)], dim=-1)
        films = [block.cond_encoder(features_dbf) for block in self._residual_blocks()]

        def predict_noise(sample_bta: Tensor, index: int) -> Tensor:
            return self._denoise(sample_bta, [film_db2c[index] for film_db2c in films])

        return self.schedule.sample(predict_noise, noise_bta, steps=steps)

    def initialise(self, how: Initialisation, generator: torch.Generator) -> None:
        """Fresh weights. See docs/decisions/model.md for the two ways.

        The last layer stays open: closed, the noise of two chunks learnt by heart was off by 0.30 after 300 steps
        instead of 0.12.
        """
        init_weights(self, how, generator)
        if how is Initialisation.ZERO:
            for block in self._residual_blocks():
                linear = block.cond_encoder[1]
                close(linear)
                with torch.no_grad():
                    linear.bias.chunk(2)[0].fill_(1.0)  # FiLM as the identity: scale 1, shift 0

    def _residual_blocks(self) -> list[ResidualBlock]:
        """In the order in which `_denoise` comes by."""
        groups = [*self.down_modules, self.mid_modules, *self.up_modules]
        return [block for group in groups for block in group if isinstance(block, ResidualBlock)]

    def _denoise(self, noisy_bta: Tensor, films: list[Tensor]) -> Tensor:
        """Predicted noise (b, t, a); films: one (b, 2 c) for each residual block."""
        steps = noisy_bta.shape[1]
        film = iter(films)
        x_bcp = noisy_bta.to(self.combine.weight.dtype).transpose(1, 2)
        x_bcp = F.pad(x_bcp, (0, -steps % self._multiple))
        seen: list[Tensor] = []
        for first, second, *resize in self.down_modules:
            x_bcp = second(first(x_bcp, next(film)), next(film))
            seen.append(x_bcp)
            for layer in resize:
                x_bcp = layer(x_bcp)
        for block in self.mid_modules:
            x_bcp = block(x_bcp, next(film))
        for first, second, resize in self.up_modules:
            x_bcp = torch.cat([x_bcp, seen.pop()], dim=1)
            x_bcp = resize(second(first(x_bcp, next(film)), next(film)))
        return self.final_conv(x_bcp)[..., :steps].transpose(1, 2)

"""The denoising schedule: squared-cosine betas, noising for training, DDIM for sampling (arXiv 2010.02502).

Everything here is float32 whatever the model runs in: in bfloat16 the first alpha-bar rounds to 1 and the last step
divides nought by nought.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dexvla.spec import DiffusionSpec

_MAX_BETA = 0.999  # cap of the squared-cosine schedule, arXiv 2102.09672


@dataclass(frozen=True)
class DDIMResult:
    """A sampled chunk. `samples_sbta[i]` is the sample after step i, `noise_sbta[i]` the noise predicted in it."""

    actions_bta: Tensor
    timesteps: list[int]
    samples_sbta: Tensor
    noise_sbta: Tensor


def squared_cosine_betas(steps: int) -> Tensor:
    """(steps,) float32 betas whose alpha-bar follows cos^2((t + 0.008) / 1.008 * pi / 2) (arXiv 2102.09672)."""

    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - alpha_bar((i + 1) / steps) / alpha_bar(i / steps), _MAX_BETA) for i in range(steps)]
    return torch.tensor(betas, dtype=torch.float32)


class Schedule:
    """Noise levels of a diffusion spec. Not a module on purpose: no cast of a model's weights may reach it."""

    def __init__(self, spec: DiffusionSpec) -> None:
        if spec.inference_steps > spec.train_steps:
            raise ValueError(f"{spec.inference_steps} sampling steps of a schedule with {spec.train_steps}")
        self.spec = spec
        self.betas = squared_cosine_betas(spec.train_steps)
        self.alphas_cumprod = torch.cumprod(1.0 - self.betas, dim=0)
        self._on_device: dict[torch.device, Tensor] = {}

    def add_noise(self, actions_bta: Tensor, noise_bta: Tensor, timesteps_b: Tensor) -> Tensor:
        """sqrt(abar_t) a + sqrt(1 - abar_t) n, float32 (b, t, a)."""
        alpha_b11 = self._table(actions_bta.device)[timesteps_b].view(-1, 1, 1)
        return alpha_b11.sqrt() * actions_bta.float() + (1 - alpha_b11).sqrt() * noise_bta.float()

    def sampling_timesteps(self, steps: int | None = None) -> list[int]:
        """Training steps that sampling visits, noisiest first: multiples of train_steps // steps."""
        steps = self.spec.inference_steps if steps is None else steps
        if not 1 <= steps <= self.spec.train_steps:
            raise ValueError(f"{steps} DDIM steps asked for; the schedule allows 1 to {self.spec.train_steps}")
        stride = self.spec.train_steps // steps
        return [index * stride for index in reversed(range(steps))]

    def sample(
        self, predict_noise: Callable[[Tensor, int], Tensor], noise_bta: Tensor, *, steps: int | None = None
    ) -> DDIMResult:
        """Denoise `noise_bta` with eta 0; `predict_noise(sample_bta, i)` predicts the noise at the i-th of the steps.

        The predicted clean chunk is clipped to [-1, 1], the predicted noise is not adjusted to it (as in DexVLA), so
        the result is always within [-1, 1].
        """
        timesteps = self.sampling_timesteps(steps)
        stride = self.spec.train_steps // len(timesteps)
        sample_bta = noise_bta.float()
        samples, noises = [], []
        for index, step in enumerate(timesteps):
            previous = step - stride
            alpha = float(self.alphas_cumprod[step])
            alpha_previous = float(self.alphas_cumprod[previous]) if previous >= 0 else 1.0
            noise_pred_bta = predict_noise(sample_bta, index).float()
            clean_bta = (sample_bta - math.sqrt(1 - alpha) * noise_pred_bta) / math.sqrt(alpha)
            clean_bta = clean_bta.clamp(-1.0, 1.0)
            sample_bta = math.sqrt(alpha_previous) * clean_bta + math.sqrt(1 - alpha_previous) * noise_pred_bta
            samples.append(sample_bta)
            noises.append(noise_pred_bta)
        return DDIMResult(sample_bta, timesteps, torch.stack(samples), torch.stack(noises))

    def _table(self, device: torch.device) -> Tensor:
        if device not in self._on_device:
            self._on_device[device] = self.alphas_cumprod.to(device)
        return self._on_device[device]

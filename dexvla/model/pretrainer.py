"""Stage 1: the expert learns from many embodiments at once, before there is a backbone (docs/decisions/stage1.md).

An image encoder per camera name, modulated by the text, gives the condition; one ScaleDP trunk is shared by all
embodiments, and each has its own layers into and out of it.

Shapes: b samples of a batch, n samples of one embodiment, t steps of the chunk, a action values, s state values,
h width of the condition, w width of the expert, e width of the text embedding, l tokens, v cameras, d DDIM steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import DistilBertConfig

from dexvla.model.ddim import Schedule
from dexvla.model.fresh import close, init_weights
from dexvla.model.resnet import FilmResNet
from dexvla.model.scaledp import Block, FinalLayer, TimestepEmbedder, sincos_positions
from dexvla.model.text_encoder import TextEncoder, TextTokenizer
from dexvla.spec import EmbodimentSpec, Initialisation, NormStats, PretrainerSpec

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB, as is usual for ResNet


@dataclass
class PretrainLosses:
    """Sums and counts per embodiment of the batch, by its number; the loss is the mean over all elements."""

    sums: dict[int, Tensor]
    elements: dict[int, int]

    @property
    def loss(self) -> Tensor:
        return torch.stack(list(self.sums.values())).sum() / sum(self.elements.values())


class View(nn.Module):
    """One camera: its image encoder, and the way from its features to the condition."""

    def __init__(self, spec: PretrainerSpec, text_dim: int) -> None:
        super().__init__()
        self.encoder = FilmResNet(spec.image_encoder, text_dim)
        self.project = nn.Linear(spec.image_encoder.widths[-1], spec.expert.width)

    def forward(self, images_bcyx: Tensor, text_be: Tensor) -> Tensor:
        return self.project(self.encoder(images_bcyx, text_be))


class Head(nn.Module):
    """What an embodiment has of its own: state and action layers of the expert, named as in ScaleDP."""

    def __init__(self, spec: PretrainerSpec, embodiment: EmbodimentSpec) -> None:
        super().__init__()
        width, hidden = spec.expert.width, spec.expert.combine_width
        self.combine = nn.Sequential(
            nn.Linear(width + embodiment.state_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, width),
        )
        self.x_embedder = nn.Linear(embodiment.action_dim, width)
        self.final_layer = FinalLayer(width, embodiment.action_dim)


class Trunk(nn.Module):
    """The part of ScaleDP that all embodiments share, named as in ScaleDP."""

    def __init__(self, spec: PretrainerSpec) -> None:
        super().__init__()
        expert = spec.expert
        self.cond_obs_emb = nn.Linear(expert.width, expert.width)
        self.t_embedder = TimestepEmbedder(spec.diffusion.train_steps, expert.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, spec.chunk_size, expert.width))
        self.blocks = nn.ModuleList(Block(expert.width, expert.heads, expert.mlp_ratio) for _ in range(expert.depth))
        self.recompute = False

    def forward(self, x_btw: Tensor, cond_bw: Tensor) -> Tensor:
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x_btw = checkpoint(block, x_btw, cond_bw, use_reentrant=False)
            else:
                x_btw = block(x_btw, cond_bw)
        return x_btw


class Pretrainer(nn.Module):
    """Image encoders, text encoder, trunk and heads. `views` and `heads` are in the order of the spec.

    stats: normalisation statistics by the name of the embodiment.
    """

    def __init__(
        self,
        spec: PretrainerSpec,
        text: DistilBertConfig,
        *,
        tokenizer: TextTokenizer | None = None,
        stats: Mapping[str, NormStats] | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.tokenizer, self.stats = spec, tokenizer, dict(stats or {})
        self.schedule = Schedule(spec.diffusion)
        self.text = TextEncoder(text)
        self.text_project = nn.Linear(self.text.width, spec.expert.width)
        self.condition_norm = nn.LayerNorm(spec.expert.width)
        self.views = nn.ModuleList(View(spec, self.text.width) for _ in spec.views)
        self.trunk = Trunk(spec)
        self.heads = nn.ModuleList(Head(spec, embodiment) for embodiment in spec.embodiments)

    def initialise(self, how: Initialisation, generator: torch.Generator) -> None:
        """Fresh weights everywhere; the expert's as in stage 2 (docs/decisions/model.md)."""
        self.text.initialise(generator)
        for view in self.views:
            view.encoder.initialise(generator)
        projections = (self.text_project, self.condition_norm, *(view.project for view in self.views))
        for part in (*projections, self.heads):
            init_weights(part, how, generator)
        init_weights(self.trunk, how, generator, tables=("pos_embed",))
        if how is Initialisation.UPSTREAM:
            nn.init.zeros_(self.trunk.pos_embed)
            return
        with torch.no_grad():
            self.trunk.pos_embed.copy_(sincos_positions(self.trunk.pos_embed.shape[1], self.trunk.pos_embed.shape[2]))
        close(*(block.adaLN_modulation[1] for block in self.trunk.blocks))
        for head in self.heads:
            close(head.final_layer.adaLN_modulation[1], head.final_layer.linear)

    def checkpoint_gradients(self, enabled: bool) -> None:
        """Recompute the blocks of trunk and image encoders in the backward pass."""
        self.trunk.recompute = enabled
        for view in self.views:
            view.encoder.recompute = enabled

    def forward(self, batch: Mapping[str, Tensor]) -> PretrainLosses:
        """Noise error of a batch that may mix embodiments.

        Samples stand in the order of their embodiments' numbers. input_ids and attention_mask (b, l), timesteps (b,);
        for each embodiment i of the batch actions.i and noise.i (n, t, a), states.i (n, s), is_pad.i (n, t),
        images.i.VIEW (n, y, x, 3) uint8. Padded steps count as in the policy's loss.
        """
        present = present_embodiments(batch)
        counts = [len(batch[f"actions.{number}"]) for number in present]
        conditions = self._conditions(batch, present, counts)
        timesteps = batch["timesteps"].split(counts)
        observed, inputs = [], []
        for number, condition_nh, timesteps_n in zip(present, conditions, timesteps, strict=True):
            head = self.heads[number]
            observed.append(self._observe(head, condition_nh, batch[f"states.{number}"]))
            noisy_nta = self.schedule.add_noise(batch[f"actions.{number}"], batch[f"noise.{number}"], timesteps_n)
            inputs.append(head.x_embedder(noisy_nta.to(head.x_embedder.weight.dtype)))
        cond_bw = self.trunk.t_embedder(batch["timesteps"]) + torch.cat(observed)
        x_btw = self.trunk(torch.cat(inputs) + self.trunk.pos_embed, cond_bw)
        losses = PretrainLosses({}, {})
        for number, x_ntw, cond_nw in zip(present, x_btw.split(counts), cond_bw.split(counts), strict=True):
            predicted_nta = self.heads[number].final_layer(x_ntw, cond_nw).float()
            error_nta = (predicted_nta - batch[f"noise.{number}"].float()).square()
            losses.sums[number] = (error_nta * (~batch[f"is_pad.{number}"].bool()).unsqueeze(-1)).sum()
            losses.elements[number] = error_nta.numel()
        return losses

    @torch.no_grad()
    def predict(self, batch: Mapping[str, Tensor], noise: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Normalised chunks (n, t, a) float32, within -1..1, of each embodiment of a batch as `forward` takes it.

        noise: (n, t, a) by the number of the embodiment, what each chunk is denoised from.
        """
        present = present_embodiments(batch)
        conditions = self._conditions(batch, present, [len(noise[number]) for number in present])
        some = next(iter(noise.values()))
        steps_dw = self.trunk.t_embedder(torch.tensor(self.schedule.sampling_timesteps(), device=some.device))
        return {
            number: self._sample(
                self.heads[number],
                self._observe(self.heads[number], condition_nh, batch[f"states.{number}"]),
                steps_dw,
                noise[number],
            )
            for number, condition_nh in zip(present, conditions, strict=True)
        }

    def _sample(self, head: Head, observed_nw: Tensor, steps_dw: Tensor, noise_nta: Tensor) -> Tensor:
        def predict_noise(sample_nta: Tensor, index: int) -> Tensor:
            x_ntw = head.x_embedder(sample_nta.to(head.x_embedder.weight.dtype)) + self.trunk.pos_embed
            cond_nw = steps_dw[index] + observed_nw
            return head.final_layer(self.trunk(x_ntw, cond_nw), cond_nw)

        return self.schedule.sample(predict_noise, noise_nta).actions_bta

    def _observe(self, head: Head, condition_nh: Tensor, states_ns: Tensor) -> Tensor:
        """(n, w): what the trunk is told of condition and state, the same at every noise level."""
        joined = torch.cat([condition_nh.float(), states_ns.float()], dim=-1)
        return self.trunk.cond_obs_emb(head.combine(joined.to(head.x_embedder.weight.dtype)))

    def _conditions(self, batch: Mapping[str, Tensor], present: list[int], counts: list[int]) -> list[Tensor]:
        """(n, h) condition of each embodiment of the batch: all views and the text, projected, averaged and normed."""
        text_be = self.text(batch["input_ids"], batch["attention_mask"])
        texts = dict(zip(present, text_be.split(counts), strict=True))
        sums = dict(zip(present, self.text_project(text_be).split(counts), strict=True))
        dtype = self.text_project.weight.dtype
        for place, name in enumerate(self.spec.views):
            with_view = [number for number in present if f"images.{number}.{name}" in batch]
            if not with_view:
                continue
            images = torch.cat([batch[f"images.{number}.{name}"] for number in with_view])
            features = self.views[place](
                normalise_images(images, dtype), torch.cat([texts[number] for number in with_view])
            )
            for number, part in zip(with_view, features.split([len(texts[i]) for i in with_view]), strict=True):
                sums[number] = sums[number] + part
        return [
            self.condition_norm(sums[number] / (1 + len(self.spec.embodiments[number].cameras))) for number in present
        ]


def present_embodiments(batch: Mapping[str, Tensor]) -> list[int]:
    """Numbers of the embodiments in a batch, ascending."""
    return sorted(int(key.removeprefix("actions.")) for key in batch if key.startswith("actions."))


def normalise_images(images_byxc: Tensor, dtype: torch.dtype) -> Tensor:
    """(b, y, x, 3) uint8 RGB -> (b, 3, y, x) with ImageNet's mean and deviation."""
    mean, std = (torch.tensor(values, device=images_byxc.device) for values in (_MEAN, _STD))
    return ((images_byxc.float() / 255 - mean) / std).permute(0, 3, 1, 2).to(dtype)

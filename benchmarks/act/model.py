"""ACT (arXiv 2304.13705), of our own, to compare with: a CVAE whose decoder turns images and state into a chunk.

Shapes: b samples, c cameras, t steps of the chunk, a action values, s state values, n tokens, w width, z latent values.

As in the paper: a ResNet-18 an image (here with group norms and without ImageNet's weights, which are a download),
DETR's transformer with positions added to queries and keys of every layer, an encoder of (CLS, state, actions) to a
latent in training, zero at inference, L1 loss and KL with weight 10. One camera's ResNet sees all cameras, as in ACT's
released code; a token says which camera a feature comes from, which is ours.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ResNetConfig
from transformers.models.resnet.modeling_resnet import ResNetModel

from dexvla.model.resnet import group_norms

KL_WEIGHT = 10.0


@dataclass(frozen=True, kw_only=True)
class ActSizes:
    """The defaults are the paper's (its table of hyperparameters)."""

    width: int = 512
    heads: int = 8
    feedforward: int = 3200
    encoder_layers: int = 4
    decoder_layers: int = 7
    latent: int = 32
    resnet: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    dropout: float = 0.1


# For two CPU cores and images of 112 x 112.
SMALL = ActSizes(
    width=192, heads=6, feedforward=768, encoder_layers=3, decoder_layers=3, resnet=(32, 64, 128, 192), stem=32
)


class Layer(nn.Module):
    """Attention to itself, with `memory` also to that, and an MLP; norms after each, as in DETR."""

    def __init__(self, sizes: ActSizes, *, crosses: bool) -> None:
        super().__init__()
        attention = {"num_heads": sizes.heads, "dropout": sizes.dropout, "batch_first": True}
        self.own = nn.MultiheadAttention(sizes.width, **attention)
        self.other = nn.MultiheadAttention(sizes.width, **attention) if crosses else None
        self.first, self.second = nn.Linear(sizes.width, sizes.feedforward), nn.Linear(sizes.feedforward, sizes.width)
        self.norms = nn.ModuleList(nn.LayerNorm(sizes.width) for _ in range(3 if crosses else 2))
        self.drop = nn.Dropout(sizes.dropout)

    def forward(
        self,
        x_bnw: Tensor,
        places_nw: Tensor,
        *,
        hidden_bn: Tensor | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """hidden_bn: True at tokens that are not to be seen. memory: what the encoder made, and its places."""
        asks = x_bnw + places_nw
        seen, _ = self.own(asks, asks, x_bnw, key_padding_mask=hidden_bn, need_weights=False)
        x_bnw = self.norms[0](x_bnw + self.drop(seen))
        if self.other is not None:
            assert memory is not None
            values, places = memory
            seen, _ = self.other(x_bnw + places_nw, values + places, values, need_weights=False)
            x_bnw = self.norms[1](x_bnw + self.drop(seen))
        return self.norms[-1](x_bnw + self.drop(self.second(self.drop(F.relu(self.first(x_bnw))))))


class Act(nn.Module):
    """Images and state -> chunk. Weights are random, from torch's global generator."""

    def __init__(self, sizes: ActSizes, *, cameras: int, chunk_size: int, action_dim: int, state_dim: int) -> None:
        super().__init__()
        self.sizes, self.chunk_size = sizes, chunk_size
        width = sizes.width
        depths = [2] * len(sizes.resnet)
        self.resnet = ResNetModel(
            ResNetConfig(embedding_size=sizes.stem, hidden_sizes=list(sizes.resnet), depths=depths, layer_type="basic")
        )
        group_norms(self.resnet)
        self.of_image = nn.Conv2d(sizes.resnet[-1], width, 1)
        self.of_camera = nn.Parameter(0.02 * torch.randn(cameras, width))
        self.of_state, self.of_latent = nn.Linear(state_dim, width), nn.Linear(sizes.latent, width)
        self.places_of_two = nn.Parameter(0.02 * torch.randn(2, width))  # of latent and state
        self.encoder = nn.ModuleList(Layer(sizes, crosses=False) for _ in range(sizes.encoder_layers))
        self.decoder = nn.ModuleList(Layer(sizes, crosses=True) for _ in range(sizes.decoder_layers))
        self.queries = nn.Parameter(0.02 * torch.randn(chunk_size, width))
        self.head = nn.Linear(width, action_dim)
        # The CVAE's encoder, for training alone.
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.style_state, self.style_actions = nn.Linear(state_dim, width), nn.Linear(action_dim, width)
        self.style = nn.ModuleList(Layer(sizes, crosses=False) for _ in range(sizes.encoder_layers))
        self.style_out = nn.Linear(width, 2 * sizes.latent)
        self.places_of_style: Tensor
        self.register_buffer("places_of_style", sine_places(chunk_size + 2, width), persistent=False)

    def losses(
        self, images_bcyx3: Tensor, states_bs: Tensor, actions_bta: Tensor, is_pad_bt: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean L1 error over what is no padding, and the mean KL divergence. Images are bytes."""
        latent_bz, kl = self._encode(states_bs, actions_bta, is_pad_bt)
        predicted = self._decode(images_bcyx3, states_bs, latent_bz)
        valid = ~is_pad_bt[..., None].expand_as(actions_bta)
        return ((predicted - actions_bta).abs() * valid).sum() / valid.sum().clamp(min=1), kl

    @torch.no_grad()
    def predict(self, images_bcyx3: Tensor, states_bs: Tensor) -> Tensor:
        """(b, t, a), the latent at its mean, zero."""
        return self._decode(images_bcyx3, states_bs, states_bs.new_zeros(len(states_bs), self.sizes.latent))

    def _encode(self, states_bs: Tensor, actions_bta: Tensor, is_pad_bt: Tensor) -> tuple[Tensor, Tensor]:
        batch = len(states_bs)
        tokens = [self.cls.expand(batch, -1, -1), self.style_state(states_bs)[:, None], self.style_actions(actions_bta)]
        x_bnw = torch.cat(tokens, 1)
        hidden_bn = torch.cat([is_pad_bt.new_zeros(batch, 2), is_pad_bt], 1)
        for layer in self.style:
            x_bnw = layer(x_bnw, self.places_of_style, hidden_bn=hidden_bn)
        mean_bz, log_variance_bz = self.style_out(x_bnw[:, 0]).chunk(2, -1)
        latent_bz = mean_bz + (log_variance_bz / 2).exp() * torch.randn_like(mean_bz)
        kl = -0.5 * (1 + log_variance_bz - mean_bz.square() - log_variance_bz.exp()).sum(-1).mean()
        return latent_bz, kl

    def _decode(self, images_bcyx3: Tensor, states_bs: Tensor, latent_bz: Tensor) -> Tensor:
        batch, cameras = images_bcyx3.shape[:2]
        pixels = images_bcyx3.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        maps = self.of_image(self.resnet(pixels).last_hidden_state)
        grid = grid_places(*maps.shape[-2:], self.sizes.width).to(maps.device)
        features = maps.flatten(2).transpose(1, 2).reshape(batch, -1, self.sizes.width)
        places = torch.cat([self.places_of_two, *(grid + camera for camera in self.of_camera[:cameras])])
        x_bnw = torch.cat([self.of_latent(latent_bz)[:, None], self.of_state(states_bs)[:, None], features], 1)
        for layer in self.encoder:
            x_bnw = layer(x_bnw, places)
        chunk_btw = x_bnw.new_zeros(batch, self.chunk_size, self.sizes.width)
        for layer in self.decoder:
            chunk_btw = layer(chunk_btw, self.queries, memory=(x_bnw, places))
        return self.head(chunk_btw)


def sine_places(count: int, width: int) -> Tensor:
    """(count, width) sines and cosines of the index (arXiv 1706.03762)."""
    frequencies = torch.exp(-math.log(10000.0) * torch.arange((width + 1) // 2) / ((width + 1) // 2))
    angles = torch.arange(count)[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos()], -1)[:, :width]


def grid_places(rows: int, columns: int, width: int) -> Tensor:
    """(rows * columns, width): half of the channels tell the row, half the column, as in DETR."""
    half = width // 2
    down = sine_places(rows, half)[:, None].expand(rows, columns, half)
    across = sine_places(columns, width - half)[None].expand(rows, columns, width - half)
    return torch.cat([down, across], -1).flatten(0, 1)

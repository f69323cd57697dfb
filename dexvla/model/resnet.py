"""A residual image encoder whose blocks are modulated by a text (FiLM, arXiv 1709.07871, placed as in RT-1).

Shapes: b images, c channels, y x rows and columns of a feature map, e width of the text embedding.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import ResNetConfig
from transformers.models.resnet.modeling_resnet import ResNetModel

from dexvla.spec import ResNetSpec

_GROUP = 16  # channels that are normed together, as diffusion policy does in place of batch statistics


class FiLM(nn.Module):
    """x (1 + scale(text)) + shift(text), channel by channel; nothing at first."""

    def __init__(self, text_dim: int, channels: int) -> None:
        super().__init__()
        self.scale_shift = nn.Linear(text_dim, 2 * channels)

    def forward(self, x_bcyx: Tensor, text_be: Tensor) -> Tensor:
        scale_b2c, shift_b2c = self.scale_shift(text_be)[:, :, None, None].chunk(2, dim=1)
        return x_bcyx * (1 + scale_b2c) + shift_b2c


class FilmResNet(nn.Module):
    """transformers' ResNet with group instead of batch norms, and a FiLM behind each of its blocks.

    Batch statistics would tie the samples of a batch together, across embodiments and differently on every number of
    processes, and an average over weights would not fit them.
    """

    def __init__(self, spec: ResNetSpec, text_dim: int) -> None:
        super().__init__()
        stock = ResNetModel(
            ResNetConfig(
                embedding_size=spec.stem,
                hidden_sizes=list(spec.widths),
                depths=list(spec.depths),
                layer_type="bottleneck",
            )
        )
        self.stem = stock.embedder
        self.blocks = nn.ModuleList(block for stage in stock.encoder.stages for block in stage.layers)
        group_norms(self)
        channels = [width for width, depth in zip(spec.widths, spec.depths, strict=True) for _ in range(depth)]
        self.films = nn.ModuleList(FiLM(text_dim, width) for width in channels)
        self.recompute = False

    def forward(self, images_bcyx: Tensor, text_be: Tensor) -> Tensor:
        """(b, 3, y, x) normalised images and (b, e) texts -> (b, c) features, the mean over the last map."""
        x_bcyx = self.stem(images_bcyx)
        for block, film in zip(self.blocks, self.films, strict=True):
            if self.recompute and torch.is_grad_enabled():
                x_bcyx = checkpoint(block, x_bcyx, use_reentrant=False)
            else:
                x_bcyx = block(x_bcyx)
            x_bcyx = film(x_bcyx, text_be)
        return x_bcyx.mean(dim=(2, 3))

    def initialise(self, generator: torch.Generator) -> None:
        """Random convolutions (He et al.), norms and FiLM at the identity."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            elif isinstance(part, nn.GroupNorm):
                part.reset_parameters()
            elif isinstance(part, FiLM):
                nn.init.zeros_(part.scale_shift.weight)
                nn.init.zeros_(part.scale_shift.bias)


def group_norms(module: nn.Module) -> None:
    """Put a group norm in the place of every batch norm."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            channels = child.num_features
            groups = next(count for count in range(max(1, channels // _GROUP), 0, -1) if channels % count == 0)
            setattr(module, name, nn.GroupNorm(groups, channels))
        else:
            group_norms(child)

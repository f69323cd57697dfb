"""How large a run becomes, from the headers of weight files: no model is built."""

import math
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from backend.base_models.detect import tensor_shapes, weight_files
from dexvla.spec import EXPERT_SIZES, Precision, ScaleDPSpec, TrainSpec, UNetSpec

_GIB = 2**30
_FUSION_MATRICES = 6  # of FiLM and projections, backbone width x backbone width


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Numbers of parameters, by part."""

    vision: int
    language: int
    rest: int
    width: int

    @property
    def total(self) -> int:
        return self.vision + self.language + self.rest


@lru_cache(maxsize=64)
def _counted(directory: str, changed: int) -> Weights:
    parts = {"vision": 0, "language": 0, "rest": 0}
    width = 0
    for file in weight_files(Path(directory)):
        for name, (_, shape) in tensor_shapes(file).items():
            count = math.prod(shape)
            if name.startswith(("expert.", "fusion.")):
                parts["rest"] += count
            else:
                parts["vision" if "visual." in name else "language"] += count
            if name.endswith("embed_tokens.weight") and len(shape) == 2:
                width = shape[1]
    return Weights(**parts, width=width)


def weights(directory: Path) -> Weights:
    """Of a base model or a checkpoint. Raises OSError or ValueError for files that cannot be read."""
    return _counted(str(directory), (directory / "config.json").stat().st_mtime_ns)


def expert_parameters(size: ScaleDPSpec | UNetSpec, backbone: int) -> int:
    """On a backbone of that width, to within 5 % for sizes that matter (a test compares).

    ScaleDP: attention, MLP and modulation of each block; embeddings, condition, the MLP that joins it with the state.
    U-Net: the convolutions of two blocks a level, and their modulation.
    """
    if isinstance(size, ScaleDPSpec):
        blocks = size.depth * size.width**2 * (4 + 2 * size.mlp_ratio + 6)
        joined = size.combine_width * (backbone + 2 * size.combine_width)
        return int(blocks + joined + 4 * size.width**2 + backbone * size.width)
    levels = [*size.down_dims, *size.down_dims[-1:] * 2, *reversed(size.down_dims[:-1])]
    condition = backbone + size.diffusion_step_embed_dim
    return sum(4 * size.kernel_size * width**2 + 2 * condition * width for width in levels)


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes that a run writes, and that are free where it writes."""

    checkpoints: int
    needed: int
    free: int


def disk(spec: TrainSpec, start: Weights, folder: Path) -> Disk:
    """The rule of dexvla's own pre-flight with estimated counts: checkpoints and two trainer states."""
    fresh = 0
    if spec.stage == 2:
        fresh = expert_parameters(EXPERT_SIZES[spec.expert or "tiny"], start.width)
        fresh += _FUSION_MATRICES * start.width**2
    size = 2 if spec.precision is Precision.BF16_PURE else 4
    expert = fresh + start.rest
    trained = expert
    if spec.lora is None and not spec.freeze_backbone:
        trained += start.language + (0 if spec.freeze_vision else start.vision)
    elif spec.lora is not None and "expert" in spec.lora.towers:
        trained = 0
    state = trained * (3 * size + 4 * bool(spec.ema_decay))
    kept = min(spec.keep_checkpoints + 1, spec.steps // spec.save_every + 1) + bool(spec.validation_fraction)
    return Disk(
        checkpoints=kept,
        needed=kept * size * (start.total + fresh) + 2 * state,
        free=shutil.disk_usage(folder).free,
    )


def as_text(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB / 10 else f"{count / 2**20:.0f} MiB"

"""Configuration files for `accelerate launch`. Torch-free."""

import importlib.util
from enum import StrEnum
from pathlib import Path

from dexvla.errors import UserError

DEEPSPEED_MISSING = "DeepSpeed is not installed here; install it with: pip install 'dexvla-studio[deepspeed]'"


class AccelerateConfig(StrEnum):
    """zero2: gradients and optimiser split over the GPUs; zero2-offload: the optimiser in main memory as well."""

    ZERO2 = "zero2"
    ZERO2_OFFLOAD = "zero2-offload"


def has_deepspeed() -> bool:
    return importlib.util.find_spec("deepspeed") is not None


def accelerate_config(name: AccelerateConfig) -> Path:
    """The file by that name. Raises UserError where DeepSpeed is missing."""
    if not has_deepspeed():
        raise UserError(f"{name}: {DEEPSPEED_MISSING}")
    return accelerate_file(name)


def accelerate_file(name: AccelerateConfig) -> Path:
    """The same to be read, whatever is installed."""
    return Path(__file__).parent / f"{name.value.replace('-', '_')}.yaml"

"""Which number format a run computes in, given the device it got."""

import torch

from dexvla.spec import Precision

# What makes products of bfloat16 matrices fast on a processor. Without them torch computes them ten times as slowly as
# float32; with AVX512-BF16 and no AMX a training step is still the faster one (docs/decisions/training.md).
_UNITS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16", "arm_bf16")


def fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is worth it there: on every accelerator, and on processors that have units for it."""
    if device.type != "cpu":
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _UNITS)


def used_precision(precision: Precision, device: torch.device) -> Precision:
    """float32 for `bf16` where that is only slow: weights are float32 either way. `bf16_pure` stays: its are not."""
    return Precision.FLOAT32 if precision is Precision.BF16 and not fast_bf16(device) else precision


def precision_note(precision: Precision, device: torch.device) -> str | None:
    """What a person should know about it before a run starts; None where the device does as asked, and well."""
    slow = "this processor has no units for bfloat16 (AMX or AVX512-BF16), where it takes ten times as long as float32"
    if precision is Precision.BF16_PURE:
        rounded = (
            "weights in bfloat16 hold three digits, so most steps of a small learning rate are rounded away (at 2e-5 "
            "three weights in ten move at all): take bf16, unless it is memory that is short"
        )
        return rounded if fast_bf16(device) else f"{rounded}; and {slow}"
    if precision is Precision.FLOAT32 or fast_bf16(device):
        return None
    return f"{slow}: the run computes in float32 instead. A checkpoint says so"

"""The number format follows the device: bfloat16 is only asked of a processor that is quick at it."""

from collections.abc import Callable

import pytest
import torch

from dexvla.spec import Precision, TrainSpec
from dexvla.train.engines import make_accelerator
from dexvla.train.loop import plan
from dexvla.train.precision import fast_bf16, precision_note, used_precision

CPU = torch.device("cpu")


@pytest.fixture(params=[{}, {"amx_bf16": True}, {"avx512_bf16": True, "amx_bf16": False}, {"avx512_bf16": False}])
def capabilities(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A processor with these units, as torch tells of it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: request.param)
    return request.param  # type: ignore[no-any-return]


def test_float32_stands_in_where_bfloat16_is_only_slow(capabilities: dict[str, bool]) -> None:
    fast = any(capabilities.values())
    assert fast_bf16(CPU) is fast
    assert used_precision(Precision.BF16, CPU) is (Precision.BF16 if fast else Precision.FLOAT32)
    assert used_precision(Precision.BF16_PURE, CPU) is Precision.BF16_PURE
    assert used_precision(Precision.FLOAT32, CPU) is Precision.FLOAT32
    assert (precision_note(Precision.BF16, CPU) is None) is fast
    pure = precision_note(Precision.BF16_PURE, CPU)
    assert pure is not None
    assert "take bf16" in pure
    assert ("no units" in pure) is not fast
    assert precision_note(Precision.FLOAT32, CPU) is None


def test_a_gpu_does_as_asked(capabilities: dict[str, bool]) -> None:
    assert used_precision(Precision.BF16, torch.device("cuda")) is Precision.BF16
    assert precision_note(Precision.BF16, torch.device("cuda")) is None


def test_a_run_says_so_before_it_starts(capabilities: dict[str, bool], make_spec: Callable[..., TrainSpec]) -> None:
    fast = any(capabilities.values())
    notes = [note for note in plan(make_spec(precision="bf16")).notes if "bfloat16" in note]
    assert len(notes) == (0 if fast else 1)
    assert all("the run computes in float32 instead" in note for note in notes)
    accelerator = make_accelerator(make_spec(precision="bf16"))
    assert accelerator.mixed_precision == ("bf16" if fast else "no")

"""Where the reference's numbers are, and how close ours have to come."""

from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
BATCH = (
    "input_ids",
    "attention_mask",
    "labels",
    "pixel_values",
    "image_grid_thw",
    "actions",
    "states",
    "is_pad",
)


def find_parity() -> Path:
    """The full set beside the repository where it is there, the part that our tests need otherwise."""
    shared = ROOT.parent / "shared" / "parity"
    return shared if (shared / "tiny").is_dir() else ROOT / "tests" / "data" / "parity"


def assert_close(name: str, ours: Tensor, theirs: Tensor) -> None:
    """Within 1e-4 absolute plus 1e-4 relative, and of the same shape."""
    assert ours.shape == theirs.shape, f"{name}: shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    torch.testing.assert_close(ours.float(), theirs.float(), atol=1e-4, rtol=1e-4, msg=lambda text: f"{name}: {text}")

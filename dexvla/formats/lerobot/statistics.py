"""The ten figures a feature that LeRobot keeps: of an episode, and of all together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Figures = dict[str, NDArray[np.float64]]


def of_numbers(values: NDArray[Any]) -> Figures:
    """(T, D) -> (D,) each, and count (1,)."""
    wide = np.asarray(values, np.float64)
    found = {"min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    found["count"] = np.array([len(wide)], np.float64)
    return found | {name: np.quantile(wide, share, axis=0) for name, share in QUANTILES.items()}


def of_images(images: Sequence[NDArray[np.uint8]]) -> Figures:
    """Of some (H, W, 3) frames: (3, 1, 1) each, in 0 .. 1; count is of frames."""
    flat = np.concatenate([image.reshape(-1, 3)[:: max(1, image.size // 30_000)] for image in images]) / 255.0
    found = of_numbers(flat)
    found["count"] = np.array([len(images)], np.float64)
    return {name: value if name == "count" else value.reshape(3, 1, 1) for name, value in found.items()}


def together(parts: Sequence[Mapping[str, NDArray[np.float64]]]) -> Figures:
    """Of several episodes as one. Quantiles are the mean of theirs, weighted by count, as LeRobot takes them."""
    counts = np.array([part["count"][0] for part in parts])
    weights = counts / counts.sum()

    def mean(name: str) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.tensordot(weights, np.stack([part[name] for part in parts]), axes=1)
        return found

    middle = mean("mean")
    spread = np.stack([part["std"] ** 2 + (part["mean"] - middle) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": middle,
        "std": np.sqrt(np.tensordot(weights, spread, axes=1)),
        "count": np.array([counts.sum()]),
        **{name: mean(name) for name in QUANTILES},
    }


def as_json(figures: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    return {name: value.astype(int).tolist() if name == "count" else value.tolist() for name, value in figures.items()}

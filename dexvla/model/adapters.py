"""LoRA adapters in peft's file layout, merged into the weights they adapt.

W' = W + scale * B A with scale = alpha / rank (alpha / sqrt(rank) where use_rslora is set; arXiv 2106.09685,
2312.03732). The sum is taken in float32 and rounded once.
"""

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dexvla.errors import CheckpointError

_PART = re.compile(r"^(?P<layer>.+)\.lora_(?P<side>[AB])(\.default)?\.weight$")
_UNSUPPORTED = {"use_dora": False, "bias": "none", "modules_to_save": None, "fan_in_fan_out": False}
# Fields that say nothing about how adapters and weights are added up; those of an initialisation go by
# init_lora_weights. Whatever else a peft of whatever version writes has to be off.
_WITHOUT_EFFECT = {
    *("peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision"),
    *("inference_mode", "runtime_config", "r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern"),
    *("use_rslora", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("megatron_core", "qalora_group_size", "ensure_weight_tying", "init_lora_weights"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config"),
}
# Others change the base model's weights before training (pissa, olora, corda, loftq, lora_ga): what is adapted then is
# not what the base model's folder holds.
_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
_PLAIN_NAME = re.compile(r"[\w.]+")


def strip_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what peft and data parallelism put before them.

    The reference's rule: `base_model.` goes, and if some name then begins with `model.policy_head.`, one `model.`
    goes from every name.
    """
    plain = {name.removeprefix("module.").removeprefix("base_model."): tensor for name, tensor in tensors.items()}
    wrapped = any(name.startswith(("model.policy_head.", "model.visual.", "model.model.")) for name in plain)
    if wrapped and not any(name.startswith("model.language_model.") for name in plain):
        plain = {name.removeprefix("model."): tensor for name, tensor in plain.items()}
    return plain


class Adapters:
    """The adapters of one checkpoint. Layers are called as in the checkpoint they belong to."""

    def __init__(
        self,
        *,
        rank: int,
        alpha: float,
        rank_pattern: dict[str, int],
        alpha_pattern: dict[str, float],
        rslora: bool,
        base: str | None,
    ) -> None:
        self.rank, self.alpha, self.base = rank, alpha, base
        self._rank_pattern, self._alpha_pattern, self._rslora = rank_pattern, alpha_pattern, rslora
        self._layers: dict[str, dict[str, Tensor]] = {}

    @classmethod
    def read_config(cls, path: Path, config: dict[str, Any]) -> "Adapters":
        """Settings from adapter_config.json. Raises CheckpointError for settings that change the formula."""
        if config.get("peft_type") != "LORA":
            raise CheckpointError(f"{path}: peft_type is {config.get('peft_type')!r}, expected 'LORA'")
        for field, expected in _UNSUPPORTED.items():
            found = config.get(field, expected)
            if found != expected:
                raise CheckpointError(f"{path}: {field} is {found!r}, only {expected!r} can be merged")
        start = config.get("init_lora_weights")
        if start not in _STARTS:
            raise CheckpointError(
                f"{path}: init_lora_weights is {start!r}, which changes the base model's weights too; save the adapter "
                "with peft's path_initial_model_for_weight_conversion, or give the merged model"
            )
        for field, found in config.items():
            if (
                field not in _UNSUPPORTED
                and field not in _WITHOUT_EFFECT
                and found not in (None, False, "none", {}, [])
            ):
                raise CheckpointError(
                    f"{path}: {field} is {found!r}, and how that changes the weights is not known here; merge the "
                    "adapter with peft and give the merged model"
                )
        for field in ("rank_pattern", "alpha_pattern"):
            patterns = config.get(field) or {}
            if not isinstance(patterns, dict):
                raise CheckpointError(f"{path}: {field} is {patterns!r}, expected numbers by names of layers")
            for name in patterns:
                if _PLAIN_NAME.fullmatch(name) is None:
                    raise CheckpointError(
                        f"{path}: {field} has the regular expression {name!r}; only names of layers can be merged. "
                        "Merge the adapter with peft and give the merged model"
                    )
        rank, alpha = config.get("r"), config.get("lora_alpha")
        if type(rank) is not int or rank < 1:
            raise CheckpointError(f"{path}: r is {rank!r}, expected the rank of the adapters")
        if isinstance(alpha, bool) or not isinstance(alpha, int | float):
            raise CheckpointError(f"{path}: lora_alpha is {alpha!r}, expected a number")
        base = config.get("base_model_name_or_path")
        return cls(
            rank=rank,
            alpha=alpha,
            rank_pattern=config.get("rank_pattern") or {},
            alpha_pattern=config.get("alpha_pattern") or {},
            rslora=bool(config.get("use_rslora", False)),
            base=base if isinstance(base, str) and base else None,
        )

    def add(self, tensors: dict[str, Tensor], where: Path) -> None:
        """Take the adapters out of `tensors`, whose wrappers are stripped. Raises CheckpointError for half a pair."""
        for name, tensor in tensors.items():
            if "lora" not in name and where.name.startswith("adapter_model"):
                raise CheckpointError(f"{where}: {name} is not an adapter of a linear layer")
            if "lora" in name:
                match = _PART.match(name)
                if match is None:
                    raise CheckpointError(f"{where}: {name} is not an adapter of a linear layer")
                self._layers.setdefault(match["layer"], {})[match["side"]] = tensor
        if not self._layers:
            raise CheckpointError(f"{where}: it holds no adapters")
        for layer, sides in self._layers.items():
            if len(sides) != 2:
                raise CheckpointError(f"{where}: {layer} has lora_{next(iter(sides))} alone, expected A and B")
        for field, patterns in (("rank_pattern", self._rank_pattern), ("alpha_pattern", self._alpha_pattern)):
            for name in patterns:
                if not any(f".{layer}".endswith(f".{name}") for layer in self._layers):
                    raise CheckpointError(f"{where}: {field} names {name}, which is no adapted layer")

    def merge(
        self, weights: dict[str, Tensor], *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> int:
        """Add every adapter to its layer in `weights`, in place of the old tensor; returns their number.

        dtype: of the merged weights, None keeps that of the weight.
        """
        for layer, sides in self._layers.items():
            name = f"{layer}.weight"
            rank = _pattern(self._rank_pattern, layer, self.rank)
            alpha = _pattern(self._alpha_pattern, layer, self.alpha)
            if name not in weights:
                raise CheckpointError(f"adapter {layer}: the base model has no {name}; the two do not belong together")
            weight, down, up = weights[name], sides["A"], sides["B"]
            if (down.shape, up.shape) != ((rank, weight.shape[-1]), (weight.shape[0], rank)):
                raise CheckpointError(
                    f"adapter {layer}: lora_A {list(down.shape)} and lora_B {list(up.shape)} with rank {rank} "
                    f"do not fit {name} of shape {list(weight.shape)}"
                )
            scale = alpha / (math.sqrt(rank) if self._rslora else rank)
            delta = scale * (up.to(device).float() @ down.to(device).float())
            weights[name] = (weight.to(device).float() + delta).to(dtype or weight.dtype)
        return len(self._layers)


def _pattern(patterns: dict[str, Any], layer: str, default: Any) -> Any:
    """peft's rule for a rank or alpha of its own: the name given is the layer's, or its end after a dot.

    Taken as a name, not as the regular expression that peft allows: it comes from a file.
    """
    return next((value for name, value in patterns.items() if f".{layer}".endswith(f".{name}")), default)

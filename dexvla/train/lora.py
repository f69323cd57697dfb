"""Low-rank adapters by peft, on weights in full precision or (QLoRA, arXiv 2305.14314) in 4-bit NormalFloat."""

from typing import Any

import torch
from torch import Tensor, nn

from dexvla.errors import UserError
from dexvla.model import DexVLA
from dexvla.spec import LoraSpec

_BLOCK = 64  # values of NF4 with one scale
_TOWERS = {"vision": ".visual.blocks.", "llm": ".language_model.layers.", "expert": ".expert."}


class LowRankUpsample(nn.Module):
    """A frozen ConvTranspose1d and its adapter, with the names that peft gives; peft knows no transposed convolution.

    lora_A has the layer's kernel, stride and padding but `rank` channels, lora_B mixes them into the layer's own.
    """

    def __init__(self, base_layer: nn.ConvTranspose1d, lora: LoraSpec) -> None:
        super().__init__()
        like: dict[str, Any] = {"device": base_layer.weight.device, "dtype": base_layer.weight.dtype, "bias": False}
        assert not isinstance(base_layer.padding, str)  # a transposed convolution has numbers
        (kernel,), (stride,), (padding,) = base_layer.kernel_size, base_layer.stride, base_layer.padding
        self.base_layer = base_layer
        self.lora_A = nn.ConvTranspose1d(base_layer.in_channels, lora.rank, kernel, stride, padding, **like)
        self.lora_B = nn.Conv1d(lora.rank, base_layer.out_channels, 1, **like)
        self.lora_dropout = nn.Dropout(lora.dropout)
        self._scaling = lora.alpha / lora.rank
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x_bcp: Tensor) -> Tensor:
        sum_bcp: Tensor = self.base_layer(x_bcp) + self.lora_B(self.lora_A(self.lora_dropout(x_bcp))) * self._scaling
        return sum_bcp

    def get_base_layer(self) -> nn.ConvTranspose1d:
        return self.base_layer

    def get_delta_weight(self, _adapter: str) -> Tensor:
        """(in, out, kernel), what merging adds to the layer's weight; computed in float32."""
        down_irk, up_or = self.lora_A.weight.float(), self.lora_B.weight.float().squeeze(-1)
        return torch.einsum("irk,or->iok", down_irk, up_or) * self._scaling


def add_lora(policy: DexVLA, lora: LoraSpec) -> list[str]:
    """Put adapters on every linear layer and convolution of the chosen towers, in place; returns the layers' names.

    The backbone is frozen but for the adapters, and so is the expert if it is one of the towers. Quantised are linear
    layers whose inputs fill whole blocks of 4-bit values. Raises UserError if weights are to be quantised and
    bitsandbytes is not installed.
    """
    from peft import LoraConfig, inject_adapter_in_model

    wanted = tuple(_TOWERS[tower] for tower in lora.towers)
    layers = {
        name: module
        for name, module in policy.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d)
        and any(part in f".{name}." for part in wanted)
    }
    assert layers, "the model has no layers by the names of its towers"
    frozen = ("backbone.", "expert.") if "expert" in lora.towers else ("backbone.",)
    outside = {name for name, parameter in policy.named_parameters() if not name.startswith(frozen)}
    if lora.quantise:
        _quantise(policy, [name for name, module in layers.items() if _in_whole_blocks(module)])
        policy.is_loaded_in_4bit = True  # type: ignore[assignment] # peft asks the model, not the layer
    by_peft = [name for name, module in layers.items() if not isinstance(module, nn.ConvTranspose1d)]
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=by_peft)
    inject_adapter_in_model(config, policy)
    for name, module in layers.items():
        if isinstance(module, nn.ConvTranspose1d):
            policy.set_submodule(name, LowRankUpsample(module, lora))
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(name in outside or "lora_" in name)
    return list(layers)


def plain_state_dict(policy: nn.Module) -> dict[str, Tensor]:
    """The weights as if there were no adapters: each adapted layer with its low-rank update added.

    Quantised weights come out in the type of their compute, so a checkpoint never holds 4-bit values.
    """
    from peft.tuners.lora import LoraLayer

    kinds = (LoraLayer, LowRankUpsample)
    adapted: dict[str, Any] = {name: module for name, module in policy.named_modules() if isinstance(module, kinds)}
    state = {}
    for name, tensor in policy.state_dict().items():
        layer, base, entry = name.partition(".base_layer.")
        if "lora_" in name or (base and entry not in ("weight", "bias")):  # the rest describes the quantisation
            continue
        if entry == "weight":
            whole = _full_weight(adapted[layer].get_base_layer())
            with torch.no_grad():
                update = adapted[layer].get_delta_weight("default").to(whole.device, torch.float32)
                tensor = (whole.float() + update).to(whole.dtype)
        state[f"{layer}.{entry}" if base else name] = tensor
    return state


def _in_whole_blocks(module: nn.Module) -> bool:
    """Whether a layer can be held in 4 bits everywhere: bitsandbytes fails on a CPU where rows are no whole blocks."""
    return isinstance(module, nn.Linear) and module.in_features % _BLOCK == 0


def _quantise(policy: DexVLA, names: list[str]) -> None:
    """Replace these Linear layers by 4-bit ones of the same weights, in place."""
    try:
        import bitsandbytes.nn
    except ImportError as error:
        raise UserError("lora.quantise needs bitsandbytes: pip install bitsandbytes, or leave quantise out") from error
    layers: Any = bitsandbytes.nn  # has types for half of itself
    for name in names:
        parent, _, child = name.rpartition(".")
        linear = policy.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        quantised = layers.LinearNF4(
            linear.in_features, linear.out_features, bias=linear.bias is not None, compute_dtype=linear.weight.dtype
        )
        quantised.load_state_dict(linear.state_dict())
        quantised.compute_type_is_set = True  # as given, whatever the type of the first input
        setattr(policy.get_submodule(parent), child, quantised.to(linear.weight.device))


def _full_weight(layer: Any) -> Tensor:
    """The weight of a layer, de-quantised where it is held in 4 bits."""
    weight = layer.weight
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight.detach()  # type: ignore[no-any-return]
    import bitsandbytes as bnb

    full: Tensor = bnb.functional.dequantize_4bit(weight.data, state)
    return full.to(layer.compute_dtype or full.dtype)

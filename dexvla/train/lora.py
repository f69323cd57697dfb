"""Low-rank adapters by peft, on weights in full precision or (QLoRA, arXiv 2305.14314) in 4-bit NormalFloat."""

from typing import Any

import torch
from torch import Tensor, nn

from dexvla.errors import UserError
from dexvla.model import DexVLA
from dexvla.spec import LoraSpec, UNetSpec

_TOWERS = {"vision": ".visual.blocks.", "llm": ".language_model.layers.", "expert": ".expert."}


def add_lora(policy: DexVLA, lora: LoraSpec) -> list[str]:
    """Put adapters on every Linear of the chosen towers, in place; returns the names of the adapted layers.

    The backbone is frozen but for the adapters, and so is the expert if it is one of the towers. Raises UserError for a
    U-Net as a tower (its convolutions have no adapters and would never learn), and if the weights are to be quantised
    and bitsandbytes is not installed.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if "expert" in lora.towers and isinstance(policy.spec.expert, UNetSpec):
        raise UserError(
            "lora: a U-Net expert consists of convolutions and trains in full; leave 'expert' out of towers"
        )

    wanted = tuple(_TOWERS[tower] for tower in lora.towers)
    names = [
        name
        for name, module in policy.named_modules()
        if isinstance(module, nn.Linear) and any(part in f".{name}." for part in wanted)
    ]
    assert names, "the model has no layers by the names of its towers"
    frozen = ("backbone.", "expert.") if "expert" in lora.towers else ("backbone.",)
    outside = {name for name, parameter in policy.named_parameters() if not name.startswith(frozen)}
    if lora.quantise:
        _quantise(policy, names)
        policy.is_loaded_in_4bit = True  # peft asks the model, not the layer
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names)
    inject_adapter_in_model(config, policy)
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(name in outside or "lora_" in name)
    return names


def plain_state_dict(policy: nn.Module) -> dict[str, Tensor]:
    """The weights as if there were no adapters: each adapted layer with its low-rank update added.

    Quantised weights come out in the type of their compute, so a checkpoint never holds 4-bit values.
    """
    from peft.tuners.lora import LoraLayer

    adapted = {name: module for name, module in policy.named_modules() if isinstance(module, LoraLayer)}
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


def _quantise(policy: DexVLA, names: list[str]) -> None:
    """Replace these Linear layers by 4-bit ones of the same weights, in place."""
    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise UserError("lora.quantise needs bitsandbytes: pip install bitsandbytes, or leave quantise out") from error
    for name in names:
        parent, _, child = name.rpartition(".")
        linear = policy.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        quantised = bnb.nn.LinearNF4(
            linear.in_features, linear.out_features, bias=linear.bias is not None, compute_dtype=linear.weight.dtype
        )
        quantised.load_state_dict(linear.state_dict())
        quantised.compute_type_is_set = True  # as given, whatever the type of the first input
        setattr(policy.get_submodule(parent), child, quantised.to(linear.weight.device))


def _full_weight(layer: Any) -> Tensor:
    """(out, in) weight of a Linear, de-quantised where it is held in 4 bits."""
    weight = layer.weight
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight.detach()  # type: ignore[no-any-return]
    import bitsandbytes as bnb

    full: Tensor = bnb.functional.dequantize_4bit(weight.data, state)
    return full.to(layer.compute_dtype or full.dtype)

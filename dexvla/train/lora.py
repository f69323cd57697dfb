"""Low-rank adapters on the backbone's towers, by peft; everything outside the backbone trains in full."""

import torch
from torch import nn

from dexvla.model import DexVLA
from dexvla.spec import LoraSpec

_TOWERS = {"vision": ".visual.blocks.", "llm": ".language_model.layers.", "expert": ".expert."}


def add_lora(policy: DexVLA, lora: LoraSpec) -> list[str]:
    """Put adapters on every Linear of the chosen towers, in place; returns the names of the adapted layers.

    The backbone is frozen but for the adapters, and so is the expert if it is one of the towers.
    """
    from peft import LoraConfig, inject_adapter_in_model

    wanted = tuple(_TOWERS[tower] for tower in lora.towers)
    names = [
        name
        for name, module in policy.named_modules()
        if isinstance(module, nn.Linear) and any(part in f".{name}." for part in wanted)
    ]
    assert names, "the model has no layers by the names of its towers"
    frozen = ("backbone.", "expert.") if "expert" in lora.towers else ("backbone.",)
    outside = {name for name, parameter in policy.named_parameters() if not name.startswith(frozen)}
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names)
    inject_adapter_in_model(config, policy)
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(name in outside or "lora_" in name)
    return names


def plain_state_dict(policy: nn.Module) -> dict[str, torch.Tensor]:
    """The weights as if there were no adapters: each adapted layer with its low-rank update added."""
    from peft.tuners.lora import LoraLayer

    adapted = {name: module for name, module in policy.named_modules() if isinstance(module, LoraLayer)}
    state = {}
    for name, tensor in policy.state_dict().items():
        if "lora_" in name:
            continue
        layer = name.removesuffix(".base_layer.weight")
        if name.endswith(".base_layer.weight"):
            with torch.no_grad():
                tensor = (tensor.float() + adapted[layer].get_delta_weight("default").float()).to(tensor.dtype)
        state[name.replace(".base_layer.", ".")] = tensor
    return state

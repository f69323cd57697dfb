"""How much memory a run needs, by part: on the device of each process, and in the main memory of a machine.

Weights, gradients and optimiser are counted exactly, activations by rule of thumb.
"""

import os

from torch import nn

from dexvla.spec import Precision, TrainSpec
from dexvla.train.launch import Launch
from dexvla.train.trainer_task import TrainerTask

_BUCKET = 500_000_000  # DeepSpeed's reduce_bucket_size: gradients that wait to be summed over the processes
_FULL = 4  # bytes of a float32


def device_memory(task: TrainerTask, launch: Launch, spec: TrainSpec | None = None) -> dict[str, int]:
    """Bytes by part, of one process. spec: instead of the run's own, with the same parts trained."""
    spec, model = spec or task.spec, task.model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    count = sum(parameter.numel() for parameter in trained)
    if launch.sharded:
        short = 2 if spec.precision is Precision.BF16 else _FULL
        long = _FULL if spec.grad_accumulation > 1 else short  # gradients are summed up in float32
        parts = {"weights": short * sum(parameter.numel() for parameter in model.parameters())}
        parts["gradient buckets"] = short * min(count, _BUCKET)
        if not launch.offload:
            parts |= {
                "gradients": long * count // launch.processes,
                "optimiser": 3 * _FULL * count // launch.processes,
            }
    else:
        gradients = _bytes(trained)
        parts = {"weights": _bytes(list(model.parameters())), "gradients": gradients, "optimiser": 2 * gradients}
        if launch.processes > 1:
            parts["gradient buckets"] = gradients
        if spec.precision is Precision.BF16:
            parts["16-bit copies"] = 2 * count  # autocast keeps them from the forward to the backward pass
    parts["activations"] = task.activations(spec)
    if spec.ema_decay is not None and not launch.offload:
        parts["moving average"] = _FULL * count // (launch.processes if launch.sharded else 1)
    return parts


def main_memory(task: TrainerTask, launch: Launch) -> dict[str, int]:
    """Bytes by part that the processes of one machine need beside their devices, at its worst moment.

    loading: each process reads the model before its device takes it. checkpoint: DeepSpeed's parts are gathered by the
    first process to be written.
    """
    spec, model = task.spec, task.model
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    average = _FULL * count if spec.ema_decay is not None else 0
    parts = {"loading": launch.here * _bytes(list(model.parameters()))}
    if launch.offload:
        share = launch.here / launch.processes
        parts["gradients"] = int(_FULL * count * share)
        parts["optimiser"] = int(3 * _FULL * count * share)
        if average:
            parts["moving average"] = int(average * share)
    if launch.sharded:
        parts["checkpoint"] = 3 * _FULL * count + average
    return parts


def lighter(task: TrainerTask, launch: Launch) -> list[tuple[str, int]]:
    """Settings that train the same with less memory, in words and the bytes they save a process; most welcome first."""
    spec, now = task.spec, sum(device_memory(task, launch).values())
    found = []

    def look(words: str, changed: TrainSpec) -> None:
        saved = now - sum(device_memory(task, launch, changed).values())
        if saved > 0:
            found.append((words, saved))

    whole = spec.batch_size
    parts = [(size, whole // size * spec.grad_accumulation) for size in range(whole // 2, 0, -1) if whole % size == 0]
    for size, accumulation in parts:
        fewer = spec.model_copy(update={"batch_size": size, "grad_accumulation": accumulation})
        look(f"batch_size {size} with grad_accumulation {accumulation}", fewer)
    if not spec.gradient_checkpointing:
        look("gradient_checkpointing", spec.model_copy(update={"gradient_checkpointing": True}))
        if parts:
            fewest = fewer.model_copy(update={"gradient_checkpointing": True})
            look(f"gradient_checkpointing and batch_size {size} with grad_accumulation {accumulation}", fewest)
    return found


def shortage(task: TrainerTask, launch: Launch, device: dict[str, int], main: dict[str, int]) -> list[str]:
    """What does not fit into this machine, each with the reason and what to do."""
    import torch

    spec = task.spec
    on_gpu = spec.device != "cpu" and torch.cuda.is_available()
    there = _main_memory()
    found = []
    if on_gpu:
        found.append(_too_little("a GPU", device, int(torch.cuda.mem_get_info()[1]), task, launch, share=1))
        if launch.sharded:
            found.append(_too_little("main", main, there, task, launch, share=0))
    else:  # everything lies in main memory, and loading is over when the rest comes
        together = {name: launch.here * size for name, size in device.items()}
        together |= {f"{name} (all)": size for name, size in main.items() if name != "loading"}
        found.append(
            _too_little("main" if launch.processes > 1 else "", together, there, task, launch, share=launch.here)
        )
    return [text for text in found if text]


def _too_little(
    where: str, parts: dict[str, int], available: int | None, task: TrainerTask, launch: Launch, *, share: int
) -> str:
    """share: how many processes' devices lie in this memory; 0: none, it is what they need beside them."""
    total = sum(parts.values())
    if available is None or total <= available:
        return ""
    listed = ", ".join(f"{name} {in_words(size)}" for name, size in parts.items())
    place = {"": "memory", "main": "main memory", "a GPU": "memory on each GPU"}[where]
    found = f"needs about {in_words(total)} of {place} ({listed}), {in_words(available)} are there; "
    fitting = [
        (words, total - share * saved) for words, saved in lighter(task, launch) if total - share * saved <= available
    ]
    if fitting:
        return found + " or ".join(f"{words} would need {in_words(needed)}" for words, needed in fitting[:2])
    if not share:
        return f"{found}start fewer processes on it, or take a machine with more"
    adapters = "" if task.spec.stage == 1 else "lora, "
    return f"{found}no batch_size fits: use {adapters}a smaller model, or a machine with more"


def in_words(count: int) -> str:
    gib = 2**30
    return f"{count / gib:.1f} GiB" if count >= gib / 10 else f"{count / 2**20:.0f} MiB"


def _bytes(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def _main_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None

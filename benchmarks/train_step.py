"""Memory and time of a training step where the vocabulary is as large as it really is.

A policy with small layers, but Qwen2-VL's 151 936 tokens and prompts of 345 tokens (three images of 99) with answers
of 24. `plain` is the straightforward composition of the same modules: logits of all positions in float32, all hidden
states kept. `ours` is the step of the trainer. Each is measured in a process of its own, three in turn: median time
of a step (forward and backward), and peak memory above that of the process with the model in it and its gradients
allocated. `python benchmarks/train_step.py [--json FILE] [--steps N] [--batch N] [--device cuda]`
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from dexvla.files import write_json
from dexvla.model.policy import DexVLA
from dexvla.model.upstream import backbone_config
from dexvla.spec import SCALEDP_SIZES, PolicySpec

VOCABULARY, IMAGE, END = 151_936, 151_655, 151_645
CAMERAS, GRID = 3, (1, 18, 22)
PROMPT, ANSWER = 345, 24


def config(hidden: int) -> dict[str, Any]:
    """Qwen2-VL with small layers."""
    return {
        "model_type": "qwen2_vl",
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "image_token_id": IMAGE,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [hidden // 32, hidden * 3 // 64, hidden * 3 // 64]},
        "tie_word_embeddings": True,
        "vision_config": {"depth": 2, "embed_dim": 64, "hidden_size": hidden, "num_heads": 4, "in_chans": 3},
    }


def build(hidden: int, device: str) -> DexVLA:
    torch.manual_seed(0)
    spec = PolicySpec(expert=SCALEDP_SIZES["tiny"], action_dim=14, state_dim=14, chunk_size=50)
    policy = DexVLA(spec, backbone_config(config(hidden), "benchmark")).to(device)
    policy.backbone.tie()
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
        parameter.grad = torch.zeros_like(parameter)
    return policy.train()


def make_batch(size: int, device: str) -> dict[str, torch.Tensor]:
    """Texts of full length with the images' tokens at the front, random otherwise."""
    generator = torch.Generator().manual_seed(0)
    patches = GRID[1] * GRID[2]
    ids = torch.randint(1000, 100_000, (size, PROMPT + ANSWER), generator=generator)
    for camera in range(CAMERAS):
        start = 16 + camera * (patches // 4 + 2)
        ids[:, start - 1] = 151_652  # <|vision_start|>
        ids[:, start : start + patches // 4] = IMAGE
    labels = ids.clone()
    labels[:, :PROMPT] = -100
    batch = {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": torch.ones_like(ids, dtype=torch.bool),
        "pixel_values": torch.randn(size * CAMERAS * patches, 1176, generator=generator),
        "image_grid_thw": torch.tensor([GRID] * (size * CAMERAS)),
        "actions": torch.rand(size, 50, 14, generator=generator) * 2 - 1,
        "states": torch.randn(size, 14, generator=generator),
        "is_pad": torch.zeros(size, 50, dtype=torch.bool),
    }
    return {name: value.to(device) for name, value in batch.items()}


def step(policy: DexVLA, batch: dict[str, torch.Tensor], way: str) -> float:
    generator = torch.Generator().manual_seed(1)
    full = way == "plain"
    losses = policy.losses(batch, generator=generator, keep_logits=full, keep_hidden_states=full)
    losses.loss.backward()
    return float(losses.loss.detach())


def peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """In this process: seconds of a step and the peak above the model and its gradients."""
    policy, batch = build(arguments.hidden, arguments.device), make_batch(arguments.batch, arguments.device)
    before = peak_bytes(arguments.device)
    seconds = []
    for _ in range(arguments.steps + 1):
        started = time.perf_counter()
        loss = step(policy, batch, way)
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = peak_bytes(arguments.device) - before
    return {"seconds": statistics.median(seconds[1:]), "peak_bytes": peak, "loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--way", choices=["plain", "ours"], help="measure this one here and print JSON")
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments.way, arguments)))
        return
    found: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    options = [f"--{name}={getattr(arguments, name)}" for name in ("steps", "batch", "hidden", "device")]
    for _ in range(arguments.turns):
        for way in found:
            command = [sys.executable, __file__, f"--way={way}", *options]
            found[way].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    median = {way: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for way, runs in found.items()}
    for way, values in median.items():
        print(
            f"{way:6} {values['seconds']:8.2f} s/step   peak {values['peak_bytes'] / 2**20:8.0f} MiB   "
            f"loss {values['loss']:.5f}"
        )
    faster = median["plain"]["seconds"] / median["ours"]["seconds"]
    memory = median["ours"]["peak_bytes"] / median["plain"]["peak_bytes"]
    print(f"ours: {faster:.1f} times as fast, {memory:.2f} of the memory")
    if arguments.json:
        settings = {key: getattr(arguments, key) for key in ("steps", "batch", "hidden", "device", "turns")}
        write_json(arguments.json, {"median": median, "times_faster": faster, "memory_share": memory, **settings})


if __name__ == "__main__":
    main()

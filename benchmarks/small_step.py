"""A training step of the preset `small` on the CPU: one image of 112 x 112, chunk 50, batch 32.

The model is that of `dexvla init-model --preset small` with the small expert; text as long as a prompt with a short
instruction and an answer of twelve tokens. For each precision and number of noises: median time of a whole step
(forward, backward, clipping, AdamW, moving average) and samples a second; then what attention costs in bfloat16 by
torch's fused kernel and composed of products (dexvla/model/attention.py), forward and backward.
`python benchmarks/small_step.py [--json FILE] [--steps N] [--batch N] [--threads N]`
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dexvla.files import write_json
from dexvla.model.attention import composed
from dexvla.model.checkpoint import new_policy
from dexvla.model.init_model import init_model
from dexvla.model.policy import DexVLA
from dexvla.model.processing import answer_text, build_inputs, collate
from dexvla.spec import PRESETS, SCALEDP_SIZES, CameraSpec, OptimSpec, PolicySpec
from dexvla.train.allocator import keep_memory
from dexvla.train.optim import make_optimizer
from dexvla.train.state import MovingAverage

SIDE, CHUNK, DIMENSIONS = 112, 50, 14
ATTENTIONS = {"language": (6, 66, 32), "vision": (4, 64, 32), "expert": (5, 50, 32)}  # heads, length, values of a head


def make_batch(policy: DexVLA, size: int, draws: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(size):
        sample = build_inputs(
            policy.processor,
            images=[rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)],
            image_sizes=[(SIDE, SIDE)],
            instruction="Pick up the red cube and put it on the table.",
            answer=answer_text("Lower the gripper over the red cube"),
            normalised=False,
        )
        sample["actions"] = torch.from_numpy(rng.uniform(-1, 1, (CHUNK, DIMENSIONS)).astype(np.float32))
        sample["states"] = torch.from_numpy(rng.standard_normal(DIMENSIONS, np.float32))
        sample["is_pad"] = torch.zeros(CHUNK, dtype=torch.bool)
        samples.append(sample)
    batch = collate(samples, policy.processor)
    batch["noise"] = torch.from_numpy(rng.standard_normal((size, draws, CHUNK, DIMENSIONS), np.float32))
    batch["timesteps"] = torch.from_numpy(rng.integers(0, policy.spec.diffusion.train_steps, (size, draws)))
    return batch


def measure_step(policy: DexVLA, batch: dict[str, Tensor], *, bf16: bool, steps: int) -> dict[str, float]:
    optim = OptimSpec.model_validate(PRESETS["small"][2]["optim"])
    optimizer, average = make_optimizer(policy, optim), MovingAverage(policy, PRESETS["small"][2]["ema_decay"])
    inputs = {name: value for name, value in batch.items() if name not in ("noise", "timesteps")}

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            losses = policy.losses(inputs, noise=batch["noise"], timesteps=batch["timesteps"], keep_logits=False)
        losses.loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), optim.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(policy)

    seconds = median_seconds(step, steps)
    return {"seconds": seconds, "samples_per_second": len(batch["actions"]) / seconds}


def measure_attention(batch: int, steps: int) -> dict[str, dict[str, float]]:
    """Milliseconds of one layer, forward and backward, bfloat16."""
    ways: dict[str, Callable[..., Tensor]] = {"fused": F.scaled_dot_product_attention, "composed": composed}
    found: dict[str, dict[str, float]] = {}
    for name, (heads, length, width) in ATTENTIONS.items():
        parts = [torch.randn(batch, heads, length, width, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]

        def run(attend: Callable[..., Tensor], parts: list[Tensor] = parts) -> None:
            attend(*parts).sum().backward()

        found[name] = {way: 1e3 * median_seconds(lambda f=f, run=run: run(f), steps) for way, f in ways.items()}
    return found


def median_seconds(work: Callable[[], Any], times: int) -> float:
    """After two rounds to warm up."""
    seconds = []
    for _ in range(times + 2):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_memory()
    spec = PolicySpec(
        expert=SCALEDP_SIZES["small"],
        action_dim=DIMENSIONS,
        state_dim=DIMENSIONS,
        chunk_size=CHUNK,
        cameras=(CameraSpec(name="cam_high", height=SIDE, width=SIDE),),
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        init_model(Path(folder) / "base", preset="small")
        for bf16 in (False, True):
            for draws in (1, 4):
                policy = new_policy(Path(folder) / "base", spec).train()
                batch = make_batch(policy, arguments.batch, draws)
                found = measure_step(policy, batch, bf16=bf16, steps=arguments.steps)
                rows.append({"precision": "bf16" if bf16 else "float32", "noise_draws": draws, **found})
                print(
                    f"{rows[-1]['precision']:8} noises {draws}: {found['seconds']:6.2f} s/step "
                    f"{found['samples_per_second']:6.1f} samples/s"
                )
    attention = measure_attention(arguments.batch, arguments.steps)
    for name, ways in attention.items():
        print(f"attention, {name:8}: fused {ways['fused']:6.1f} ms   composed {ways['composed']:6.1f} ms")
    if arguments.json:
        settings = {"rounds": arguments.steps, "batch": arguments.batch, "threads": arguments.threads}
        write_json(arguments.json, {"steps": rows, "attention_ms": attention, **settings})


if __name__ == "__main__":
    main()

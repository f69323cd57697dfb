"""Stage 2 on a GPU at its real size: model FLOP/s against the chip's peak, memory, tokens and samples a second.

Qwen2-VL-2B with ScaleDP-H, weights drawn on the device (nothing is downloaded), batches of 12 samples of three images
(99 tokens each), a prompt of 345 tokens, an answer of 24, a chunk of 50: the trainer's step with the settings of the
preset dexvla-2b-scaledp-h (vision tower frozen, gradients checkpointed, AdamW).

Model FLOPs are counted by torch on one sample without checkpointing, so recomputed blocks do not count; attention
counts in full, as torch counts it. MFU = model FLOPs a second / peak. Peaks are dense bfloat16: 989e12 for H100 SXM and
H200, 312e12 for A100; give --peak for another chip.

`python benchmarks/gpu_step.py [--json FILE] [--batch N] [--precision bf16|bf16_pure] [--no-checkpointing] [--tiny]`
Needs torch, transformers, peft, accelerate, h5py, numpy and pillow alone. Without a GPU it says so and ends;
`--tiny` runs small layers on the CPU, to try the script itself.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from train_step import config as small_config
from train_step import make_batch

from dexvla.files import write_json
from dexvla.model.policy import DexVLA
from dexvla.model.upstream import backbone_config
from dexvla.spec import SCALEDP_SIZES, OptimSpec, PolicySpec
from dexvla.train.optim import make_optimizer

QWEN2_VL_2B: dict[str, Any] = {
    "model_type": "qwen2_vl",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "image_token_id": 151_655,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "tie_word_embeddings": True,
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "in_chans": 3},
}
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


def build(arguments: argparse.Namespace, device: torch.device) -> DexVLA:
    """Weights on the device, float32 (bf16) or bfloat16 (bf16_pure), vision tower frozen."""
    backbone = small_config(128) if arguments.tiny else QWEN2_VL_2B
    expert = SCALEDP_SIZES["tiny" if arguments.tiny else "scaledp-h"]
    spec = PolicySpec(expert=expert, action_dim=14, state_dim=14, chunk_size=50)
    with device:
        policy = DexVLA(spec, backbone_config(backbone, "benchmark"))
    policy.backbone.tie()
    if arguments.precision == "bf16_pure":
        policy.to(torch.bfloat16)
    policy.backbone.restore_rotary()
    for name, parameter in policy.named_parameters():
        torch.nn.init.normal_(parameter, std=0.02)
        parameter.requires_grad_(".visual." not in name)
    return policy.train()


def forward_backward(policy: DexVLA, batch: dict[str, torch.Tensor], device: torch.device) -> torch.Tensor:
    with torch.autocast(device.type, torch.bfloat16):
        losses = policy.losses(batch, keep_logits=False)
    losses.loss.backward()
    return losses.loss.detach()


def model_flops(policy: DexVLA, device: torch.device) -> float:
    """FLOPs of one sample, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        forward_backward(policy, make_batch(1, str(device)), device)
    policy.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--steps", type=int, default=12, help="measured, after three to warm up")
    parser.add_argument("--precision", choices=["bf16", "bf16_pure"], default="bf16")
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--peak", type=float, help="dense bfloat16 FLOP/s of the chip")
    parser.add_argument("--tiny", action="store_true", help="small layers, on the CPU where there is no GPU")
    arguments = parser.parse_args()
    cuda = torch.cuda.is_available()
    if not cuda and not arguments.tiny:
        print("skipped: no GPU here (--tiny tries the script on the CPU)")
        return
    device = torch.device("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name() if cuda else "CPU"
    peak = arguments.peak or next((value for chip, value in PEAKS.items() if chip in name), None)
    policy = build(arguments, device)
    flops = model_flops(policy, device) * arguments.batch
    policy.backbone.checkpoint_gradients(not arguments.no_checkpointing)
    optimizer = make_optimizer(policy, OptimSpec())
    batch = make_batch(arguments.batch, "cpu")
    if cuda:
        batch = {key: value.pin_memory() for key, value in batch.items()}
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(arguments.steps + 3):
        started = time.perf_counter()
        moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        loss = forward_backward(policy, moved, device)
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    step = statistics.median(seconds[3:])
    result = {
        "device": name,
        "torch": torch.__version__,
        "batch": arguments.batch,
        "precision": arguments.precision,
        "checkpointing": not arguments.no_checkpointing,
        "attention": policy.backbone.choose_attention(),
        "parameters": sum(parameter.numel() for parameter in policy.parameters()),
        "seconds_per_step": step,
        "samples_per_second": arguments.batch / step,
        "tokens_per_second": batch["input_ids"].numel() / step,
        "model_flops_per_step": flops,
        "model_flops_per_second": flops / step,
        "peak_flops_per_second": peak,
        "mfu": None if peak is None else flops / step / peak,
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "loss": float(loss),
    }
    for key, value in result.items():
        print(f"{key:24} {value:.4g}" if isinstance(value, float) else f"{key:24} {value}")
    if arguments.json:
        write_json(arguments.json, result)


if __name__ == "__main__":
    main()

"""What a training sample costs on the CPU, and what keeping a frozen backbone's conditions saves, in one run.

The policies of recipes/recovery: base model tiny, expert small, two cameras of 112 x 112, chunk 100. In turn, round by
round, so that other work on the machine meets all alike: whole steps (forward, backward, clipping, AdamW, average)
in float32 and bfloat16, with one noise sample each and with four, with the backbone frozen, and from kept conditions;
then the parts of a whole step. CPU time of one thread, so samples a CPU second.
`python benchmarks/policy_samples.py [--json FILE] [--rounds N] [--batch N]`
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

from dexvla.files import write_json
from dexvla.model.checkpoint import new_policy
from dexvla.model.init_model import init_model
from dexvla.model.policy import DexVLA
from dexvla.model.processing import answer_text, build_inputs, collate
from dexvla.spec import SCALEDP_SIZES, CameraSpec, OptimSpec, PolicySpec
from dexvla.train.allocator import keep_memory
from dexvla.train.optim import make_optimizer
from dexvla.train.precision import fast_bf16
from dexvla.train.state import MovingAverage

SIDE, CAMERAS, CHUNK, DIMENSIONS = 112, ("cam_table", "cam_middle"), 100, 14


def make_sample(policy: DexVLA, rng: np.random.Generator) -> dict[str, Any]:
    """Prompt, answer and images of one step, as training makes them."""
    return build_inputs(
        policy.processor,
        images=[rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in CAMERAS],
        image_sizes=[(SIDE, SIDE)] * len(CAMERAS),
        instruction="Transfer the red cube to the left arm.",
        answer=answer_text("Reach for the red cube with the right arm at x 12 y 56"),
        normalised=False,
    )


def make_batch(policy: DexVLA, size: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(size):
        sample = make_sample(policy, rng)
        sample["actions"] = torch.from_numpy(rng.uniform(-1, 1, (CHUNK, DIMENSIONS)).astype(np.float32))
        sample["states"] = torch.from_numpy(rng.standard_normal(DIMENSIONS, np.float32))
        sample["is_pad"] = torch.zeros(CHUNK, dtype=torch.bool)
        samples.append(sample)
    return collate(samples, policy.processor)


class Trainer:
    """One policy with its optimiser, and the ways to take a step."""

    def __init__(self, base: Path, size: int, *, frozen: bool) -> None:
        spec = PolicySpec(
            expert=SCALEDP_SIZES["small"],
            action_dim=DIMENSIONS,
            state_dim=DIMENSIONS,
            chunk_size=CHUNK,
            cameras=tuple(CameraSpec(name=name, height=SIDE, width=SIDE) for name in CAMERAS),
        )
        self.policy = new_policy(base, spec).train()
        for parameter in self.policy.backbone.parameters():
            parameter.requires_grad_(not frozen)
        self.batch = make_batch(self.policy, size)
        self._optimizer = make_optimizer(self.policy, OptimSpec())
        self._average = MovingAverage(self.policy, 0.999)
        with torch.no_grad():
            self._means = self.policy.means(self.batch)

    def draws(self, count: int) -> dict[str, Tensor]:
        size = len(self.batch["actions"])
        return {
            "noise": torch.randn(size, count, CHUNK, DIMENSIONS),
            "timesteps": torch.randint(self.policy.spec.diffusion.train_steps, (size, count)),
        }

    def loss(self, count: int, *, kept: bool = False) -> Tensor:
        if kept:
            motion = {name: self.batch[name] for name in ("actions", "states", "is_pad")}
            total = self.policy.action_loss_from_means({"means": self._means, **motion}, **self.draws(count))
            return total / self.batch["actions"].numel()
        return self.policy.losses(self.batch, **self.draws(count), keep_logits=False).loss

    def finish(self) -> None:
        nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._average.update(self.policy)

    def step(self, count: int, *, bf16: bool, kept: bool = False) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = self.loss(count, kept=kept)
        loss.backward()
        self.finish()


def parts(trainer: Trainer, *, bf16: bool) -> dict[str, float]:
    """CPU seconds of the parts of one whole step with one noise, by name."""
    policy, batch = trainer.policy, trainer.batch
    found: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        found[name] = time.process_time() - started
        return result

    rng = np.random.default_rng(1)
    timed("making samples", lambda: [make_sample(policy, rng) for _ in range(len(batch["actions"]))])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        assert policy.processor is not None
        pixels = policy.processor.image_patches.normalise(batch["pixel_values"])
        timed("vision tower and embeddings, forward alone",
              lambda: policy.backbone.embed(batch["input_ids"], pixels, batch["image_grid_thw"]))  # fmt: skip
        timed("vision tower and language model, forward alone", lambda: policy.means(batch))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        kept = timed("expert, forward", lambda: trainer.loss(1, kept=True))
    timed("expert, backward", kept.backward)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = timed("everything, forward", lambda: trainer.loss(1))
    timed("everything, backward", loss.backward)
    timed("clipping, AdamW, moving average", trainer.finish)
    return found


def cpu_seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        init_model(Path(folder) / "base", preset="tiny")
        whole, frozen = (Trainer(Path(folder) / "base", arguments.batch, frozen=frozen) for frozen in (False, True))
    ways: dict[str, Callable[[], None]] = {
        "whole, float32, 1 noise": lambda: whole.step(1, bf16=False),
        "whole, bfloat16, 1 noise": lambda: whole.step(1, bf16=True),
        "whole, float32, 4 noises": lambda: whole.step(4, bf16=False),
        "whole, bfloat16, 4 noises": lambda: whole.step(4, bf16=True),
        "frozen backbone, float32, 4 noises": lambda: frozen.step(4, bf16=False),
        "frozen backbone, bfloat16, 4 noises": lambda: frozen.step(4, bf16=True),
        "kept conditions, float32, 4 noises": lambda: frozen.step(4, bf16=False, kept=True),
        "kept conditions, bfloat16, 4 noises": lambda: frozen.step(4, bf16=True, kept=True),
        "kept conditions, bfloat16, 1 noise": lambda: frozen.step(1, bf16=True, kept=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    of_parts: dict[str, list[float]] = {}
    for turn in range(arguments.rounds + 1):  # the first warms up
        for name, work in ways.items():
            spent = cpu_seconds(work)
            if turn:
                seconds[name].append(spent)
        for name, spent in parts(whole, bf16=fast_bf16(torch.device("cpu"))).items():
            if turn:
                of_parts.setdefault(name, []).append(spent)
    rows = {name: arguments.batch / statistics.median(spent) for name, spent in seconds.items()}
    costs = {name: 1e3 * statistics.median(spent) / arguments.batch for name, spent in of_parts.items()}
    for name, rate in rows.items():
        print(f"{name:38} {rate:7.1f} samples a CPU second")
    for name, cost in costs.items():
        print(f"{name:50} {cost:6.2f} CPU ms a sample")
    if arguments.json:
        write_json(
            arguments.json,
            {
                "samples_per_cpu_second": rows,
                "cpu_ms_per_sample": costs,
                "parts_in_bfloat16": fast_bf16(torch.device("cpu")),
                "rounds": arguments.rounds,
                "batch": arguments.batch,
            },
        )


if __name__ == "__main__":
    main()

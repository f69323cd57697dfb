"""ACT on the demonstrations of a policy of ours: as long, on the same machine, with the same images and seeds.

    python benchmarks/act/baseline.py train DEMOS OUT --minutes 120      goes on where it stopped
    python benchmarks/act/baseline.py eval OUT --task transfer_cube --episodes 200 --seed 900000 --execute-steps 100

DEMOS is a folder of episodes or a manifest; what a manifest leaves out is left out here too. Minutes count as CPU time
of the process, so that other work on the machine does not shorten the training. ACT reads no words.

OUT/act.json says what the policy is and which step it is at, OUT/state/step-N holds weights and optimiser of that step.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model import KL_WEIGHT, SMALL, Act, ActSizes
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dexvla.act.base import ActionChunk, PolicyInput, PolicyMetadata, check_input
from dexvla.data.images import resize_bilinear
from dexvla.data.normalise import normalise_state, unnormalise_actions
from dexvla.data.statistics import norm_stats
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.evaluate.closed_loop import evaluate_closed_loop
from dexvla.files import write_json
from dexvla.model.weights import read_json
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.registry import make_task_robot
from dexvla.spec import CameraSpec, EvalSpec, NormStats, PaddedActions, RenderProfile, step_name
from dexvla.train.allocator import keep_memory
from dexvla.train.data import EpisodeReader, SampleSettings
from dexvla.train.precision import fast_bf16
from dexvla.train.sampling import MicroBatches, SampleOrder
from dexvla.train.state import load_state, read_state, save_state, trained_parameters

FACTS, STATES = "act.json", "state"


class Samples(EpisodeReader):
    """Images, state and chunk of a step; no words."""

    def inputs(self, images: list[NDArray[np.uint8]], instruction: str, reasoning: str | None) -> dict[str, Any]:
        return {"images": torch.from_numpy(np.stack(images))}

    @staticmethod
    def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        names = ("images", "states", "actions", "is_pad")
        return {name: torch.stack([sample[name] for sample in samples]) for name in names}


class ActPolicy:
    """A trained ACT as evaluations ask policies."""

    def __init__(self, folder: Path) -> None:
        facts = read_json(folder / FACTS)
        self._stats = NormStats.model_validate(facts["stats"])
        self.metadata = PolicyMetadata.model_validate(facts["metadata"])
        self._model = new_model(ActSizes(**facts["sizes"]), self.metadata)
        state = folder / STATES / step_name(facts["step"])
        weights, _, _ = read_state(state, names=trained_parameters(self._model).keys(), average=False)
        self._model.load_state_dict(weights)
        self._model.eval()

    def infer(self, observation: PolicyInput, *, on_reasoning: Callable[[str], None] | None = None) -> ActionChunk:
        started = time.monotonic()
        seen = check_input(observation, self.metadata)
        images = [
            resize_bilinear(seen.images[camera.name], camera.height, camera.width) for camera in self.metadata.cameras
        ]
        state = torch.from_numpy(normalise_state(seen.state, self._stats))
        chunk = self._model.predict(torch.from_numpy(np.stack(images))[None], state[None])[0].numpy()
        return ActionChunk(
            actions=unnormalise_actions(chunk, self._stats),
            normalised=chunk,
            reasoning="",
            infer_ms=1e3 * (time.monotonic() - started),
        )

    def reset(self, seed: int) -> None:
        """Nothing is drawn."""

    def close(self) -> None:
        """Nothing is held."""


def new_model(sizes: ActSizes, metadata: PolicyMetadata) -> Act:
    return Act(
        sizes,
        cameras=len(metadata.cameras),
        chunk_size=metadata.chunk_size,
        action_dim=metadata.action_dim,
        state_dim=metadata.state_dim,
    )


def train(
    demonstrations: str,
    out: Path,
    *,
    minutes: float,
    sizes: ActSizes = SMALL,
    side: int = 112,
    chunk: int = 100,
    batch: int = 32,
    rate: float = 1e-4,
    seed: int = 0,
    save_minutes: float = 5.0,
) -> dict[str, float]:
    """Until the CPU time of all attempts together is `minutes`; returns the losses of the last hundred steps."""
    keep_memory()
    manifest, motions = build_manifest(find_set(demonstrations))
    stats, first = norm_stats(motions), manifest.episodes[0]
    cameras = tuple(CameraSpec(name=name, height=side, width=side) for name in manifest.cameras)
    samples = Samples(
        entries=manifest.episodes,
        root=Path("/"),
        stats=stats,
        settings=SampleSettings(
            cameras=cameras,
            chunk_size=chunk,
            diffusion_steps=1,
            use_reasoning=False,
            padded_actions=PaddedActions.REPEAT_LAST,
            augment=False,
            seed=seed,
        ),
    )
    metadata = PolicyMetadata(
        cameras=cameras,
        recorded_cameras=first.cameras,
        action_dim=manifest.action_dim,
        state_dim=manifest.state_dim,
        chunk_size=chunk,
        fps=first.fps,
        robot=first.robot,
        render_profile=first.render_profile,
        checkpoint="act",
    )
    torch.manual_seed(seed)
    model = new_model(sizes, metadata).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4, fused=True)
    step, spent = 0, 0.0
    if (out / FACTS).is_file():
        before = read_json(out / FACTS)
        step, spent = before["step"], before["minutes"]
        load_state(out / STATES / step_name(step), model=model, optimizer=optimizer, average=None)
    remove_other_states(out, step)  # of a training that was killed
    order = SampleOrder(sizes=(len(samples),), weights=(1.0,), seed=seed)
    places = MicroBatches(order, batch_size=batch, accumulation=1, process=0, processes=1, first_step=step)
    loader = DataLoader(samples, batch_sampler=places, collate_fn=Samples.collate)  # type: ignore[arg-type]
    bf16 = fast_bf16(torch.device("cpu"))
    facts = {
        "sizes": asdict(sizes),
        "stats": stats.model_dump(mode="json"),
        "metadata": metadata.model_dump(mode="json"),
        "episodes": len(manifest.episodes),
        "precision": "bfloat16 compute" if bf16 else "float32",
    }
    began, saved, losses = time.process_time(), spent, []
    for data in loader:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            error, kl = model.losses(data["images"], data["states"], data["actions"], data["is_pad"])
        (error + KL_WEIGHT * kl).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        losses = [*losses[-99:], (float(error.detach()), float(kl.detach()))]
        now = spent + (time.process_time() - began) / 60
        if now >= minutes or now - saved >= save_minutes:
            result = dict(zip(("l1", "kl"), np.mean(losses, axis=0).tolist(), strict=True))
            save(out, model, optimizer, {**facts, **result, "step": step, "minutes": now})
            saved = now
            print(f"step {step}  {now:.0f} of {minutes:.0f} CPU minutes  l1 {result['l1']:.4f}  kl {result['kl']:.4f}",
                  flush=True)  # fmt: skip
            if now >= minutes:
                return {**result, "step": step, "minutes": now}
    raise AssertionError("the sequence of samples does not end")


def save(out: Path, model: Act, optimizer: torch.optim.Optimizer, facts: dict[str, Any]) -> None:
    """What belongs together is named in the facts, which are written last."""
    step = facts["step"]
    save_state(out / STATES / step_name(step), step=step, model=model, optimizer=optimizer, average=None)
    write_json(out / FACTS, facts)
    remove_other_states(out, step)


def remove_other_states(out: Path, step: int) -> None:
    """Half-written ones too."""
    for folder in (out / STATES).glob("*"):
        if folder.name != step_name(step):
            shutil.rmtree(folder)


def evaluate(folder: Path, *, task: AlohaTask, episodes: int, seed: int, execute_steps: int, out: Path | None) -> None:
    """The figures of `dexvla eval`, by the same code."""
    policy = ActPolicy(folder)
    spec = EvalSpec(
        checkpoint=str(folder),
        task=task,
        episodes=episodes,
        seed=seed,
        execute_steps=execute_steps,
        render=RenderProfile(policy.metadata.render_profile or RenderProfile.FAST),
        video=False,
    )
    cameras, render = policy.metadata.recorded_cameras, spec.render or RenderProfile.FAST
    robot, _ = make_task_robot(spec.robot, spec, cameras=cameras, render=render)
    robot.connect()
    try:
        report = evaluate_closed_loop(spec, policy=policy, robot=robot)
    finally:
        robot.disconnect()
    print(
        f"success {report.success_rate:.0%} ({report.interval[0]:.0%} to {report.interval[1]:.0%}), held {report.held}"
    )
    if out is not None:
        write_json(out, report.model_dump(mode="json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("demonstrations")
    training.add_argument("out", type=Path)
    training.add_argument("--minutes", type=float, required=True, help="CPU time, of all attempts together")
    evaluation = commands.add_parser("eval")
    evaluation.add_argument("folder", type=Path)
    evaluation.add_argument("--task", type=AlohaTask, choices=list(AlohaTask), default=AlohaTask.TRANSFER_CUBE)
    evaluation.add_argument("--episodes", type=int, default=50)
    evaluation.add_argument("--seed", type=int, default=700_000)
    evaluation.add_argument("--execute-steps", type=int, default=100)
    evaluation.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.command == "train":
        train(args.demonstrations, args.out, minutes=args.minutes)
    else:
        evaluate(
            args.folder,
            task=args.task,
            episodes=args.episodes,
            seed=args.seed,
            execute_steps=args.execute_steps,
            out=args.json,
        )


if __name__ == "__main__":
    main()

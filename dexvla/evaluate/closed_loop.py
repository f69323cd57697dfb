"""Closed loop: the policy acts on a robot that sets up its task by seed and judges it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dexvla.act.base import Policy, PolicyInput
from dexvla.act.chunks import ChunkExecutor, StampedChunk
from dexvla.act.rollout import DEFAULT_EXECUTE_STEPS
from dexvla.errors import RobotError
from dexvla.evaluate.intervals import rate
from dexvla.evaluate.video import VideoWriter
from dexvla.robots.base import RobotInfo, TaskRobot
from dexvla.spec import ClosedLoopReport, EpisodeOutcome, EvalSpec, StepReasoning

# Success and held, or the wrong object taken, for half a second: the rest of the episode would not change the verdict.
_SETTLED_STEPS = 25
_VIDEO_EVERY = 2


def evaluate_closed_loop(
    spec: EvalSpec,
    *,
    policy: Policy,
    robot: TaskRobot,
    videos: Path | None = None,
    trained_seeds: frozenset[int] = frozenset(),
    finished: Mapping[int, EpisodeOutcome] = MappingProxyType({}),
    on_episode: Callable[[EpisodeOutcome], Any] = lambda outcome: None,
    on_step: Callable[[int, int, int], Any] = lambda seed, step, steps: None,
) -> ClosedLoopReport:
    """Run seeds spec.seed .. spec.seed + episodes - 1 on a connected robot.

    videos: folder for one mp4 an episode. trained_seeds: seeds of demonstrations, reported where they are used here.
    finished: outcomes by seed that an interrupted run of the same settings left; their seeds are not run again, which
    changes nothing because every episode starts from its seed alone. on_step(seed, step, of at most): at each chunk.
    Raises RobotError if robot and policy do not fit.
    """
    check_fit(policy, robot)
    outcomes = []
    for seed in range(spec.seed, spec.seed + spec.episodes):
        if seed in finished:
            outcomes.append(finished[seed])
            on_episode(outcomes[-1])
            continue
        video = None if videos is None else videos / f"seed_{seed}.mp4"
        outcomes.append(run_episode(spec, policy=policy, robot=robot, seed=seed, video=video, on_step=on_step))
        on_episode(outcomes[-1])
    success = rate(sum(outcome.success for outcome in outcomes), len(outcomes))
    judged = [outcome.held for outcome in outcomes if outcome.held is not None]
    wrong = [outcome.wrong for outcome in outcomes if outcome.wrong is not None]
    return ClosedLoopReport(
        checkpoint=policy.metadata.checkpoint,
        checkpoint_sha256=policy.metadata.checkpoint_sha256,
        settings=spec,
        success_rate=success.rate,
        interval=(success.low, success.high),
        success=success,
        held=rate(sum(judged), len(judged)) if judged else None,
        wrong=rate(sum(wrong), len(wrong)) if wrong else None,
        mean_reward=sum(outcome.reward for outcome in outcomes) / len(outcomes),
        max_reward=robot.max_reward,
        seeds_seen_in_training=tuple(outcome.seed for outcome in outcomes if outcome.seed in trained_seeds),
        episodes=tuple(outcomes),
    )


def check_fit(policy: Policy, robot: TaskRobot) -> None:
    """Raise RobotError unless the robot has the policy's dimensions and cameras."""
    meta = policy.metadata
    fits(robot.info, action_dim=meta.action_dim, state_dim=meta.state_dim, cameras=meta.camera_names)


def fits(info: RobotInfo, *, action_dim: int, state_dim: int, cameras: Sequence[str]) -> None:
    """Raise RobotError unless a robot has these dimensions and cameras."""
    pairs = [("actions", len(info.action_names), action_dim), ("state values", len(info.joint_names), state_dim)]
    for what, has, wants in pairs:
        if has != wants:
            raise RobotError(f"{info.name} has {has} {what}, the checkpoint was trained with {wants}")
    missing = [name for name in cameras if name not in {camera.name for camera in info.cameras}]
    if missing:
        raise RobotError(f"{info.name} has no camera {', '.join(missing)}, which the checkpoint was trained with")


def run_episode(
    spec: EvalSpec,
    *,
    policy: Policy,
    robot: TaskRobot,
    seed: int,
    video: Path | None,
    on_step: Callable[[int, int, int], Any] = lambda seed, step, steps: None,
) -> EpisodeOutcome:
    """One roll-out: observe, ask for a chunk, execute `execute_steps` of it, ask again."""
    meta = policy.metadata
    executor = ChunkExecutor(
        chunk_size=meta.chunk_size,
        action_dim=meta.action_dim,
        execute_steps=spec.execute_steps or min(DEFAULT_EXECUTE_STEPS, meta.chunk_size),
    )
    observation = robot.reset(seed)
    instruction = spec.instruction or robot.instruction  # after the reset: the seed may decide it
    policy.reset(seed)
    steps = spec.max_steps or robot.max_steps
    reasoning: list[StepReasoning] = []
    best, settled, infer_ms, step = 0.0, 0, [], 0
    outcome = robot.outcome()
    started = time.monotonic()
    with ExitStack() as stack:
        writer = None
        if video is not None:
            writer = stack.enter_context(VideoWriter(video, fps=robot.info.control_hz / _VIDEO_EVERY))
        while step < steps and settled < _SETTLED_STEPS:
            asks = executor.wants_chunk(step)
            shows = writer is not None and step % _VIDEO_EVERY == 0
            if step:
                observation = robot.observe(images=asks or shows)
            images = {name: observation.frames[name].image for name in meta.camera_names if asks or shows}
            if asks:
                on_step(seed, step, steps)
                chunk = policy.infer(PolicyInput(images=images, state=observation.qpos, instruction=instruction))
                executor.add(StampedChunk(actions=chunk.actions, step=step, epoch=executor.epoch), step=step)
                infer_ms.append(chunk.infer_ms)
                if not reasoning or reasoning[-1].text != chunk.reasoning:
                    reasoning.append(StepReasoning(step=step, text=chunk.reasoning))
            if writer is not None and shows:
                writer.add(images, f"step {step:4d}   reward {outcome.reward:g}   {reasoning[-1].text}")
            planned = executor.action(step)
            assert planned is not None, "a chunk was added for this very step"
            robot.act(planned.action)
            outcome = robot.outcome()
            best = max(best, outcome.reward)
            settled = settled + 1 if outcome.wrong or (outcome.success and outcome.held) else 0
            step += 1
    return EpisodeOutcome(
        seed=seed,
        success=outcome.success,
        held=outcome.held,
        wrong=outcome.wrong,
        reward=best,
        steps=step,
        seconds=time.monotonic() - started,
        mean_infer_ms=sum(infer_ms) / len(infer_ms),
        reasoning=tuple(reasoning),
        video=None if video is None else video.name,
    )

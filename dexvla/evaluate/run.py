"""An evaluation from a checkpoint directory: load, set up the robot or the data, run, report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dexvla.act.policy import CheckpointPolicy
from dexvla.act.rollout import DEFAULT_EXECUTE_STEPS
from dexvla.episodes.known import KnownEpisodes
from dexvla.episodes.manifest import EpisodeSet, build_manifest
from dexvla.errors import CheckpointError, UserError
from dexvla.evaluate.closed_loop import evaluate_closed_loop
from dexvla.evaluate.open_loop import evaluate_open_loop
from dexvla.evaluate.outcomes import OutcomeLog
from dexvla.model.checkpoint import read_manifest
from dexvla.robots.registry import chosen, make_task_robot
from dexvla.spec import (
    ClosedLoopReport,
    EpisodeOutcome,
    EvalSpec,
    NormStats,
    OpenLoopEpisode,
    OpenLoopReport,
    RenderProfile,
    seen_episodes,
    seen_seeds,
)


def closed_loop(
    spec: EvalSpec,
    *,
    videos: Path | None = None,
    details: Path | None = None,
    resume: bool = False,
    on_episode: Callable[[EpisodeOutcome], Any] = lambda outcome: None,
    on_step: Callable[[int, int, int], Any] = lambda seed, step, steps: None,
) -> ClosedLoopReport:
    """Roll-outs of `spec.checkpoint` (a checkpoint directory) on the simulated robot, images as in training.

    details: folder for episodes.jsonl, to which each `EpisodeOutcome` is appended as soon as it is known; with
    `resume`, episodes that an interrupted evaluation of the same settings left there are not run again.
    """
    spec = chosen(spec.robot, spec)  # before the checkpoint is loaded: a wrong option is told at once
    policy = CheckpointPolicy.load(
        spec.checkpoint,
        device=spec.device,
        max_new_tokens=spec.max_new_tokens,
        inference_steps=spec.inference_steps,
    )
    meta = policy.metadata
    spec = spec.model_copy(
        update={
            "render": spec.render or RenderProfile(meta.render_profile or RenderProfile.FAST),
            "execute_steps": spec.execute_steps or min(DEFAULT_EXECUTE_STEPS, meta.chunk_size),
        }
    )
    robot, _ = make_task_robot(
        spec.robot,
        spec,
        cameras=meta.recorded_cameras or meta.cameras,
        render=spec.render or RenderProfile.FAST,
        options=spec.robot_options,
    )
    log = None
    if details is not None:
        log = OutcomeLog(details, spec, checkpoint_sha256=meta.checkpoint_sha256, resume=resume, videos=videos)

    def keep(outcome: EpisodeOutcome) -> None:
        if log is not None:
            log.add(outcome)
        on_episode(outcome)

    robot.connect()
    try:
        seeds = seen_seeds(read_manifest(spec.checkpoint))
        return evaluate_closed_loop(
            spec,
            policy=policy,
            robot=robot,
            videos=videos,
            trained_seeds=frozenset(seed for task, seed in seeds if task == spec.task),
            finished={} if log is None else log.finished,
            on_episode=keep,
            on_step=on_step,
        )
    finally:
        robot.disconnect()
        policy.close()


def open_loop(
    checkpoint: Path,
    episodes: EpisodeSet,
    *,
    held_out_only: bool = False,
    stride: int = 16,
    plots: Path | None = None,
    details: Path | None = None,
    device: str = "auto",
    max_new_tokens: int = 64,
    inference_steps: int | None = None,
    on_read: Callable[[int, int], Any] | None = None,
    on_start: Callable[[int], Any] = lambda episodes: None,
    on_episode: Callable[[OpenLoopEpisode], Any] = lambda episode: None,
) -> OpenLoopReport:
    """Predicted against recorded actions of a set of episodes. Raises UserError if none is left to compare.

    plots, details: see `evaluate_open_loop`. on_read(done, total): while the files are read and checked, before the
    first prediction; on_start(episodes): how many are compared.
    """
    if stride < 1:
        raise UserError(f"stride is {stride}, expected 1 or more steps")
    policy = CheckpointPolicy.load(
        checkpoint, device=device, max_new_tokens=max_new_tokens, inference_steps=inference_steps
    )
    stats = NormStats.model_validate_json((checkpoint / "norm_stats.json").read_bytes())
    trained_on = seen_episodes(read_manifest(checkpoint))
    data, _ = build_manifest(
        episodes, cameras=policy.metadata.camera_names, known=KnownEpisodes.usual(), on_episode=on_read
    )
    if held_out_only:
        if trained_on is None:
            raise CheckpointError(f"{checkpoint}: does not say what it was trained on; leave out --held-out")
        left = tuple(entry for entry in data.episodes if not entry.is_in(trained_on))
        if not left:
            raise UserError(
                f"{episodes.name}: the checkpoint was trained on all of its {len(data.episodes)} episodes; "
                "train with validation_fraction, or give other episodes"
            )
        data = data.model_copy(update={"episodes": left})
    on_start(len(data.episodes))
    return evaluate_open_loop(
        policy=policy,
        stats=stats,
        data=data,
        stride=stride,
        trained=None if trained_on is None else frozenset(trained_on),
        plots=plots,
        details=details,
        on_episode=on_episode,
    )

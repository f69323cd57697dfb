"""Open loop: what the policy would have done at recorded steps, against what was done there."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.act.base import Policy, PolicyInput
from dexvla.data.chunks import action_source
from dexvla.episodes.arms import dimension_names, is_aloha
from dexvla.episodes.reader import Episode, open_episode
from dexvla.episodes.segments import per_step
from dexvla.errors import EpisodeError, UserError
from dexvla.files import atomic_file
from dexvla.spec import (
    ComparedReasoning,
    DatasetManifest,
    EpisodeEntry,
    NormStats,
    OpenLoopDetails,
    OpenLoopEpisode,
    OpenLoopReport,
)

HORIZONS = (1, 10, 50)
_DIGITS = 6  # of a stored action: far below what an encoder resolves, and half the file


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One prediction. predicted and recorded: (n, A), the part of the chunk that the episode still covers."""

    step: int
    predicted: NDArray[np.float32]
    recorded: NDArray[np.float32]
    said: str
    label: str | None


def evaluate_open_loop(
    *,
    policy: Policy,
    stats: NormStats,
    data: DatasetManifest,
    stride: int = 16,
    seed: int = 0,
    trained: frozenset[str] | None = None,
    plots: Path | None = None,
    details: Path | None = None,
    on_episode: Callable[[OpenLoopEpisode], Any] = lambda episode: None,
) -> OpenLoopReport:
    """Ask the policy at every `stride`-th step of every episode of `data` and compare.

    stats: of the checkpoint, whose action range the relative errors count against. trained: identities of the
    checkpoint's training episodes, None if unknown. plots: folder for one image an episode. details: folder for
    episode-NNN.json, one `OpenLoopDetails` an episode, numbered from 000 in the order of `data`.
    Raises EpisodeError where an episode does not fit the checkpoint.
    """
    meta = policy.metadata
    expected = (meta.action_dim, meta.state_dim)
    if (data.action_dim, data.state_dim) != expected:
        raise EpisodeError(
            f"{data.episodes[0].path}: {data.action_dim} action and {data.state_dim} state dimensions; "
            f"the checkpoint was trained with {expected[0]} and {expected[1]}"
        )
    span = np.asarray(stats.action_max) - np.asarray(stats.action_min)
    episodes: list[OpenLoopEpisode] = []
    everything: list[Comparison] = []
    names = _names(policy)
    for number, entry in enumerate(data.episodes):
        with open_episode(entry.path) as episode:
            policy.reset(seed)
            compared = _compare(policy, episode, entry, stride)
            recorded = episode.action[: entry.steps]
        plot = None if plots is None else f"{Path(entry.path).stem}_{entry.identity[:8]}.png"
        if plots is not None and plot is not None:
            draw(plots / plot, recorded, compared, entry, names)
        details_name = None if details is None else f"episode-{number:03d}.json"
        if details is not None and details_name is not None:
            _write(details / details_name, _details(entry, compared, names, stride))
        everything += compared
        episodes.append(
            OpenLoopEpisode(
                path=entry.path,
                identity=entry.identity,
                held_out=None if trained is None else not entry.is_in(trained),
                steps_compared=len(compared),
                error=tuple(_mean_error(compared).tolist()),
                reasoning_match=_match(compared),
                plot=plot,
                details=details_name,
            )
        )
        on_episode(episodes[-1])
    error = _mean_error(everything)
    return OpenLoopReport(
        checkpoint=meta.checkpoint,
        checkpoint_sha256=meta.checkpoint_sha256,
        action_names=names,
        predictions=len(everything),
        error=tuple(error.tolist()),
        error_of_range=tuple((error / span).tolist()),
        error_at=_error_at(everything, span),
        reasoning_match=_match(everything),
        episodes=tuple(episodes),
    )


def _compare(policy: Policy, episode: Episode, entry: EpisodeEntry, stride: int) -> list[Comparison]:
    names = [camera.name for camera in policy.metadata.cameras]
    missing = [name for name in names if name not in episode.cameras]
    if missing:
        raise EpisodeError(
            f"{episode.path}: no camera {', '.join(missing)}, which the checkpoint was trained with; "
            f"it has {', '.join(episode.cameras)}"
        )
    labels = per_step(entry.substeps)
    compared = []
    learnt = [(stretch, step) for stretch in entry.stretches for step in range(stretch.start, stretch.end)]
    for stretch, step in learnt[::stride]:
        images = {name: episode.frame(name, step) for name in names}
        chunk = policy.infer(PolicyInput(images=images, state=episode.qpos[step], instruction=entry.instruction))
        recorded = action_source(episode.action[stretch.start : stretch.end], step - stretch.start, sim=entry.sim)[
            : len(chunk.actions)
        ]
        compared.append(
            Comparison(
                step=step,
                predicted=chunk.actions[: len(recorded)],
                recorded=recorded,
                said=chunk.reasoning,
                label=labels[step] if labels else None,
            )
        )
    return compared


def _mean_error(compared: Sequence[Comparison]) -> NDArray[np.float64]:
    """(A,) mean absolute error over all steps of all chunks."""
    errors = np.concatenate([np.abs(item.predicted - item.recorded) for item in compared])
    mean: NDArray[np.float64] = errors.mean(axis=0, dtype=np.float64)
    return mean


def _error_at(compared: Sequence[Comparison], span: NDArray[np.float64]) -> dict[int, float]:
    result = {}
    for horizon in HORIZONS:
        long = [item for item in compared if len(item.recorded) >= horizon]
        if long:
            errors = [np.abs(item.predicted[horizon - 1] - item.recorded[horizon - 1]) / span for item in long]
            result[horizon] = float(np.mean(errors))
    return result


def _match(compared: Sequence[Comparison]) -> float | None:
    labelled = [item for item in compared if item.label]
    return (
        sum(item.said.strip() == (item.label or "").strip() for item in labelled) / len(labelled) if labelled else None
    )


def _names(policy: Policy) -> tuple[str, ...]:
    meta = policy.metadata
    if meta.robot is not None and is_aloha(meta.robot, meta.action_dim):
        return tuple(dimension_names(meta.robot, meta.action_dim))
    return tuple(f"action {number}" for number in range(meta.action_dim))


def _details(
    entry: EpisodeEntry, compared: Sequence[Comparison], names: tuple[str, ...], stride: int
) -> OpenLoopDetails:
    steps: list[int] = []
    predicted: list[tuple[float, ...]] = []
    recorded: list[tuple[float, ...]] = []
    for item in compared:
        kept = min(stride, len(item.predicted))
        steps += range(item.step, item.step + kept)
        predicted += _rows(item.predicted[:kept])
        recorded += _rows(item.recorded[:kept])
    return OpenLoopDetails(
        name=Path(entry.path).name,
        identity=entry.identity,
        instruction=entry.instruction,
        fps=entry.fps,
        action_names=names,
        steps=tuple(steps),
        predicted=tuple(predicted),
        recorded=tuple(recorded),
        reasoning=tuple(ComparedReasoning(step=item.step, said=item.said, label=item.label) for item in compared),
    )


def _rows(actions: NDArray[np.float32]) -> list[tuple[float, ...]]:
    return [tuple(row) for row in actions.astype(np.float64).round(_DIGITS).tolist()]


def _write(path: Path, details: OpenLoopDetails) -> None:
    """Compact, unlike other JSON of ours: thousands of numbers on a line each would be mostly white space."""
    with atomic_file(path) as temporary:
        text = json.dumps(details.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        temporary.write_text(text + "\n", encoding="utf-8")


def draw(
    path: Path,
    recorded: NDArray[np.float32],
    compared: Sequence[Comparison],
    entry: EpisodeEntry,
    names: Sequence[str],
) -> None:
    """One panel a dimension: the recorded actions (T, A), and each predicted chunk from the step it was asked for."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'dexvla-studio[train]', or leave plots out") from error
    columns = 2 if len(names) > 1 else 1
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(13, 1.7 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).T.ravel()
    lag = 0 if entry.sim else 1
    for dimension, (axis, name) in enumerate(zip(axes, names, strict=False)):
        steps = np.arange(lag, lag + len(recorded))
        axis.plot(steps, recorded[:, dimension], color="0.25", linewidth=1.2, label="recorded")
        for number, item in enumerate(compared):
            steps = np.arange(item.step, item.step + len(item.predicted))
            label = None if number else "predicted"
            axis.plot(steps, item.predicted[:, dimension], color="tab:orange", linewidth=0.9, alpha=0.8, label=label)
        axis.set_title(name, fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    for axis in axes[rows - 1 :: rows]:
        axis.set_xlabel("step", fontsize=8)
    axes[0].legend(fontsize=7, loc="upper right")
    figure.suptitle(f"{Path(entry.path).name}: {entry.instruction}", fontsize=10)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)

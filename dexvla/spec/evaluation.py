"""Evaluations."""

from typing import Literal

from pydantic import Field

from dexvla.spec.base import Spec
from dexvla.spec.robots import RenderProfile, RobotChoice, TaskChoice


class EvalSpec(TaskChoice, RobotChoice):
    """Closed-loop episodes of a checkpoint on a robot that can judge its task: seeds seed .. seed + episodes - 1."""

    checkpoint: str
    episodes: int = Field(10, ge=1, le=10_000, description="Number of seeds")
    seed: int = Field(1000, ge=0, description="First seed; use seeds that no demonstration used")
    max_steps: int | None = Field(None, ge=1, description="Steps of a roll-out; default: the task's")
    execute_steps: int | None = Field(
        None, ge=1, description="Actions of a chunk that are executed before asking again; default 16, or the chunk"
    )
    inference_steps: int | None = Field(None, ge=1, description="DDIM steps; default: the checkpoint's")
    max_new_tokens: int = Field(64, ge=1, le=1024, description="Longest reasoning, tokens")
    instruction: str | None = Field(None, description="Overrides the task's instruction")
    render: RenderProfile | None = Field(None, description="Default: the profile of the training images")
    video: bool = Field(True, description="Write an mp4 of every episode")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto takes a GPU if there is one")


class Rate(Spec):
    """A share of trials with its 95 % interval (Wilson)."""

    successes: int = Field(ge=0)
    trials: int = Field(ge=1)
    rate: float = Field(ge=0, le=1)
    low: float
    high: float


class StepReasoning(Spec):
    """From `step` on the policy said `text`."""

    step: int = Field(ge=0)
    text: str


class EpisodeOutcome(Spec):
    """One closed-loop episode. reward: the best that was reached; held: at the end; wrong: another object than the
    named one was lifted, where the task names one."""

    seed: int
    success: bool
    held: bool | None
    wrong: bool | None = None
    reward: float
    steps: int
    seconds: float = Field(description="Wall-clock time of the episode, s")
    mean_infer_ms: float
    reasoning: tuple[StepReasoning, ...]
    video: str | None = Field(None, description="File name beside the report")


class ClosedLoopReport(Spec):
    """Result of a closed-loop evaluation. interval: 95 % of success_rate."""

    kind: Literal["closed_loop"] = "closed_loop"
    checkpoint: str
    checkpoint_sha256: str | None
    settings: EvalSpec
    success_rate: float
    interval: tuple[float, float]
    success: Rate
    held: Rate | None
    wrong: Rate | None = None
    mean_reward: float
    max_reward: float
    seeds_seen_in_training: tuple[int, ...]
    episodes: tuple[EpisodeOutcome, ...]


class OpenLoopEpisode(Spec):
    """Predicted against recorded actions of one episode."""

    path: str
    identity: str
    held_out: bool | None = Field(description="None: the checkpoint does not say what it was trained on")
    steps_compared: int
    error: tuple[float, ...] = Field(description="Mean absolute error per dimension, units of the action")
    reasoning_match: float | None = Field(description="Share of predictions whose reasoning equals the label")
    plot: str | None = None
    details: str | None = Field(None, description="File name of the OpenLoopDetails, where they were asked for")


class ComparedReasoning(Spec):
    """One prediction: what the policy said at `step`, and what the recording is labelled with there."""

    step: int = Field(ge=0)
    said: str
    label: str | None = Field(description="None: the step is not labelled")


class OpenLoopDetails(Spec):
    """What a page draws of one episode: rows of N steps, A actions each.

    Of every prediction the first `stride` actions are kept, as a robot would execute them; where chunks are shorter
    than that, the steps between them are left out. recorded: the actions that a chunk of that step is trained on.
    """

    kind: Literal["open_loop_details"] = "open_loop_details"
    name: str = Field(description="Of the episode's file")
    identity: str
    instruction: str
    fps: float | None = Field(None, description="Control rate, Hz, where the episode says so")
    action_names: tuple[str, ...]
    steps: tuple[int, ...] = Field(description="(N,), ascending")
    predicted: tuple[tuple[float, ...], ...] = Field(description="(N, A), units of the action")
    recorded: tuple[tuple[float, ...], ...] = Field(description="(N, A), units of the action")
    reasoning: tuple[ComparedReasoning, ...] = Field(description="One a prediction")


class OpenLoopReport(Spec):
    """Result of an open-loop evaluation.

    error: mean absolute error per action dimension, units of the action; error_of_range: the same divided by the
    range of the training actions; error_at: mean over dimensions of error_of_range, k steps into the chunk.
    """

    kind: Literal["open_loop"] = "open_loop"
    checkpoint: str
    checkpoint_sha256: str | None
    action_names: tuple[str, ...]
    predictions: int
    error: tuple[float, ...]
    error_of_range: tuple[float, ...]
    error_at: dict[int, float]
    reasoning_match: float | None
    episodes: tuple[OpenLoopEpisode, ...]

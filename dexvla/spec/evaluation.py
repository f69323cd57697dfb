"""Evaluations."""

from typing import Literal

from pydantic import Field

from dexvla.spec.base import Spec
from dexvla.spec.robots import AlohaTask, RenderProfile


class EvalSpec(Spec):
    """Closed-loop episodes of a checkpoint on a robot that can judge its task: seeds seed .. seed + episodes - 1."""

    checkpoint: str
    robot: str = "aloha_sim"
    task: AlohaTask = AlohaTask.TRANSFER_CUBE
    episodes: int = Field(10, ge=1, le=10_000)
    seed: int = Field(1000, ge=0, description="First seed; use seeds that no demonstration used")
    max_steps: int | None = Field(None, ge=1, description="Steps of a roll-out; default: the task's")
    execute_steps: int = Field(16, ge=1, description="Actions of a chunk that are executed before asking again")
    inference_steps: int | None = Field(None, ge=1, description="DDIM steps; default: the checkpoint's")
    max_new_tokens: int = Field(64, ge=1, le=1024, description="Longest reasoning, tokens")
    instruction: str | None = Field(None, description="Overrides the task's instruction")
    render: RenderProfile | None = Field(None, description="Default: the profile of the training pictures")
    video: bool = Field(True, description="Write an mp4 of every episode")
    device: Literal["auto", "cpu"] = "auto"

"""What pages ask of the live routes where it differs from what the API asks of the host, and what they are told."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from backend.core.schemas import In, Out, Title
from dexvla.live.messages import RolloutIn, SceneIn
from dexvla.spec import OptionValue

PolicyUrl = Annotated[str, Field(max_length=512, pattern=r"^wss?://[^\s/?#@]+(/[^\s?#@]*)?$")]


class RolloutAsk(In):
    """Let a policy act: exactly one of checkpoint_id, demo and url. Paths never come from a page."""

    checkpoint_id: str | None = Field(None, max_length=64, description="A checkpoint of the studio")
    demo: bool = Field(False, description="The demo checkpoint that comes with the studio")
    url: PolicyUrl | None = Field(
        None, description="A policy server instead: ws://HOST:PORT, reached by the robot host"
    )
    instruction: Title = Field(max_length=400)
    execute_steps: int | None = Field(None, ge=1, le=1000, description="Actions executed of a chunk; default 16")
    scene: SceneIn | None = Field(
        None, description="A simulated robot's: set it up first, and act on what it asks for instead of `instruction`"
    )
    instead: bool = Field(False, description="In place of a policy that is there already, acting or paused")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [self.checkpoint_id is not None, self.demo, self.url is not None]
        if sum(given) != 1:
            raise ValueError(f"say exactly one of checkpoint_id, demo and url; found {sum(given)}")
        return self

    def for_host(self, path: str | None) -> RolloutIn:
        return RolloutIn(**self.model_dump(), path=path)


class DemoOut(Out):
    """The demo checkpoint: is it there, and what it was trained to do. task, options: of its scenes.

    instructions: to choose from, the first is the default; all empty where the checkpoint does not say.
    """

    available: bool
    task: str | None = None
    options: dict[str, OptionValue] = Field(default_factory=dict)
    instructions: list[str] = Field(default_factory=list)


class PolicyServersOut(Out):
    """The policy servers that the administrator allows (STUDIO_POLICY_SERVERS), HOST:PORT or HOST:* for any port."""

    servers: list[str]

"""What the demo checkpoint says of itself. Reads JSON alone, never weights.

Its manifest.json has a member `demo`: {"task": "pick_colour", "level": "spots", "instructions": ["Pick up the red
cube", ...]}, written by the recipe that trained it.
"""

import json
import logging
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from backend.live.schemas import DemoOut
from dexvla.spec import DEMO_FOLDER, OptionValue

log = logging.getLogger("studio.live")


class _Demo(BaseModel):
    task: str = Field(max_length=64)
    options: dict[str, OptionValue] = Field({}, max_length=16)
    level: str | None = Field(None, max_length=64)  # of pick_colour, in checkpoints without `options`
    instructions: list[str] = Field([], max_length=64)


class _Manifest(BaseModel):
    demo: _Demo


def demo(folder: Path = DEMO_FOLDER) -> DemoOut:
    if not (folder / "config.json").is_file():
        return DemoOut(available=False)
    try:
        said = _Manifest.model_validate(json.loads((folder / "manifest.json").read_bytes())).demo
    except (OSError, ValueError, ValidationError) as error:
        log.warning("the demo checkpoint does not say what it was trained to do: %s", error)
        return DemoOut(available=True)
    options = said.options or ({} if said.level is None else {"level": said.level})
    return DemoOut(available=True, task=said.task, options=options, instructions=said.instructions)

"""The same run without the studio: a spec file, and one command line."""

import json
import shlex
from typing import Any

import yaml

from backend.training.assemble import differences
from backend.training.form import KEPT, SWITCHES
from dexvla.spec import TrainSpec

GPUS = 8


def spec_yaml(spec: TrainSpec) -> str:
    """The whole spec, every field as it is used: what `dexvla train SPEC.yaml` reads, whatever presets become."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def command(spec: TrainSpec, *, output_dir: str) -> str:
    """`dexvla train` with flags for what differs from the preset, written into `output_dir`."""
    return shlex.join(["dexvla", *_arguments(spec, output_dir)])


def command_many_gpus(spec: TrainSpec, *, output_dir: str) -> str:
    """The same on the GPUs of one machine."""
    launch = ["accelerate", "launch", "--multi_gpu", "--num_processes", str(GPUS), "--module", "dexvla.cli"]
    return shlex.join([*launch, *_arguments(spec, output_dir)])


def _arguments(spec: TrainSpec, output_dir: str) -> list[str]:
    flags = ["train", "--stage", str(spec.stage)]
    if spec.preset is not None:
        flags += ["--preset", spec.preset]
    weighted = any(source.weight != 1.0 for source in spec.data)
    if not weighted:
        flags += [part for source in spec.data for part in ("--data", source.path)]
    flags += ["--from", str(spec.init_from), "--out", output_dir]
    settings: dict[str, Any] = {"name": spec.name}
    if weighted:
        settings["data"] = [{"path": source.path, "weight": source.weight} for source in spec.data]
    if spec.pretrained_expert is not None:
        settings["pretrained_expert"] = spec.pretrained_expert
    changed = differences(spec)
    if spec.lora is None and "lora" in changed:
        settings["lora"] = None
    elif spec.lora is not None and "lora" in changed:
        settings["lora"] = spec.lora.model_dump(mode="json")
    settings |= {name: folder for name in KEPT if (folder := getattr(spec, name)) is not None}
    for path, (_, value) in changed.items():
        if path not in SWITCHES and not (path.startswith("lora.") and "lora" in changed):
            settings[path] = value
    # JSON is YAML, and a string is quoted only where it must be
    return flags + [part for name, value in settings.items() for part in ("--set", f"{name}={_text(value)}")]


def _text(value: Any) -> str:
    return value if isinstance(value, str) and yaml.safe_load(value) == value else json.dumps(value)

"""Before a run starts: what is wrong or odd about its data, dimensions, disk and memory, each with what to do.

Errors stop a run; notes are shown and stored. Nothing is written here.
"""

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from dexvla.data.normalise import normalise_actions
from dexvla.data.statistics import RANGE_MARGIN
from dexvla.spec import ActionKind, TrainSpec
from dexvla.train.engine import device_of
from dexvla.train.launch import Launch
from dexvla.train.memory import device_memory, in_words, main_memory, shortage
from dexvla.train.precision import precision_note
from dexvla.train.prepare import RunData
from dexvla.train.trainer_task import Part, TrainerTask

TINY_RANGE = 1e-3  # of an action dimension, units of the action
_ALOHA_GRIPPERS = (6, 13)


@dataclass(kw_only=True)
class Preflight:
    """What was found. memory: parts of the estimated peak of a process in bytes, by name; the estimate is their sum.

    main_memory: likewise, what the processes of a machine need in main memory beside their devices.
    """

    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    main_memory: dict[str, int] = field(default_factory=dict)
    launch: Launch = field(default_factory=Launch)
    disk_needed: int = 0
    disk_free: int = 0

    @property
    def ok(self) -> bool:
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "errors": self.errors,
            "notes": self.notes,
            "memory_bytes": {**self.memory, "total": sum(self.memory.values())},
            "main_memory_bytes": {**self.main_memory, "total": sum(self.main_memory.values())},
            "launch": asdict(self.launch),
            "disk_bytes": {"needed": self.disk_needed, "free": self.disk_free},
        }


def preflight(task: TrainerTask, launch: Launch) -> Preflight:
    """Look at a run just before it starts, at what it starts from, frozen and adapted as it will train."""
    report = Preflight(notes=task.notes(), launch=launch)
    for part in task.parts():
        found = Preflight()
        _actions(found, part.data)
        if part.data.action_space.kind is ActionKind.ABSOLUTE:
            _states_beside_actions(found, part.data)
        _grippers(found, part.data)
        _instructions(found, task.spec, part.data)
        _labels(found, task.spec, part.data)
        _cameras(found, part)
        prefix = f"{part.name}: " if part.name else ""
        report.errors += [prefix + text for text in found.errors]
        report.notes += [prefix + text for text in found.notes]
    if not launch.sharded and (note := precision_note(task.spec.precision, device_of(task.spec))) is not None:
        report.notes.append(note)
    _disk(report, task.spec, task.model)
    report.memory, report.main_memory = device_memory(task, launch), main_memory(task, launch)
    report.notes += shortage(task, launch, report.memory, report.main_memory)
    return report


def _actions(report: Preflight, data: RunData) -> None:
    low, high = np.asarray(data.stats.action_min), np.asarray(data.stats.action_max)
    span = high - low - 2 * RANGE_MARGIN
    stands = span <= np.maximum(1e-9, 1e-8 * np.abs(low))  # less than what float32, which files hold, can tell apart
    still = [int(i) for i in np.flatnonzero(stands)]
    tiny = [int(i) for i in np.flatnonzero(~stands & (span < TINY_RANGE))]
    if still:
        report.notes.append(f"action dimensions that never move: {_list(still)}; the policy learns their one value")
    if tiny:
        report.notes.append(
            f"action dimensions that move by less than {TINY_RANGE:g}: {_list(tiny)}; "
            "their noise is blown up to the full range"
        )
    if len(still) == len(span):
        report.errors.append("no action dimension ever moves; the recordings hold no motion")


def _states_beside_actions(report: Preflight, data: RunData) -> None:
    first = np.asarray(data.stats.example_qpos or [[0.0]])
    if data.manifest.action_dim == data.manifest.state_dim and first.shape[1] == data.manifest.action_dim:
        outside = np.abs(normalise_actions(first, data.stats)).max(axis=0) > 3
        if outside.any():
            report.notes.append(
                f"states lie far outside the range of actions in dimensions {_list(np.flatnonzero(outside).tolist())}; "
                "if actions are positions, check units and order"
            )


def _grippers(report: Preflight, data: RunData) -> None:
    robots = {entry.robot for entry in data.manifest.episodes}
    if data.manifest.action_dim != 14 or not any((robot or "").startswith("aloha") for robot in robots):
        return
    space = data.action_space
    positions = [place for place in _ALOHA_GRIPPERS if space.kind is not ActionKind.DELTA or place in space.absolute]
    for dimension in positions:
        low, high = data.stats.action_min[dimension], data.stats.action_max[dimension]
        if low < -0.25 or high > 1.25:
            report.notes.append(
                f"gripper (action {dimension}) goes from {low:.2f} to {high:.2f}; "
                "ALOHA's are normalised, 0 closed to 1 open"
            )


def _instructions(report: Preflight, spec: TrainSpec, data: RunData) -> None:
    several = [entry for entry in data.train if entry.paraphrases]
    if several:
        drawn = "each sample draws one" if spec.use_paraphrases else "use_paraphrases is off: the first is trained"
        report.notes.append(
            f"{len(several)} of {len(data.train)} episodes have several wordings of their instruction; {drawn}"
        )
    texts = {text for entry in data.train for text in (entry.instruction, *entry.paraphrases)}
    if any(len(text) > 300 for text in texts):
        report.notes.append("an instruction is longer than 300 characters; check that it is what you mean to send")


def _labels(report: Preflight, spec: TrainSpec, data: RunData) -> None:
    if not spec.use_reasoning:
        without = "the text is the instruction alone" if spec.stage == 1 else "the policy learns an empty reasoning"
        report.notes.append(f"use_reasoning is off: {without}")
        return
    steps = sum(entry.steps for entry in data.train)
    labelled = sum(
        segment.end - segment.start for entry in data.train for segment in entry.substeps if segment.text.strip()
    )
    if labelled < steps:
        part = labelled / steps
        missing = "on the instruction alone" if spec.stage == 1 else "an empty one"
        report.notes.append(
            f"{part:.0%} of the steps have a substep reasoning; the others train {missing}. "
            "In the paper the success of shirt folding falls from 0.92 to 0.07 without reasonings"
        )


def _cameras(report: Preflight, part: Part) -> None:
    sizes = {entry.cameras for entry in part.data.manifest.episodes if entry.cameras}
    if len(sizes) > 1:
        report.notes.append(
            "the episodes' images differ in size; all are resized, but evaluation renders the size of the first"
        )
    recorded = {camera.name: camera for camera in part.recorded_cameras}
    for camera in part.cameras:
        source = recorded.get(camera.name)
        if source is None:
            continue
        if camera.height > source.height or camera.width > source.width:
            report.notes.append(
                f"{camera.name} is enlarged from {source.height}x{source.width} to {camera.height}x{camera.width}"
            )
        shape, wanted = source.width / source.height, camera.width / camera.height
        if abs(shape / wanted - 1) > 0.15:
            report.notes.append(
                f"{camera.name} is squeezed: recorded {source.height}x{source.width}, "
                f"shown {camera.height}x{camera.width}"
            )


def _disk(report: Preflight, spec: TrainSpec, model: nn.Module) -> None:
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    state = sum(parameter.numel() * (3 * parameter.element_size() + 4 * bool(spec.ema_decay)) for parameter in trained)
    checkpoints = min(spec.keep_checkpoints + 1, spec.steps // spec.save_every + 1) + bool(spec.validation_fraction)
    report.disk_needed = checkpoints * weights + 2 * state
    folder = Path(spec.output_dir)
    own = sum(
        file.stat().st_size for part in ("checkpoints", "state") for file in (folder / part).rglob("*.safetensors")
    )
    report.disk_free = shutil.disk_usage(_existing(folder)).free + own  # a resumed run replaces its own files
    if report.disk_free < report.disk_needed:
        report.errors.append(
            f"{spec.output_dir}: the run needs {in_words(report.disk_needed)} for {checkpoints} checkpoints and two "
            f"trainer states, {in_words(report.disk_free)} are free; free some, or lower keep_checkpoints"
        )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))

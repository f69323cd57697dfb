"""One file as robomimic's SequenceDataset reads it: data/demo_N, with masks and what it must know of the environment.

Frames are pixels, (T, H, W, 3) RGB, as robomimic wants them. What robomimic has no place for (instruction, substeps,
times, rate) stands beside as attributes and datasets that it passes over and our importer reads.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dexvla.episodes.segments import per_step
from dexvla.episodes.writer import write_step_source
from dexvla.formats.base import Exported, ExportEpisode, FormatError
from dexvla.formats.outgoing import Outgoing, outgoing
from dexvla.formats.stored import our_facts

FILE = "demo.hdf5"
FACTS = "dexvla"  # what robomimic has no place for and no step has, as JSON
BESIDE = ("timestamp", "host_timestamp", "action_sent", "joint_positions")
IMAGE_TIMES = "image_timestamp"
IMAGE = "_image"  # ending of the observations that are images, as in robosuite
_GYM = 2  # robomimic's number for an environment that is not robosuite's: the least that it asks of one
_HELD_OUT = 10  # each tenth demonstration is for validation
_SPARE_BYTES = 16 * 2**20


class RobomimicExporter:
    """demo.hdf5 with all episodes."""

    name = "robomimic"
    title = "One robomimic file (data/demo_N)"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        total, largest = 0, 0.0
        robots: set[str] = set()
        with h5py.File(out / FILE, "w") as file:
            data = file.create_group("data")
            for number, episode in enumerate(episodes):
                with outgoing(episode) as going:
                    _refuse_full(out, going)
                    _write(data.create_group(f"demo_{number}"), going)
                    total += going.file.steps
                    largest = max(largest, float(np.abs(going.file.action).max()))
                    robots |= {going.file.attributes.task or going.file.attributes.robot or "unknown"}
                on_episode(Exported(name=episode.name, files=(FILE,)))
            data.attrs["total"] = total
            environment = robots.pop() if len(robots) == 1 else "several"
            data.attrs["env_args"] = json.dumps(
                {"env_name": environment, "type": _GYM, "env_type": _GYM, "env_version": None, "env_kwargs": {}}
            )
            instructions = {episode.instruction for episode in episodes}
            if len(instructions) == 1:
                data.attrs["problem_info"] = json.dumps({"language_instruction": instructions.pop()})
            _write_masks(file, episodes)
        return tuple(_warnings(len(episodes), largest))


def _refuse_full(out: Path, going: Outgoing) -> None:
    """HDF5 survives a full disk badly, so the room is looked at first."""
    sizes = (going.file.frame_size(camera) for camera in going.file.cameras)
    needed = sum(3 * height * width for height, width in sizes) * going.file.steps
    if shutil.disk_usage(out).free < needed + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))


def _write(demo: h5py.Group, going: Outgoing) -> None:
    file, labels = going.file, going.labels
    demo.attrs["num_samples"] = file.steps
    demo.attrs["language_instruction"] = labels.instruction
    for name, value in _attributes(going).items():
        demo.attrs[name] = value
    demo["actions"] = file.action
    success = going.success
    last = np.zeros(file.steps, np.int64)
    last[-1] = 1
    demo["dones"] = last
    demo["rewards"] = last.astype(np.float64) * (success is True)
    demo["obs/qpos"] = file.qpos
    demo["obs/qvel"] = file.qvel
    for camera in file.cameras:
        first = file.frame(camera, 0)
        images = demo.create_dataset(
            f"obs/{camera}{IMAGE}", shape=(file.steps, *first.shape), dtype=np.uint8, chunks=(1, *first.shape)
        )
        for step in range(file.steps):
            image = file.frame(camera, step)
            if image.shape != first.shape:
                raise FormatError(
                    f"{labels.name}: camera {camera}, step {step} is {image.shape[0]} x {image.shape[1]}, expected "
                    f"{first.shape[0]} x {first.shape[1]} as the others"
                )
            images.id.write_direct_chunk((step, 0, 0, 0), np.ascontiguousarray(image).tobytes())
    for name in BESIDE:
        if (values := getattr(file, name)) is not None:
            demo[name] = values
    if file.step_source is not None:
        write_step_source(demo, file.step_source)
    for camera in file.cameras:
        if (times := file.image_timestamp(camera)) is not None:
            demo[f"{IMAGE_TIMES}/{camera}"] = times
    text = h5py.string_dtype("utf-8")
    demo.create_dataset(FACTS, data=json.dumps(our_facts(going), ensure_ascii=False), dtype=text)
    if labels.paraphrases:
        demo.create_dataset("paraphrases", data=np.array(labels.paraphrases, object), dtype=text)
    if labels.substeps:
        demo.create_dataset("substep_reasonings", data=np.array(per_step(labels.substeps), object), dtype=text)
        if labels.label_source is not None:
            demo["substep_reasonings"].attrs["label_source"] = labels.label_source.value


def _attributes(going: Outgoing) -> dict[str, Any]:
    """`success` as people said it, or the file; the rest as the file has it."""
    said = {**asdict(going.file.attributes), "success": going.success, "episode": going.labels.name}
    return {name: value for name, value in said.items() if value is not None}


def _write_masks(file: h5py.File, episodes: Sequence[ExportEpisode]) -> None:
    """robomimic's filter keys: names of demonstrations by what they are for."""
    demos = [f"demo_{number}" for number in range(len(episodes))]
    held_out = demos[_HELD_OUT - 1 :: _HELD_OUT]
    masks = {
        "train": [demo for demo in demos if demo not in held_out],
        "valid": held_out,
        "success": [demo for demo, episode in zip(demos, episodes, strict=True) if episode.success],
    }
    for name, kept in masks.items():
        if kept:
            file[f"mask/{name}"] = np.array(kept, dtype="S")


def _warnings(episodes: int, largest: float) -> Iterator[str]:
    yield "next_obs is left out, it would double the file: train with train.hdf5_load_next_obs false"
    yield (
        f"mask/valid holds each {_HELD_OUT}th demonstration, mask/train the others"
        if episodes >= _HELD_OUT
        else f"mask/train holds all demonstrations: fewer than {_HELD_OUT} are not split"
    )
    yield "env_args names no simulation that robomimic could start: evaluate elsewhere, or fill it in"
    if largest > 1:
        yield (
            f"actions reach {largest:.3g}: robomimic's policies give -1 to 1, so train with actions normalised "
            "(train.action_config, normalization min_max)"
        )


ROBOMIMIC = RobomimicExporter()

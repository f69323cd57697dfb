"""Demonstrations whose substeps are known: the right arm reaches, grasps, carries and lets go, each time otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from backend.intake.accept import accept
from backend.studio.context import Studio
from backend.tables.episode import EpisodeSource
from dexvla.episodes.format import EpisodeData, LabelSource
from dexvla.episodes.writer import write_episode

TEXTS = ("Reach for the cube", "Grasp the cube", "Carry the cube", "Let the cube go")


def demonstration(
    make_data: Callable[..., EpisodeData],
    seed: int,
    *,
    texts: Sequence[str] | None = None,
    instruction: str = "Move the cube.",
    marks: Sequence[int] | None = None,
    lengths: tuple[int, int, int, int] | None = None,
) -> tuple[EpisodeData, list[int]]:
    """An episode without labels unless `texts` are given, and the steps at which its substeps begin."""
    random = np.random.default_rng(seed)
    if lengths is None:
        lengths = (int(random.integers(80, 120)), 30, int(random.integers(70, 110)), 40)
    poses = [np.zeros(6), random.normal(0.5, 0.1, 6), random.normal(-0.4, 0.1, 6)]
    ways = [(0, 1, 1.0, 1.0), (1, 1, 1.0, 0.3), (1, 2, 0.3, 0.3), (2, 2, 0.3, 1.0)]
    rows = []
    for steps, (begin, end, before, after) in zip(lengths, ways, strict=True):
        part = np.linspace(0, 1, steps)[:, None]
        joints = poses[begin] + (poses[end] - poses[begin]) * (10 * part**3 - 15 * part**4 + 6 * part**5)
        opening = before + (after - before) * np.clip(np.arange(steps) / 12, 0, 1)
        rows.append(np.column_stack([np.zeros((steps, 6)), np.ones(steps), joints, opening]))
    qpos = (np.concatenate(rows) + random.normal(0, 0.001, (sum(lengths), 14))).astype(np.float32)
    starts = [0, *np.cumsum(lengths)[:-1].tolist()]
    labels = None if texts is None else np.repeat(np.array(texts, object), lengths).tolist()
    data = make_data(
        seed=seed,
        steps=len(qpos),
        labels=None,
        cameras=("cam_high",),
        size=(16, 16),
        instruction=instruction,
        attributes={"robot": "aloha_sim", "task": "transfer_cube"},
    )
    data = replace(
        data,
        qpos=qpos,
        qvel=np.gradient(qpos, axis=0) * 50,
        action=qpos,
        marks=marks,
        substep_reasonings=labels,
        label_source=None if labels is None else LabelSource.SCRIPTED,
    )
    return data, starts


def take(studio: Studio, dataset_id: str, folder: Path, data: EpisodeData, name: str) -> str:
    """Into the dataset; returns the episode's id."""
    path = folder / f"{name}.hdf5"
    write_episode(path, data)
    taken = accept(studio, dataset_id=dataset_id, file=path, source=EpisodeSource.UPLOADED, original_name=name)
    path.unlink()
    return taken.episode_id

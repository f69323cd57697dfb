"""Samples from all over a dataset hold no more files open than they may, however many episodes there are."""

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dexvla.data.cache import ImageCache
from dexvla.data.open_files import OpenFiles, most_handles
from dexvla.data.statistics import norm_stats
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.model.processing import Processor
from dexvla.spec import CameraSpec, PaddedActions
from dexvla.train.data import EpisodeSamples, SampleSettings

EPISODES, STEPS, HANDLES = 12, 6, 4


@pytest.fixture
def few_files() -> Iterator[None]:
    """As on a system that lets a process open few."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_set_of_samples_takes_a_part_of_what_the_process_may_open(few_files: None) -> None:
    assert most_handles() == 50


def test_what_was_asked_for_last_stays_open() -> None:
    closed: list[int] = []
    files: OpenFiles[int, int] = OpenFiles(2, close=closed.append)
    opened = [files.get(key, lambda key=key: 10 * key) for key in (1, 2, 1, 3, 1, 2)]
    assert opened == [10, 20, 10, 30, 10, 20]
    assert closed == [20, 30]


@pytest.mark.parametrize("prepared", [False, True])
def test_handles_do_not_grow_with_the_episodes(
    tmp_path: Path, make_episode: Callable[..., Path], base_model: Path, prepared: bool
) -> None:
    for number in range(EPISODES):
        make_episode(tmp_path / "data" / f"episode_{number}.hdf5", seed=number, steps=STEPS, cameras=("cam_high",))
    manifest, motions = build_manifest(find_set(str(tmp_path / "data")))
    cameras = (CameraSpec(name="cam_high", height=28, width=56),)
    cache = ImageCache(tmp_path / "images")
    cache.prepare(manifest.episodes, cameras, root=Path("/"))
    samples = EpisodeSamples(
        entries=manifest.episodes,
        root=Path("/"),
        stats=norm_stats(motions),
        processor=Processor.from_pretrained(base_model),
        settings=SampleSettings(
            cameras=cameras,
            chunk_size=4,
            diffusion_steps=10,
            use_reasoning=True,
            padded_actions=PaddedActions.REPEAT_LAST,
            augment=False,
            seed=0,
        ),
        image_cache=cache if prepared else None,
        handles=HANDLES,
    )
    before, most = open_handles(), 0
    order = np.random.default_rng(0).permutation(len(samples))
    assert len(order) == EPISODES * STEPS
    for place, index in enumerate(order.tolist()):
        samples[place, index]
        most = max(most, open_handles() - before)
    assert 0 < most <= HANDLES


def open_handles() -> int:
    return len(os.listdir("/proc/self/fd"))

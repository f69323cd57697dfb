"""Contact sheets show the frames that they name."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from dexvla.episodes.contact_sheet import contact_sheets, even_steps
from dexvla.episodes.reader import open_episode


def test_every_tile_shows_its_step(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "a.hdf5", steps=40, size=(96, 128))
    with open_episode(path) as episode:
        steps = even_steps(episode.steps, 20)
        assert (steps[0], steps[-1], len(steps)) == (0, 39, 20)
        first, second = contact_sheets(episode, ["cam_high", "cam_left_wrist"], steps, height=96)
        assert (len(first.steps), len(second.steps)) == (16, 4)
        picture = np.asarray(Image.open(io.BytesIO(first.jpeg))).astype(int)
        height, width = 18 + 96 + 4, 2 * 128 + 4
        for index, step in enumerate(first.steps):
            top, left = index // 4 * height, index % 4 * width
            for number, camera in enumerate(("cam_high", "cam_left_wrist")):
                shown = picture[top + 18 : top + 18 + 96, left + number * 128 : left + (number + 1) * 128]
                stored = episode.frame(camera, step).astype(int)
                others = [episode.frame(camera, other).astype(int) for other in range(40) if abs(other - step) > 2]
                assert np.abs(shown - stored).mean() < min(np.abs(shown - other).mean() for other in others)
            assert picture[top : top + 18, left : left + 120].max() > 150, "the step's number stands there"


def test_short_episodes_are_shown_whole() -> None:
    assert even_steps(1, 48) == [0]
    assert even_steps(5, 48) == [0, 1, 2, 3, 4]

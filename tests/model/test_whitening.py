"""Patch embeddings made from images: a small thing on a constant background is most of what comes out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dexvla.cli import app
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.manifest import find_set
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from dexvla.errors import UserError
from dexvla.model.checkpoint import new_policy
from dexvla.model.init_model import init_model
from dexvla.model.policy import DexVLA
from dexvla.model.whitening import ImageSource, whitening
from dexvla.spec import SCALEDP_SIZES, PolicySpec

SIDE = 112


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, make_data: Callable[..., object]) -> Path:
    """Two episodes with one camera: a square of 10 pixels somewhere on a bright, structured, constant background."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    background = np.stack([180 + 40 * np.sin(rows / 17), 150 + 0.4 * columns, 120 + 30 * (columns > 60)], -1)
    for number in range(2):
        images = []
        for _ in range(40):
            image = background.astype(np.uint8)
            top, left = rng.integers(0, SIDE - 10, 2)
            image[top : top + 10, left : left + 10] = rng.permutation([200, 40, 40])
            images.append(encode_jpeg(image))
        data = make_data(seed=number, steps=40, cameras=("cam_high",), size=(SIDE, SIDE))
        write_episode(folder / f"episode_{number}.hdf5", dataclasses.replace(data, images={"cam_high": images}))
    return folder


@pytest.fixture(scope="module")
def source(scenes: Path) -> ImageSource:
    return ImageSource(data=str(scenes), height=SIDE, width=SIDE, images=80)


def embedded(base: Path, scenes: Path) -> torch.Tensor:
    """What the patch embedding of `base` makes of all images, (images, patches, width)."""
    spec = PolicySpec(expert=SCALEDP_SIZES["tiny"], action_dim=14, state_dim=14)
    policy: DexVLA = new_policy(base, spec)
    assert policy.processor is not None
    found = []
    for path in find_set(str(scenes)).paths:
        with open_episode(path) as episode:
            for step in range(episode.steps):
                patches, _ = policy.processor.patches(episode.frame("cam_high", step), (SIDE, SIDE))
                found.append(policy.backbone.model.visual.patch_embed(torch.from_numpy(patches)).detach())
    return torch.stack(found)


def test_what_changes_is_most_of_the_output(scenes: Path, source: ImageSource, tmp_path: Path) -> None:
    """From random weights it is a few per cent: the squares drown in the background."""
    init_model(tmp_path / "random", preset="small")
    init_model(tmp_path / "white", preset="small", whiten_with=source)
    share = {}
    for name in ("random", "white"):
        made = embedded(tmp_path / name, scenes)
        share[name] = float((made - made.mean(0)).square().sum() / made.square().sum())
    assert share["random"] < 0.1, share
    assert share["white"] > 0.6, share


def test_every_channel_has_the_same_energy_and_its_own_news(scenes: Path, source: ImageSource, tmp_path: Path) -> None:
    init_model(tmp_path / "white", preset="small", whiten_with=source)
    made = embedded(tmp_path / "white", scenes).flatten(0, 1).double()
    moment = made.T @ made / len(made)
    energy = moment.diagonal()
    assert float(energy.max()) < 1.01
    assert float(energy.min()) > 0.2, "weak, but above the noise"
    assert float((moment - energy.diag()).abs().max()) < 0.01


def test_noise_is_not_blown_up() -> None:
    strengths = torch.cat([torch.tensor([100.0, 1.0]), torch.full((586,), 1e-8)])
    rows = whitening(strengths.diag(), 10)
    gains = (rows.square() * strengths).sum(1)  # mean square of each channel
    torch.testing.assert_close(gains[:2], torch.ones(2).double(), atol=1e-3, rtol=0)
    assert float(gains[2:].max()) < 1e-4


def test_the_rest_and_repeats_are_the_same(source: ImageSource, tmp_path: Path) -> None:
    for name, with_images in (("plain", None), ("one", source), ("two", source)):
        init_model(tmp_path / name, preset="tiny", seed=5, whiten_with=with_images)
    spec = PolicySpec(expert=SCALEDP_SIZES["tiny"], action_dim=14, state_dim=14)
    plain, one, two = (new_policy(tmp_path / name, spec).backbone.state_dict() for name in ("plain", "one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [name for name in one if not torch.equal(one[name], plain[name])] == ["model.visual.patch_embed.proj.weight"]
    weight = one["model.visual.patch_embed.proj.weight"]
    assert torch.equal(weight[:, :, 0], weight[:, :, 1]), "both frames are the same image"


def test_the_command(scenes: Path, tmp_path: Path) -> None:
    size = ["--image-height", str(SIDE), "--image-width", str(SIDE), "--images", "40"]
    done = CliRunner().invoke(
        app, ["init-model", str(tmp_path / "new"), "--preset", "small", "--whiten", str(scenes), *size]
    )
    assert done.exit_code == 0, done.output
    made = embedded(tmp_path / "new", scenes)
    assert float((made - made.mean(0)).square().sum() / made.square().sum()) > 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": ("cam_low",)}, "has cameras cam_high; expected cam_low"),
        ({"data": "/nowhere"}, "/nowhere"),
        ({"height": 12}, "12 x 112 pixels"),
    ],
)
def test_images_that_cannot_be_are_refused_and_the_place_is_left_alone(
    source: ImageSource, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(UserError, match=message):
        init_model(tmp_path / "base", whiten_with=dataclasses.replace(source, **change))
    assert (tmp_path / "base").is_dir()

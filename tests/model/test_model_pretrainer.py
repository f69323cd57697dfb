"""The model of stage 1: embodiments do not disturb each other, texts reach the images, encoders come from files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DistilBertConfig, DistilBertForMaskedLM

from dexvla.errors import CheckpointError
from dexvla.model.pretrainer import Pretrainer
from dexvla.model.pretrainer_files import new_pretrainer
from dexvla.model.scaledp import ScaleDP
from dexvla.model.text_encoder import pad_texts, text_for
from dexvla.spec import (
    ALOHA_CAMERAS,
    RESNET_SIZES,
    SCALEDP_SIZES,
    CameraSpec,
    EmbodimentSpec,
    PolicySpec,
    PretrainerSpec,
)

SIZE = (32, 48)
CHUNK = 6


def embodiment(name: str, action_dim: int, state_dim: int, cameras: tuple[str, ...]) -> EmbodimentSpec:
    images = tuple(CameraSpec(name=camera, height=SIZE[0], width=SIZE[1]) for camera in cameras)
    return EmbodimentSpec(name=name, action_dim=action_dim, state_dim=state_dim, cameras=images)


SPEC = PretrainerSpec(
    expert=SCALEDP_SIZES["tiny"],
    chunk_size=CHUNK,
    image_encoder=RESNET_SIZES["tiny"],
    embodiments=(embodiment("aloha", 14, 14, ("high", "wrist")), embodiment("arm", 10, 7, ("wrist",))),
)


@pytest.fixture(scope="module")
def model() -> Pretrainer:
    """With every weight moved off its start, so that nothing is hidden behind a zero gate."""
    fresh = new_pretrainer(SPEC, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return fresh.eval()


def batch_of(model: Pretrainer, counts: dict[int, int], *, seed: int = 0, text: str = "Fold it.") -> dict[str, Any]:
    assert model.tokenizer is not None
    rng = np.random.default_rng(seed)
    total = sum(counts.values())
    batch: dict[str, Any] = {"timesteps": torch.from_numpy(rng.integers(0, 100, total))}
    batch["input_ids"], batch["attention_mask"] = pad_texts([model.tokenizer.ids(text + "!" * i) for i in range(total)])
    for number, count in counts.items():
        one = model.spec.embodiments[number]
        for key in ("actions", "noise"):
            values = rng.standard_normal((count, CHUNK, one.action_dim), np.float32)
            batch[f"{key}.{number}"] = torch.from_numpy(values)
        batch[f"states.{number}"] = torch.from_numpy(rng.standard_normal((count, one.state_dim), np.float32))
        batch[f"is_pad.{number}"] = torch.arange(CHUNK)[None].expand(count, -1) >= 4
        for camera in one.cameras:
            images = rng.integers(0, 256, (count, *SIZE, 3), np.uint8)
            batch[f"images.{number}.{camera.name}"] = torch.from_numpy(images)
    return batch


def alone(batch: dict[str, Any], number: int, rows: slice) -> dict[str, Any]:
    """One embodiment's part of a batch, as a batch."""
    own = {key: value for key, value in batch.items() if f".{number}" in key}
    return own | {key: batch[key][rows] for key in ("timesteps", "input_ids", "attention_mask")}


@torch.no_grad()
def test_a_sample_has_the_same_loss_alone_and_among_other_robots(model: Pretrainer) -> None:
    batch = batch_of(model, {0: 2, 1: 3})
    mixed = model(batch)
    assert mixed.elements == {0: 2 * CHUNK * 14, 1: 3 * CHUNK * 10}
    for number, rows in ((0, slice(0, 2)), (1, slice(2, 5))):
        single = model(alone(batch, number, rows))
        assert float(single.sums[number]) == pytest.approx(float(mixed.sums[number]), rel=1e-4)
    total = sum(float(value) for value in mixed.sums.values())
    assert float(mixed.loss) == pytest.approx(total / sum(mixed.elements.values()), rel=1e-5)


@torch.no_grad()
def test_trunk_and_an_embodiments_layers_are_a_scaledp(model: Pretrainer) -> None:
    """What stage 2 loads computes the same as what stage 1 trained."""
    policy = PolicySpec(expert=SPEC.expert, action_dim=10, state_dim=7, chunk_size=CHUNK)
    expert = ScaleDP(policy, SPEC.expert.width)
    own = {name.removeprefix("heads.1."): t for name, t in model.state_dict().items() if name.startswith("heads.1.")}
    shared = {name.removeprefix("trunk."): t for name, t in model.state_dict().items() if name.startswith("trunk.")}
    expert.load_state_dict(own | shared)
    batch = batch_of(model, {1: 3})
    condition = model._conditions(batch, [1], [3])[0]
    noisy = model.schedule.add_noise(batch["actions.1"], batch["noise.1"], batch["timesteps"])
    predicted = expert(noisy, batch["timesteps"], condition, batch["states.1"])
    error = (predicted - batch["noise.1"]).square() * ~batch["is_pad.1"].unsqueeze(-1)
    assert float(model(batch).sums[1]) == pytest.approx(float(error.sum()), rel=1e-5)
    sampled = expert.sample(condition, batch["states.1"], batch["noise.1"]).actions_bta
    torch.testing.assert_close(model.predict(batch, {1: batch["noise.1"]})[1], sampled, atol=1e-5, rtol=1e-4)
    mixed = batch_of(model, {0: 2, 1: 3})
    noise = {number: mixed[f"noise.{number}"] for number in (0, 1)}
    alone_too = model.predict(alone(mixed, 1, slice(2, 5)), {1: noise[1]})
    torch.testing.assert_close(model.predict(mixed, noise)[1], alone_too[1], atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_images_and_words_both_reach_the_condition(model: Pretrainer) -> None:
    batch = batch_of(model, {0: 2})
    before = model._conditions(batch, [0], [2])[0]
    other = model._conditions(batch_of(model, {0: 2}, text="Open the drawer."), [0], [2])[0]
    assert (before - other).abs().max() > 1e-2
    for name in ("high", "wrist"):
        changed = model._conditions({**batch, f"images.0.{name}": 255 - batch[f"images.0.{name}"]}, [0], [2])[0]
        assert (before - changed).abs().max() > 1e-2


@torch.no_grad()
def test_film_changes_nothing_at_first() -> None:
    fresh = new_pretrainer(SPEC, seed=0)
    view = fresh.views[0].encoder
    images, first, second = torch.randn(2, 3, *SIZE), torch.randn(2, 128), torch.randn(2, 128)
    assert torch.equal(view(images, first), view(images, second))
    view.films[0].scale_shift.weight.normal_()
    assert not torch.equal(view(images, first), view(images, second))


def test_the_same_seed_gives_the_same_weights() -> None:
    first = new_pretrainer(SPEC, seed=3).state_dict()
    torch.rand(5)
    second = new_pretrainer(SPEC, seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["views.0.project.weight"], new_pretrainer(SPEC).state_dict()["views.0.project.weight"])


def test_the_sizes_of_the_paper() -> None:
    spec = PretrainerSpec(
        expert=SCALEDP_SIZES["scaledp-h"],
        chunk_size=50,
        image_encoder=RESNET_SIZES["resnet-50"],
        embodiments=(embodiment("aloha", 14, 14, ALOHA_CAMERAS), embodiment("arm", 10, 7, ALOHA_CAMERAS[:1])),
    )
    with init_empty_weights():
        whole = Pretrainer(spec, DistilBertConfig())
        policy = PolicySpec(expert=spec.expert, action_dim=14, state_dim=14, chunk_size=50)
        expert = ScaleDP(policy, 1536)
    shapes = {name: tensor.shape for name, tensor in whole.state_dict().items()}
    resnet = sum(
        p.numel() for part in (whole.views[0].encoder.stem, whole.views[0].encoder.blocks) for p in part.parameters()
    )
    assert resnet == 23_508_032, "ResNet-50 without its classifier"
    for name, tensor in expert.state_dict().items():
        if not name.startswith(("combine.", "cond_obs_emb.")):
            own = name.startswith(("x_embedder.", "final_layer."))
            assert shapes[f"heads.0.{name}" if own else f"trunk.{name}"] == tensor.shape


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT directory as the hub has it, with the head of its own training."""
    folder = tmp_path_factory.mktemp("distilbert")
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=40, dim=32, n_layers=1, n_heads=2, hidden_dim=64, max_position_embeddings=12)
    DistilBertForMaskedLM(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "Fold", "the", "shirt", "."]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_distilbert_is_read_from_its_directory(distilbert: Path) -> None:
    model = new_pretrainer(SPEC, text_encoder=distilbert)
    stored = DistilBertForMaskedLM.from_pretrained(distilbert).distilbert.state_dict()
    ours = model.text.model.state_dict()
    assert ours.keys() == stored.keys()
    assert all(torch.equal(ours[name], stored[name]) for name in stored)
    assert model.tokenizer is not None
    assert model.tokenizer.ids("Fold the shirt.") == [2, 3, 4, 5]
    assert len(model.tokenizer.ids("shirt " * 50)) == 12, "cut off where the positions end"
    assert model.tokenizer.ids("") == [0]
    assert text_for("Fold the shirt.", "Flatten it.") == "Fold the shirt. Flatten it."
    assert text_for("Fold the shirt.", None) == "Fold the shirt."


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "neither tokenizer.json nor vocab.txt is there"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "unreadable tokenizer"),
        (lambda folder: (folder / "model.safetensors").unlink(), "neither model.safetensors nor"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "model_type is 'bert'"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "distilbert", "vocab_size": 50}'),
            "has shape",
        ),
    ],
)
def test_a_directory_that_is_no_distilbert_is_one_line(
    distilbert: Path, tmp_path: Path, break_it: Any, message: str
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in distilbert.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    break_it(folder)
    with pytest.raises(CheckpointError) as caught:
        new_pretrainer(SPEC, text_encoder=folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

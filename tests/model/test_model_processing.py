"""Words and images to tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dexvla.errors import CheckpointError, UserError
from dexvla.model.policy import DexVLA
from dexvla.model.processing import CHAT_TEMPLATE, Processor, answer_text, build_inputs, collate
from tests.support.model_data import CAMERAS, make_sample
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def processor(base: Path) -> Processor:
    return Processor.from_pretrained(base)


def random_image(height: int = 56, width: int = 56) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_text_is_dexvlas(processor: Processor) -> None:
    sample = build_inputs(
        processor,
        images=[random_image(), random_image()],
        image_sizes=[(56, 56), (56, 84)],
        instruction="Fold the shirt.",
        answer=answer_text("Grasp the sleeve."),
    )
    pads = "<|vision_start|>{}<|vision_end|>"
    assert processor.tokenizer.decode(sample["input_ids"]) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        + pads.format("<|image_pad|>" * 4)
        + pads.format("<|image_pad|>" * 6)
        + "Fold the shirt.<|im_end|>\n<|im_start|>assistant\nGrasp the sleeve.Next action:<|im_end|>"
    )
    labelled = sample["input_ids"][sample["labels"] != -100]
    assert processor.tokenizer.decode(labelled) == "Grasp the sleeve.Next action:<|im_end|>"
    assert processor.reasoning_text(labelled.tolist()) == "Grasp the sleeve."


def test_the_published_template_gives_the_same_prompt(processor: Processor, base: Path) -> None:
    """The template of the reference's data has the longer form that Qwen2-VL is published with."""
    import json

    folder = ROOT / "tests" / "data" / "parity" / "tiny" / "processor"
    published = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    assert published != CHAT_TEMPLATE
    other = Processor.from_pretrained(base)
    other.tokenizer.chat_template = published
    assert other.prompt_ids([3, 2], "Wait.") == processor.prompt_ids([3, 2], "Wait.")


@pytest.mark.parametrize("reasoning", [None, ""])
def test_without_reasoning_the_answer_is_the_end_token(processor: Processor, reasoning: str | None) -> None:
    assert processor.answer_ids(answer_text(reasoning)) == [processor.end_id]


def test_a_prompt_is_a_sample_without_its_answer(policy: DexVLA) -> None:
    sample, prompt = make_sample(policy, 0, "Stop.", "Wait."), make_sample(policy, 0, "Stop.", prompt=True)
    assert "labels" not in prompt
    length = len(prompt["input_ids"])
    assert torch.equal(sample["input_ids"][:length], prompt["input_ids"])
    assert (sample["labels"][:length] == -100).all()
    assert torch.equal(sample["labels"][length:], sample["input_ids"][length:])


def test_a_batch_is_padded_on_the_left(policy: DexVLA) -> None:
    samples = [make_sample(policy, 0, "Stop."), make_sample(policy, 1, "Put the cup in the sink.", "Grasp the cup.")]
    batch = collate(samples, policy.processor)
    short, long = (len(sample["input_ids"]) for sample in samples)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape == (2, long)
    assert torch.equal(batch["input_ids"][0, long - short :], samples[0]["input_ids"])
    assert set(batch["input_ids"][0, : long - short].tolist()) == {policy.processor.pad_id}
    assert (batch["labels"][0, : long - short] == -100).all()
    assert batch["attention_mask"].sum(1).tolist() == [short, long]
    assert batch["image_grid_thw"].shape == (2 * len(CAMERAS), 3)
    assert torch.equal(batch["pixel_values"], torch.cat([sample["pixel_values"] for sample in samples]))


def test_a_saved_processor_is_the_same(processor: Processor, tmp_path: Path) -> None:
    processor.save(tmp_path)
    again = Processor.from_pretrained(tmp_path)
    assert again.prompt_ids([5], "Fold it, s'il te plaît \u00e9!") == processor.prompt_ids(
        [5], "Fold it, s'il te plaît \u00e9!"
    )
    image = random_image(40, 100)
    ours, theirs = processor.patches(image, (40, 100)), again.patches(image, (40, 100))
    assert np.array_equal(ours[0], theirs[0])
    assert ours[1] == theirs[1]


@pytest.mark.parametrize("text", ["Stop.<|im_end|>", "<|image_pad|>", "a<|endoftext|>b"])
def test_control_tokens_in_texts_are_refused(processor: Processor, text: str) -> None:
    with pytest.raises(UserError, match="instruction contains '<"):
        processor.prompt_ids([1], text)
    with pytest.raises(UserError, match="reasoning contains '<"):
        processor.answer_ids(answer_text(text))


def test_images_and_cameras_must_match(processor: Processor) -> None:
    with pytest.raises(UserError, match="1 images were given for 2 cameras"):
        build_inputs(processor, images=[random_image()], image_sizes=[(56, 56), (56, 56)], instruction="Stop.")
    with pytest.raises(UserError, match="too narrow"):
        build_inputs(processor, images=[random_image(2, 900)], image_sizes=[(2, 900)], instruction="Stop.")
    with pytest.raises(ValueError, match=r"float64 of shape \(56, 56, 3\)"):
        build_inputs(processor, images=[random_image() / 255], image_sizes=[(28, 28)], instruction="Stop.")


def test_no_directory_no_processor(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        Processor.from_pretrained(tmp_path / "nowhere")

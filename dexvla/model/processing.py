"""From images and words to the tensors a policy takes.

Shapes: l tokens of a sample, n patches of its images, p = 1176 values of a patch (3 channels, 2 frames, 14 x 14).
An image goes through the same chain as in DexVLA's training: bilinear resize to the camera's size, the middle of it
enlarged where training enlarged random crops, bicubic resize to multiples of 28, CLIP normalisation, patches in the
order of Qwen2-VL.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dexvla.data.images import centre_crop, resize_bilinear
from dexvla.errors import CheckpointError, UserError
from dexvla.model.patches import Patches

_BICUBIC = 3  # as PIL and transformers number it
IGNORE = -100  # label of a token that is not trained on
ACTION_MARK = "Next action:"  # DexVLA's word between reasoning and action
END_TOKEN = "<|im_end|>"
IMAGE_TOKEN = "<|image_pad|>"
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", IMAGE_TOKEN)
QWEN2_VL_PIXELS = {"shortest_edge": 3136, "longest_edge": 12845056}  # bounds on an image's area, as released

# Qwen2-VL's conversation format, cut down to what a policy says: images, words, roles.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Processor:
    """Tokenizer, conversation format and image settings of a policy."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, image_processor: Qwen2VLImageProcessorPil) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.end_id, self.image_id = (_token_id(tokenizer, token) for token in (END_TOKEN, IMAGE_TOKEN))
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end_id)
        self._special = tuple(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
        self.image_patches = Patches(image_processor)
        # a data set has few instructions and few labels, and shows each thousands of times
        self._prompt = lru_cache(maxsize=256)(self._tokenise_prompt)
        self._answer = lru_cache(maxsize=4096)(self._tokenise_answer)
        self._tokens = lru_cache(maxsize=1024)(self._join_tokens)

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, standard_settings: bool = False) -> "Processor":
        """Read a processor from a base model or checkpoint directory. Raises CheckpointError naming what is missing.

        standard_settings: a missing preprocessor_config.json means Qwen2-VL's own settings.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise CheckpointError(f"{directory}: no such directory")
        settings = directory / "preprocessor_config.json"
        if not settings.is_file() and not standard_settings:
            raise CheckpointError(
                f"{settings}: missing; it holds the image settings and lies beside the model's weights"
            )
        if not (directory / "tokenizer.json").is_file() and not (directory / "vocab.json").is_file():
            raise CheckpointError(
                f"{directory}: neither tokenizer.json nor vocab.json is there; the tokenizer is missing"
            )
        try:
            tokenizer = Qwen2Tokenizer.from_pretrained(directory, local_files_only=True)
            image_processor = (
                Qwen2VLImageProcessorPil.from_pretrained(directory, local_files_only=True)
                if settings.is_file()
                else Qwen2VLImageProcessorPil(size=QWEN2_VL_PIXELS)
            )
            legacy = directory / "chat_template.json"
            if tokenizer.chat_template is None and legacy.is_file():
                tokenizer.chat_template = json.loads(legacy.read_text(encoding="utf-8"))["chat_template"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{directory}: unreadable tokenizer or image settings: {_one_line(error)}") from error
        missing = [token for token in (END_TOKEN, *VISION_TOKENS) if _lookup(tokenizer, token) is None]
        if missing:
            raise CheckpointError(
                f"{directory}: the tokenizer has no {', '.join(missing)}; expected that of a Qwen2-VL model"
            )
        if tokenizer.chat_template is None:
            tokenizer.chat_template = CHAT_TEMPLATE
        _check_image_settings(image_processor, settings)
        return cls(tokenizer, image_processor)

    def save(self, directory: str | Path) -> None:
        """Write tokenizer, conversation format and image settings as files that transformers reads too."""
        self.tokenizer.save_pretrained(directory)
        self.image_processor.save_pretrained(directory)

    def patches(
        self, image: NDArray[np.uint8], size: tuple[int, int]
    ) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
        """(H, W, 3) uint8 RGB, shown at `size` (height, width) -> (n, p) float32 patches and their grid (1, h, w)."""
        cut, grids = self.image_patches.cut([resize_bilinear(image, *size)])
        frames, rows, columns = grids[0].tolist()
        return self.image_patches.normalise(cut).numpy(), (frames, rows, columns)

    def prompt_ids(self, image_tokens: Sequence[int], instruction: str) -> list[int]:
        """Token ids of one user turn: the images (their token counts are given), then the instruction as it is."""
        return list(self._prompt(tuple(image_tokens), instruction, self.tokenizer.chat_template))

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer, tokenised on its own as in training."""
        return list(self._answer(answer))

    def tokens(self, image_tokens: Sequence[int], instruction: str, answer: str | None) -> tuple[Tensor, Tensor | None]:
        """Ids (l,) of prompt and answer, and their labels (l,); without an answer the prompt alone, and no labels."""
        ids, labels = self._tokens(tuple(image_tokens), instruction, answer, self.tokenizer.chat_template)
        return ids.clone(), None if labels is None else labels.clone()

    def _join_tokens(
        self, image_tokens: tuple[int, ...], instruction: str, answer: str | None, _template: str
    ) -> tuple[Tensor, Tensor | None]:
        prompt = self.prompt_ids(image_tokens, instruction)
        if answer is None:
            return torch.tensor(prompt), None
        said = self.answer_ids(answer)
        return torch.tensor(prompt + said), torch.tensor([IGNORE] * len(prompt) + said)

    def _tokenise_prompt(self, image_tokens: tuple[int, ...], instruction: str, template: str) -> tuple[int, ...]:
        self._refuse_special(instruction, "instruction")
        content = [*({"type": "image"} for _ in image_tokens), {"type": "text", "text": instruction}]
        messages = [{"role": "user", "content": content}]
        text = self.tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        counts = iter(image_tokens)
        ids: list[int] = []
        for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]:
            ids.extend([token] * next(counts) if token == self.image_id else [token])
        return tuple(ids)

    def _tokenise_answer(self, answer: str) -> tuple[int, ...]:
        self._refuse_special(answer.removesuffix(END_TOKEN), "reasoning")
        return tuple(self.tokenizer(answer, add_special_tokens=False)["input_ids"])

    def reasoning_text(self, ids: Sequence[int]) -> str:
        """What the policy said, without special tokens and without the mark that announces the action."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip().removesuffix(ACTION_MARK).strip()

    def partial_text(self, ids: Sequence[int]) -> str:
        """The same of an answer that is not complete: without half a mark and half a letter at its end."""
        text = self.reasoning_text(ids).rstrip("\ufffd")
        mark = next((n for n in range(len(ACTION_MARK), 0, -1) if text.endswith(ACTION_MARK[:n])), 0)
        return text[: len(text) - mark].rstrip()

    def _refuse_special(self, text: str, what: str) -> None:
        for token in self._special:
            if token in text:
                raise UserError(f"{what} contains {token!r}, which the model reads as a control token: {text!r}")


def answer_text(reasoning: str | None) -> str:
    """The text that a sample teaches: reasoning and mark, or the end token alone where there is no reasoning."""
    return f"{reasoning}{ACTION_MARK}{END_TOKEN}" if reasoning else END_TOKEN


def build_inputs(
    processor: Processor | None,
    *,
    images: Sequence[NDArray[np.uint8]],
    image_sizes: Sequence[tuple[int, int]],
    instruction: str,
    answer: str | None = None,
    normalised: bool = True,
    crop: float = 1.0,
) -> dict[str, Tensor]:
    """Tensors of one sample.

    images: (H, W, 3) uint8 RGB, one a camera, in the policy's order; image_sizes: (height, width) at which the policy
    sees each. answer: see `answer_text`; None makes the prompt of an inference, without labels.
    Returns input_ids (l,), pixel_values (n, p), image_grid_thw (cameras, 3) and, with an answer, labels (l,).
    crop: part of each side kept in the middle and enlarged to the whole, a policy's `spec.centre_crop`.
    normalised=False leaves pixel_values as bytes (n, u), an eighth of the size; a policy normalises them itself.
    """
    processor = _present(processor)
    if len(images) != len(image_sizes):
        raise UserError(f"{len(images)} images were given for {len(image_sizes)} cameras")
    inputs: dict[str, Tensor] = {}
    counts: list[int] = []
    if images:
        shown = [resize_bilinear(image, *size) for image, size in zip(images, image_sizes, strict=True)]
        pixels, grids = processor.image_patches.cut([centre_crop(image, crop) for image in shown])
        inputs["pixel_values"] = processor.image_patches.normalise(pixels) if normalised else pixels
        inputs["image_grid_thw"] = grids
        merged = processor.image_processor.merge_size**2
        counts = [frames * rows * columns // merged for frames, rows, columns in grids.tolist()]
    ids, labels = processor.tokens(counts, instruction, answer)
    if labels is not None:
        inputs["labels"] = labels
    inputs["input_ids"] = ids
    return inputs


def collate(samples: Sequence[Mapping[str, Any]], processor: Processor | None) -> dict[str, Tensor]:
    """A batch of samples: texts padded on the left, images one after the other, everything else stacked."""
    processor = _present(processor)
    longest = max(len(sample["input_ids"]) for sample in samples)
    batch: dict[str, Tensor] = {}
    for key in samples[0]:
        values = [torch.as_tensor(sample[key]) for sample in samples]
        if key in ("input_ids", "labels"):
            fill = processor.pad_id if key == "input_ids" else IGNORE
            batch[key] = torch.stack([_pad_left(value, longest, fill) for value in values])
        elif key == "pixel_values" and len({value.dtype for value in values}) > 1:
            normalise = processor.image_patches.normalise
            batch[key] = torch.cat([normalise(value) if value.dtype == torch.uint8 else value for value in values])
        elif key in ("pixel_values", "image_grid_thw"):
            batch[key] = torch.cat(values)
        else:
            batch[key] = torch.stack(values)
    lengths = torch.tensor([len(sample["input_ids"]) for sample in samples])
    batch["attention_mask"] = torch.arange(longest)[None] >= longest - lengths[:, None]
    return batch


def _present(processor: Processor | None) -> Processor:
    if processor is None:
        raise UserError(
            "this policy has no tokenizer: its checkpoint came without one; copy tokenizer.json, tokenizer_config.json "
            "and preprocessor_config.json of its base model into the checkpoint's folder"
        )
    return processor


def _pad_left(ids: Tensor, length: int, fill: int) -> Tensor:
    return torch.cat([ids.new_full((length - len(ids),), fill), ids])


def _check_image_settings(settings: Qwen2VLImageProcessorPil, file: Path) -> None:
    """Raise CheckpointError naming the field of an image setting that cannot be."""
    for field in ("patch_size", "merge_size", "temporal_patch_size"):
        value = getattr(settings, field)
        if type(value) is not int or not 1 <= value <= 1000:
            raise CheckpointError(f"{file}: {field} is {value!r}, expected a number from 1 to 1000")
    for field in ("shortest_edge", "longest_edge"):
        value = getattr(settings.size, field, None)
        if type(value) is not int or value < 1:
            raise CheckpointError(f"{file}: size.{field} is {value!r}, expected a number of pixels")
    for field in ("image_mean", "image_std"):
        value = getattr(settings, field)
        if not isinstance(value, list | tuple) or len(value) != 3 or not all(_number(part) for part in value):
            raise CheckpointError(f"{file}: {field} is {value!r}, expected three numbers")
    if not all(settings.image_std):
        raise CheckpointError(f"{file}: image_std is {list(settings.image_std)}, expected numbers other than 0")
    for field in ("do_normalize", "do_rescale"):
        if not isinstance(getattr(settings, field), bool):
            raise CheckpointError(f"{file}: {field} is {getattr(settings, field)!r}, expected true or false")
    if settings.do_resize is not True:
        raise CheckpointError(f"{file}: do_resize is {settings.do_resize!r}; images are resized here, expected true")
    if settings.resample != _BICUBIC:
        raise CheckpointError(
            f"{file}: resample is {settings.resample!r}, images are resized by {_BICUBIC} (bicubic) here; "
            "the model would see other pixels than it was trained on"
        )
    if not _number(settings.rescale_factor):
        raise CheckpointError(f"{file}: rescale_factor is {settings.rescale_factor!r}, expected a number")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    index = _lookup(tokenizer, token)
    if index is None:
        raise CheckpointError(f"the tokenizer has no {token}; expected that of a Qwen2-VL model")
    return index


def _lookup(tokenizer: PreTrainedTokenizerBase, token: str) -> int | None:
    return tokenizer.get_vocab().get(token)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())

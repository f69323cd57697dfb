"""A small base model made on the spot: random weights, a tokenizer trained on a few hundred sentences.

For trying everything out where there is no GPU and no download. It is a plain Qwen2-VL directory, spelt as the
published ones are, and goes through the same code as Qwen2-VL-2B-Instruct.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import AddedToken
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dexvla.errors import UserError
from dexvla.files import atomic_directory, write_json
from dexvla.model import upstream
from dexvla.model.backbone import Backbone
from dexvla.model.processing import CHAT_TEMPLATE
from dexvla.model.weights import materialise, write_weights
from dexvla.model.whitening import ImageSource, second_moment, whiten

# Qwen2-VL's control tokens, in the order of their ids.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_MIN_PIXELS, _MAX_PIXELS = 56 * 56, 12_845_056  # Qwen2-VL-2B-Instruct's bounds on an image's area


@dataclass(frozen=True)
class Preset:
    """Sizes of a base model made here."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vision_width: int
    vision_depth: int
    vision_heads: int
    # Qwen2-VL's base of 1e6 turns the channels of rows and columns by less than a thousandth of a radian a token, which
    # in heads this narrow tells no image token from its neighbour.
    rope_theta: float = 100.0
    words: int = 1000  # learnt tokens beside the control tokens; fewer if the sentences do not hold as many

    def mrope_section(self) -> list[int]:
        """Rotary channels for time, height and width: a quarter and two times three eighths, as in Qwen2-VL."""
        half = self.hidden // self.heads // 2
        side = half * 3 // 8
        return [half - 2 * side, side, side]


PRESETS = {
    "tiny": Preset(
        hidden=128,
        layers=4,
        heads=4,
        key_value_heads=2,
        intermediate=384,
        vision_width=64,
        vision_depth=4,
        vision_heads=4,
    ),
    "small": Preset(
        hidden=192,
        layers=6,
        heads=6,
        key_value_heads=2,
        intermediate=512,
        vision_width=128,
        vision_depth=4,
        vision_heads=4,
    ),
}


def init_model(
    directory: str | Path, *, preset: str = "tiny", seed: int = 0, whiten_with: ImageSource | None = None
) -> None:
    """Write a base model; `directory` must not exist or be empty. The same seed and images give the same files.

    whiten_with: images that the patch embedding is made from instead of at random (see dexvla.model.whitening).
    """
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} exists already and is not an empty directory; choose another place")
    image_processor = Qwen2VLImageProcessorPil(size={"shortest_edge": _MIN_PIXELS, "longest_edge": _MAX_PIXELS})
    moment = None if whiten_with is None else second_moment(whiten_with, image_processor)
    if directory.exists():
        directory.rmdir()
    tokenizer = small_tokenizer(PRESETS[preset].words)
    config = _config(PRESETS[preset], tokenizer)
    with init_empty_weights(include_buffers=False):
        backbone = Backbone(upstream.backbone_config(config, preset))
    materialise(backbone)
    backbone.tie()
    _initialise(backbone, torch.Generator().manual_seed(seed))
    if moment is not None:
        whiten(backbone.model.visual.patch_embed.proj.weight, moment)
    tensors = {
        upstream.to_upstream_name(f"backbone.{name}"): tensor
        for name, tensor in backbone.state_dict().items()
        if name != "lm_head.weight"
    }
    with atomic_directory(directory) as temporary:
        write_weights(tensors, temporary)
        write_json(temporary / "config.json", config)
        tokenizer.save_pretrained(temporary)
        image_processor.save_pretrained(temporary)


def _config(preset: Preset, tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    """config.json in the spelling of the published Qwen2-VL models."""
    ids = tokenizer.get_vocab()
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "torch_dtype": "float32",
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vocab_size": -(-len(ids) // 64) * 64,
        "hidden_size": preset.hidden,
        "intermediate_size": preset.intermediate,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "num_key_value_heads": preset.key_value_heads,
        "max_window_layers": preset.layers,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": preset.rope_theta,
        "rope_scaling": {"type": "mrope", "mrope_section": preset.mrope_section()},
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vision_config": {
            "model_type": "qwen2_vl",
            "depth": preset.vision_depth,
            "embed_dim": preset.vision_width,
            "hidden_size": preset.hidden,
            "num_heads": preset.vision_heads,
            "mlp_ratio": 4,
            "in_chans": 3,
            "patch_size": 14,
            "spatial_patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


@torch.no_grad()
def _initialise(backbone: Backbone, generator: torch.Generator) -> None:
    """Weights that learn from scratch: unit gain through every projection, quiet residual branches, norms at one.

    The projections that write to a residual stream are scaled down by the square root of their number, so that
    depth does not blow the stream up; the embedding, which is also the output projection, gives logits of about 1.
    """
    config = backbone.config
    quiet = {
        ("language_model", "o_proj"): config.text_config.num_hidden_layers,
        ("language_model", "down_proj"): config.text_config.num_hidden_layers,
        ("visual", "attn.proj"): config.vision_config.depth,
        ("visual", "fc2"): config.vision_config.depth,
    }
    for name, parameter in sorted(backbone.named_parameters()):
        module = name.removesuffix(".weight")
        if name.endswith(".bias"):
            parameter.zero_()
        elif "norm" in name or "ln_q" in name:
            parameter.fill_(1.0)
        elif isinstance(backbone.get_submodule(module), nn.Embedding):
            parameter.normal_(std=parameter.shape[1] ** -0.5, generator=generator)
        else:
            std = parameter[0].numel() ** -0.5
            for (tower, end), depth in quiet.items():
                if tower in name and module.endswith(end):
                    std *= (2 * depth) ** -0.5
            parameter.normal_(std=std, generator=generator)


def small_tokenizer(words: int = 1000) -> Qwen2Tokenizer:
    """Byte-level BPE with Qwen2's rules for splitting text, trained on `_sentences`, control tokens at the end."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False)
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator(_sentences(), trainer)
    trained.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return Qwen2Tokenizer(
        tokenizer_object=trained,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        model_max_length=32768,
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
        chat_template=CHAT_TEMPLATE,
    )


def _sentences() -> Iterator[str]:
    """What people tell two-armed robots, and how they would name the next step."""
    colours = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple")
    things = ("cube", "box", "cup", "bowl", "plate", "bottle", "shirt", "towel", "sock", "spoon", "peg", "socket")
    places = ("table", "tray", "basket", "bin", "drawer", "shelf", "rack", "sink")
    arms = ("left arm", "right arm", "left gripper", "right gripper")
    asking = ("Pick up", "Lift", "Grab", "Take", "Raise", "Get", "Fetch", "Please pick up", "Hand me", "Give me")
    for colour, thing in itertools.product(colours, things):
        yield f"Pick up the {colour} {thing} and put it on the table."
        yield f"Move the arm towards the {colour} {thing}."
    for ask, colour in itertools.product(asking, colours):
        yield f"{ask} the {colour} cube. Please {ask[0].lower()}{ask[1:]} the {colour} one."
    for colour, arm in itertools.product(colours, arms[2:]):
        yield f"Lower the {arm} over the {colour} cube. Close the {arm} on the {colour} cube."
        yield f"Lift the {colour} cube with the {arm} and hold the {colour} cube up."
        yield f"Move the gripper above the {colour} cube. Lower the gripper over the {colour} cube."
        yield f"Close the gripper on the {colour} cube. Where is the {colour} cube?"
    for number in range(10):
        yield f"Row {number}, column {number}."
    for thing, place in itertools.product(things, places):
        yield f"Place the {thing} in the {place}."
        yield f"Take the {thing} out of the {place} and hand it over."
    for arm, thing in itertools.product(arms, things):
        yield f"Reach for the {thing} with the {arm}."
        yield f"Grasp the {thing} with the {arm}, lift it and hold it still."
        yield f"Open the {arm} and let the {thing} go."
    for first, second in itertools.permutations(arms, 2):
        yield f"Transfer the cube from the {first} to the {second}."
        yield f"Insert the peg held by the {first} into the socket held by the {second}."
    yield from (
        "Which cube is it? What colour is the cube on the left, on the right, nearest, farthest? Yes. No. None.",
        "Fold the shirt in half, smooth it flat and push it aside.",
        "Clear the table: put the dishes in the tray and the rubbish in the bin.",
        "Line the peg up with the socket, then insert it.",
        "Bring both arms to the middle, then close the gripper.",
        "Approach the cube, grasp the cube, lift the cube, hand over the cube, release the cube, retreat.",
        "Wait until the object is held, then return to the start position.",
        "Unfold the sleeve, flatten the collar, fold the bottom edge upwards.",
        "You are a helpful assistant. system user assistant",
        "Next action:",
        "The task is done. What should the robot do now?",
    )

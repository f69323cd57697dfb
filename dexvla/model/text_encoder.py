"""Stage 1's text encoder: a DistilBERT from a local directory, or a small one with random weights.

Shapes: b texts, l tokens, e width.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertTokenizer, DistilBertConfig, DistilBertModel

from dexvla.errors import CheckpointError
from dexvla.model.init_model import small_tokenizer
from dexvla.model.weights import check_fit, read_json, read_weights

MODEL_TYPE = "distilbert"
TOKENIZER_FILE = "tokenizer.json"


class TextEncoder(nn.Module):
    """Token ids -> one vector a text, the mean over its tokens. Without dropout: a text is the same at every step."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        config.dropout = config.attention_dropout = 0.0
        self.config = config
        self.model = DistilBertModel(config)

    @property
    def width(self) -> int:
        return int(self.config.dim)

    def forward(self, ids_bl: Tensor, mask_bl: Tensor) -> Tensor:
        hidden_ble = self.model(input_ids=ids_bl, attention_mask=mask_bl).last_hidden_state
        mask_bl1 = mask_bl[:, :, None].to(hidden_ble.dtype)
        return (hidden_ble * mask_bl1).sum(1) / mask_bl1.sum(1)

    def initialise(self, generator: torch.Generator) -> None:
        """BERT's fresh weights: N(0, 0.02), biases zero, norms at the identity."""
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=self.config.initializer_range, generator=generator)
                if isinstance(part, nn.Linear) and part.bias is not None:
                    nn.init.zeros_(part.bias)
            elif isinstance(part, nn.LayerNorm):
                part.reset_parameters()


class TextTokenizer:
    """Texts -> token ids, cut off where the encoder's positions end."""

    def __init__(self, tokenizer: Tokenizer, longest: int) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(longest)
        self._tokenizer = tokenizer

    @classmethod
    def read(cls, directory: Path, longest: int) -> "TextTokenizer":
        file, vocabulary = directory / TOKENIZER_FILE, directory / "vocab.txt"
        try:
            if file.is_file():
                return cls(Tokenizer.from_file(str(file)), longest)
            if vocabulary.is_file():
                return cls(BertTokenizer.from_pretrained(directory, local_files_only=True).backend_tokenizer, longest)
        except Exception as error:  # tokenizers raises plain Exception for a file that it cannot read
            raise CheckpointError(f"{directory}: unreadable tokenizer: {' '.join(str(error).split())}") from error
        raise CheckpointError(f"{directory}: neither {TOKENIZER_FILE} nor vocab.txt is there; the tokenizer is missing")

    def save(self, directory: Path) -> None:
        self._tokenizer.save(str(directory / TOKENIZER_FILE))

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def ids(self, text: str) -> list[int]:
        """Token ids, at least one: an empty text is the token 0."""
        return list(self._tokenizer.encode(text).ids) or [0]


def text_for(instruction: str, reasoning: str | None) -> str:
    """What the text encoder reads: the instruction, then the substep reasoning of the step where there is one."""
    return f"{instruction} {reasoning}" if reasoning else instruction


def pad_texts(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids of several texts -> (b, l) ids padded on the right with 0, and their mask."""
    longest = max(len(row) for row in rows)
    ids_bl = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    lengths_b = torch.tensor([len(row) for row in rows])
    return ids_bl, torch.arange(longest)[None] < lengths_b[:, None]


def small_text_encoder() -> tuple[DistilBertConfig, TextTokenizer]:
    """Settings of a small DistilBERT, and the tokenizer of our small base models; nothing has to be downloaded."""
    tokenizer = small_tokenizer().backend_tokenizer
    config = DistilBertConfig(
        vocab_size=-(-tokenizer.get_vocab_size() // 64) * 64,
        dim=128,
        n_layers=2,
        n_heads=4,
        hidden_dim=512,
        max_position_embeddings=128,
        pad_token_id=None,
    )
    return config, TextTokenizer(tokenizer, config.max_position_embeddings)


def read_text_encoder(path: str | Path) -> tuple[DistilBertConfig, TextTokenizer, dict[str, Tensor]]:
    """Settings, tokenizer and weights of a DistilBERT directory as it comes from the model hub.

    Heads of other tasks that its file may hold are left out. Raises CheckpointError.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such directory; text_encoder is the directory of a DistilBERT")
    settings = read_json(directory / "config.json")
    if settings.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{directory / 'config.json'}: model_type is {settings.get('model_type')!r}, expected {MODEL_TYPE!r}"
        )
    config = text_config(settings)
    tokenizer = TextTokenizer.read(directory, config.max_position_embeddings)
    if len(tokenizer) > config.vocab_size:
        raise CheckpointError(
            f"{directory}: the tokenizer has {len(tokenizer)} tokens, config.json has vocab_size {config.vocab_size}"
        )
    tensors = read_weights(directory, rename=_name)
    with torch.device("meta"):
        expected = DistilBertModel(config).state_dict()
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    check_fit({name: tensor.shape for name, tensor in tensors.items()}, shapes, str(directory))
    return config, tokenizer, tensors


def text_config(settings: dict[str, object]) -> DistilBertConfig:
    left_out = ("model_type", "architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")
    return DistilBertConfig(**{key: value for key, value in settings.items() if key not in left_out})


def _name(stored: str) -> str | None:
    name = stored.removeprefix("distilbert.")
    return name if name.startswith(("embeddings.", "transformer.")) and "position_ids" not in name else None

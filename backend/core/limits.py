"""How large an episode and its texts may be. Far beyond what robots record, and small enough to serve and to store."""

import unicodedata

from dexvla.episodes.format import control_token_in

MAX_STEPS = 200_000  # more than an hour at 50 Hz
MAX_DIMENSIONS = 512
MAX_CAMERAS = 16
MAX_CAMERA_NAME = 64
MAX_TEXT = 400  # characters of a substep reasoning
MAX_INSTRUCTION = 1000
MAX_SEGMENTS = 5000
MAX_WORD = {"robot": 64, "task": 64, "render_profile": 32}
MAX_SEED = 2**63 - 1


# Shown as nothing, but another text to whatever compares or tokenizes it: the zero-width space, the word joiner, the
# byte order mark, soft hyphens, and what turns the direction of the text around it (typed, that is refused before:
# backend.core.schemas.without_marks; in an episode file it is left out with a warning). The joiners U+200C and U+200D
# stay: Persian and Indic scripts and emojis are written with them.
_INVISIBLE = dict.fromkeys(
    [0x00AD, 0x061C, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)


def one_line(text: str) -> str:
    """The one way a text is written: composed (NFC), without invisible characters, white space as single spaces.

    Line breaks and tabs, as pasted text has them, are white space. Letters of all scripts stay as they are.
    """
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split())


def wrong_with(text: str) -> str | None:
    """Why a text may be no label and no instruction: control characters, the model's control tokens. None: it may."""
    if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text):
        return "control characters"
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        return "half a character (a lone surrogate)"
    return control_token_in(text)

"""How large an episode and its texts may be. Far beyond what robots record, and small enough to serve and to store."""

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


def one_line(text: str) -> str:
    """Runs of white space become one space, also line breaks and tabs."""
    return " ".join(text.split())


def wrong_with(text: str) -> str | None:
    """Why a text may be no label and no instruction: control characters, the model's control tokens. None: it may."""
    if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text):
        return "control characters"
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        return "half a character (a lone surrogate)"
    return control_token_in(text)

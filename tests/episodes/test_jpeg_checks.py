"""The quick look at a JPEG row says what decoding it says, of whole and of damaged ones."""

import io

import numpy as np
import pytest
from PIL import Image

from dexvla.episodes.jpeg import check_jpeg, decode_jpeg, encode_jpeg


def said(look: object, data: bytes) -> str:
    assert callable(look)
    try:
        look(data)
    except ValueError as error:
        return str(error)
    return ""


def pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 56, 3), np.uint8)
    found = {"ours": encode_jpeg(noise), "tiny": encode_jpeg(noise[:1, :1])}
    for name, image, options in (
        ("progressive", Image.fromarray(noise), {"progressive": True}),
        ("grey", Image.fromarray(noise[..., 0]), {}),
        ("444", Image.fromarray(noise), {"subsampling": 0, "quality": 98}),
    ):
        file = io.BytesIO()
        image.save(file, "JPEG", **options)
        found[name] = file.getvalue()
    return found


@pytest.mark.parametrize("name", ["ours", "tiny", "progressive", "grey", "444"])
def test_a_whole_row_passes_and_a_damaged_one_fails_as_when_it_is_decoded(name: str) -> None:
    whole = pictures()[name]
    rng = np.random.default_rng(1)
    assert said(check_jpeg, whole) == ""
    assert said(check_jpeg, whole + bytes(99)) == ""
    failed = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(2, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        data = bytes(damaged[: len(damaged) - int(rng.integers(0, 3)) * 7])
        assert said(check_jpeg, data) == said(decode_jpeg, data)
        failed += bool(said(decode_jpeg, data))
    assert failed > 50

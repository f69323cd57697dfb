import contextlib
import pickle
import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dexvla.act.base import PolicyInput, PolicyInputError, PolicyMetadata
from dexvla.act.protocol import ProtocolError, decode, encode, encode_observation, parse_observation
from dexvla.spec import CameraSpec

pytestmark = pytest.mark.clockless

METADATA = PolicyMetadata(
    cameras=(CameraSpec(name="cam_high", height=24, width=32), CameraSpec(name="cam_left_wrist", height=24, width=32)),
    action_dim=14,
    state_dim=14,
    chunk_size=8,
    checkpoint="tiny",
)


def observation(**changes):
    image = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
    parts = {"images": {"cam_high": image, "cam_left_wrist": image[::-1]}, "state": np.arange(14.0), "prompt": "pick"}
    return {key: value for key, value in {**parts, **changes}.items() if value is not None}


# --- messages -----------------------------------------------------------------------------------------------

plain_dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.unicode_string_dtypes(max_len=4),
    hnp.byte_string_dtypes(max_len=4),
    hnp.datetime64_dtypes(),
)
arrays = plain_dtypes.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary() | arrays,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def assert_same(a, b):
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, float):
        assert struct.pack("<d", a) == struct.pack("<d", b) or (np.isnan(a) and np.isnan(b))
    else:
        assert a == b


@given(values)
def test_what_is_encoded_is_decoded(value):
    assert_same(value, decode(encode(value)))


@given(st.binary(max_size=200))
def test_noise_is_either_a_message_or_refused(data):
    try:
        decode(data)
    except ProtocolError as error:
        assert "\n" not in str(error)  # noqa: PT017


@given(st.data(), st.integers(0, 3000), st.integers(0, 255))
def test_a_damaged_observation_is_either_understood_or_refused(data, position, byte):
    message = bytearray(encode(observation()))
    position %= 400 if data.draw(st.booleans()) else len(message)
    message[position] = byte
    with contextlib.suppress(ProtocolError, PolicyInputError):
        parse_observation(decode(bytes(message)), METADATA)


@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int16(-3), np.bool_(True), np.float64(2)])
def test_numpy_scalars_come_back_as_their_kind(scalar):
    back = decode(encode({"x": scalar}))["x"]
    assert back == scalar
    assert isinstance(back, type(scalar) | float)


@pytest.mark.parametrize(
    "array",
    [np.zeros(2, np.complex64), np.array([None, {}], dtype=object), np.zeros(2, dtype=[("a", "<i4")])],
    ids=["complex", "object", "structured"],
)
def test_complex_object_and_structured_arrays_are_not_sent(array):
    with pytest.raises(ProtocolError, match="are not sent"):
        encode({"x": array})


def raw(**changes):
    good = {b"__ndarray__": True, b"data": b"\0" * 24, b"dtype": "<f4", b"shape": [2, 3]}
    return msgpack.packb({"x": good | {key.encode(): value for key, value in changes.items()}})


def test_the_form_of_an_array_is_openpis():
    np.testing.assert_array_equal(decode(raw())["x"], np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "|O"}, "refused"),
        ({"dtype": "|O8"}, "refused"),
        ({"dtype": "<c8"}, "refused"),
        ({"dtype": "|V4"}, "refused"),
        ({"dtype": "<i4,<f4"}, "refused"),
        ({"dtype": [["a", "<i4"]]}, "refused"),
        ({"dtype": "float32"}, "refused"),
        ({"dtype": "<f3"}, "unknown"),
        ({"dtype": "|S0"}, "no size"),
        ({"dtype": "<f8"}, "needs 48 bytes, found 24"),
        ({"shape": [2, 4]}, "needs 32 bytes, found 24"),
        ({"shape": [2**62, 2**62]}, "bytes, found 24"),
        ({"shape": [-2, -3]}, "at least 0"),
        ({"shape": [2.0, 3.0]}, "at least 0"),
        ({"shape": [True, 6]}, "at least 0"),
        ({"shape": 6}, "shape"),
        ({"shape": [6] + [1] * 40}, "at most 32"),
        ({"shape": [0, 2**62, 2**62], "data": b""}, "cannot be built"),
        ({"data": "text"}, "bytes"),
    ],
)
def test_a_crafted_array_is_refused_with_its_reason(changes, reason):
    with pytest.raises(ProtocolError, match=reason):
        decode(raw(**changes))


def test_extension_types_trailing_bytes_and_pickles_are_refused():
    with pytest.raises(ProtocolError, match="extension type 5"):
        decode(msgpack.packb({"x": msgpack.ExtType(5, b"abc")}))
    with pytest.raises(ProtocolError):
        decode(encode({"x": 1}) + b"\0")
    with pytest.raises(ProtocolError):
        decode(pickle.dumps({"x": 1}))
    with pytest.raises(ProtocolError):
        decode(b"\x91" * 100_000)  # nested deeper than any parser should follow


# --- observations -------------------------------------------------------------------------------------------


def test_our_own_form_goes_there_and_back():
    sent = PolicyInput(
        images=observation()["images"], state=np.arange(14, dtype=np.float32), instruction="pick", reasoning="Reach."
    )
    request = parse_observation(decode(encode_observation(sent, seed=7)), METADATA)
    assert request.seed == 7
    assert request.observation.instruction == "pick"
    assert request.observation.reasoning == "Reach."
    np.testing.assert_array_equal(request.observation.state, sent.state)
    for name in METADATA.camera_names:
        np.testing.assert_array_equal(request.observation.images[name], sent.images[name])


def test_aloha_clients_send_channels_first_and_float64():
    images = {name: image.transpose(2, 0, 1) for name, image in observation()["images"].items()}
    request = parse_observation(decode(encode(observation(images=images))), METADATA)
    assert request.observation.state.dtype == np.float32
    for name, image in observation()["images"].items():
        np.testing.assert_array_equal(request.observation.images[name], image)


def test_flat_names_and_the_order_of_the_prompt():
    images = observation()["images"]
    flat = {f"images/{name}": images[name] for name in reversed(METADATA.camera_names)}
    request = parse_observation(decode(encode(observation(images=None) | flat)), METADATA)
    assert tuple(request.observation.images) == METADATA.camera_names


def test_the_servers_prompt_fills_in_only_where_the_client_has_none():
    assert parse_observation(observation(prompt=None), METADATA, default_prompt="d").observation.instruction == "d"
    assert parse_observation(observation(), METADATA, default_prompt="d").observation.instruction == "pick"
    with pytest.raises(ProtocolError, match="no prompt"):
        parse_observation(observation(prompt=None), METADATA)


IMAGE = observation()["images"]["cam_high"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ([1, 2], "is a list"),
        (observation(images=None), "cameras found: none"),
        (observation(images={"cam_high": IMAGE}), "missing: cam_left_wrist"),
        (
            observation(images={**observation()["images"], "cam_low": IMAGE}),
            r"trained with: cam_high, cam_left_wrist \(not expected: cam_low\)",
        ),
        (observation(images=3), "images is a int"),
        (observation(images={"cam_high": IMAGE, "cam_left_wrist": IMAGE.tolist()}), "cam_left_wrist is a list"),
        (observation(images={"cam_high": IMAGE, "cam_left_wrist": IMAGE / 255}), "float64, expected"),
        (observation(images={"cam_high": IMAGE, "cam_left_wrist": IMAGE[..., :1]}), r"\(24, 32, 1\)"),
        (observation(images={"cam_high": IMAGE, "cam_left_wrist": IMAGE[:0]}), r"\(0, 32, 3\)"),
        (observation(images={"cam_high": IMAGE, "cam_left_wrist": IMAGE[:3]}), "three channels first"),
        (observation() | {"images/cam_high": IMAGE}, "sent twice"),
        (observation(state=None), "no state"),
        (observation(state=np.zeros(7)), r"shape \(7,\), the policy was trained with \(14,\)"),
        (observation(state=np.full(14, np.nan)), "non-finite"),
        (observation(state=np.full(14, 1e300)), "non-finite"),
        (observation(state=[0.0] * 14), "state is a list"),
        (observation(state=np.array(["0"] * 14)), "expected an array of 14 numbers"),
        (observation(prompt=" "), "expected a sentence"),
        (observation(prompt=5), "expected a sentence"),
        (observation(promt="pick"), "unknown entries: promt"),
        (observation(reasoning=5), "expected text"),
        (observation(seed=-1), "seed is -1"),
        (observation(seed=True), "seed is True"),
        (observation(seed="1"), "seed is '1'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_found_and_expected(message, reason):
    with pytest.raises((ProtocolError, PolicyInputError), match=reason):
        parse_observation(message, METADATA)

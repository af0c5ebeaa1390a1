"""Every codec gives every image back, refuses what it did not write, and never trusts a size."""

import contextlib
import itertools
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from radio_io.codecs import CODEC_NAMES, codec_of_extension, get_codec, interface
from radio_io.errors import CodecError, ConfigError, DatasetError

SHAPES = [(1, 1), (3, 3), (17, 5), (1, 40), (40, 1), (2, 2), (64, 64), (65, 129), (333, 501)]


def images(kind: str, shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 65536, shape, dtype=np.uint16)
    if kind == "noise":
        return noise
    if kind == "extremes":
        return ((noise & 1) * 65535).astype(np.uint16)
    if kind == "constant":
        return np.full(shape, 65535, np.uint16)
    ramp = np.linspace(0, 4095, shape[0] * shape[1]).reshape(shape)
    return (ramp + (noise & 15)).astype(np.uint16)


@pytest.mark.parametrize("name", CODEC_NAMES)
@pytest.mark.parametrize(("kind", "shape"), list(itertools.product(["noise", "extremes", "constant", "ramp"], SHAPES)))
def test_gives_every_image_back(name, kind, shape):
    codec, pixels = get_codec(name), images(kind, shape)
    encoded = codec.encode(pixels)
    decoded = codec.decode(encoded)
    assert isinstance(encoded, bytes)
    assert decoded.dtype == np.uint16
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("name", CODEC_NAMES)
@pytest.mark.parametrize("is_checked", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [1, 16, 48, 1000])
def test_gives_the_same_image_in_strips(name, is_checked, shape, step, monkeypatch):
    monkeypatch.setattr(interface, "STRIP_BYTES", 20_000)  # several strips of the largest shapes
    codec, pixels = get_codec(name), images("noise", shape)
    encoded = codec.encode(pixels)
    np.testing.assert_array_equal(codec.decode(encoded), pixels)
    strips = codec.decode_strips(encoded, step, is_checked=is_checked)
    parts = [strip.copy() for strip in strips.parts]
    assert strips.shape == shape
    assert all(len(part) % step == 0 for part in parts[:-1])
    np.testing.assert_array_equal(np.concatenate(parts), pixels)


@pytest.mark.parametrize("name", CODEC_NAMES)
@settings(max_examples=40, deadline=None)
@given(pixels=arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_gives_any_small_image_back(name, pixels):
    codec = get_codec(name)
    np.testing.assert_array_equal(codec.decode(codec.encode(pixels)), pixels)


@pytest.mark.parametrize("name", CODEC_NAMES)
@pytest.mark.parametrize("view", ["transposed", "strided", "reversed"])
def test_takes_views_that_are_not_contiguous(name, view):
    base = images("noise", (30, 41))
    pixels = {"transposed": base.T, "strided": base[::2, ::3], "reversed": base[::-1, ::-1]}[view]
    codec = get_codec(name)
    np.testing.assert_array_equal(codec.decode(codec.encode(pixels)), pixels)


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_gives_the_same_bytes_again_and_from_threads(name):
    codec, pixels = get_codec(name), images("ramp", (200, 170))
    expected = codec.encode(pixels)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(codec.encode, [pixels] * 32)) == {expected}
        assert all((image == pixels).all() for image in pool.map(codec.decode, [expected] * 32))


@pytest.mark.parametrize("name", CODEC_NAMES)
@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 2), np.int16),
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 1), np.uint16),
        np.zeros((0, 3), np.uint16),
        np.lib.stride_tricks.as_strided(np.zeros(1, np.uint16), (1 << 15, 1 << 13), (0, 0)),
    ],
    ids=["signed", "8-bit", "3-D", "empty", "too-large"],
)
def test_refuses_to_encode(name, pixels):
    with pytest.raises(CodecError, match="expected"):
        get_codec(name).encode(pixels)


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_refuses_every_cut(name):
    codec = get_codec(name)
    encoded = codec.encode(images("ramp", (37, 23)))
    for size in range(len(encoded) - 2):
        with pytest.raises(CodecError):
            codec.decode(encoded[:size])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # imagecodecs swallows OpenJPH's errors
@pytest.mark.parametrize("name", CODEC_NAMES)
def test_changed_bytes_never_end_the_process(name):
    # HTJ2K has no checksum of its own: some changes decode to another image, which CRC-32 in the index finds.
    codec, rng = get_codec(name), np.random.default_rng(1)
    encoded = codec.encode(images("ramp", (97, 71)))
    for _ in range(300):
        changed = bytearray(encoded)
        for position in rng.integers(0, len(encoded), rng.integers(1, 4)):
            changed[position] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(CodecError):
            assert codec.decode(bytes(changed)).dtype == np.uint16


@pytest.mark.parametrize("name", CODEC_NAMES)
@pytest.mark.parametrize("data", [b"", b"RVDZ", b"\xff\x4f\xff\x51", bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_refuses_foreign_bytes(name, data):
    with pytest.raises(CodecError):
        get_codec(name).decode(data)


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_refuses_an_absurd_size_before_taking_memory(name):
    encoded = bytearray(get_codec(name).encode(images("ramp", (50, 60))))
    small, huge = (struct.pack("<II", 50, 60), struct.pack("<II", 60_000, 60_000))
    if name == "htj2k":
        small, huge = struct.pack(">II", 60, 50), struct.pack(">II", 60_000, 60_000)
    assert small in encoded
    with pytest.raises(CodecError, match="60000 x 60000"):
        get_codec(name).decode(bytes(encoded.replace(small, huge)))


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_level_sizes_fall_from_the_whole(name):
    encoded = get_codec(name).encode(images("ramp", (333, 501)))
    sizes = get_codec(name).level_sizes(encoded)
    assert sizes[0] == len(encoded)
    assert list(sizes) == sorted(set(sizes), reverse=True)


def test_is_found_by_name_and_by_extension():
    for name in CODEC_NAMES:
        assert codec_of_extension(get_codec(name).extension) is get_codec(name)
    with pytest.raises(ConfigError, match="expected one of htj2k, fast"):
        get_codec("png")
    with pytest.raises(DatasetError, match="expected one of jph, vdz"):
        codec_of_extension("png")

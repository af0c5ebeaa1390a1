"""HTJ2K members: boxes, resolutions, and what other decoders see."""

import imagecodecs
import numpy as np
import pytest

from radio_io.codecs import jph
from radio_io.codecs.htj2k import HTJ2K
from radio_io.errors import CodecError

SHAPES = [(1, 1), (3, 3), (17, 5), (64, 64), (501, 333)]


def image(kind: str, shape: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 65536, shape, dtype=np.uint16)
    return {"noise": noise, "binary": (noise & 1) * np.uint16(65535), "12-bit": noise >> 4}[kind]


@pytest.mark.parametrize("skip", [1, 2, 3])
@pytest.mark.parametrize("kind", ["noise", "binary", "12-bit"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_prefix_gives_the_smaller_image_as_openjpeg_sees_it(shape, kind, skip):
    encoded = HTJ2K.encode(image(kind, shape))
    prefix = encoded[: HTJ2K.level_sizes(encoded)[skip]]
    reduced = HTJ2K.decode_reduced(prefix, skip)
    assert reduced.shape == tuple(-(-size // 2**skip) for size in shape)
    assert reduced.dtype == np.uint16
    np.testing.assert_array_equal(reduced, imagecodecs.jpeg2k_decode(HTJ2K.reduced_image(prefix, skip)))


def test_no_resolution_skipped_is_the_image():
    pixels = image("noise", (65, 40))
    np.testing.assert_array_equal(HTJ2K.decode_reduced(HTJ2K.encode(pixels), 0), pixels)


def test_a_smooth_image_shrinks_to_its_local_mean():
    ramp = np.add.outer(np.arange(256), np.arange(320)).astype(np.uint16) * 20
    half = HTJ2K.decode_reduced(HTJ2K.encode(ramp), 1)
    np.testing.assert_allclose(half[4:-4, 4:-4], ramp[::2, ::2][4:-4, 4:-4], atol=2)  # the 5/3 low-pass keeps ramps


def test_refuses_a_prefix_one_byte_short():
    encoded = HTJ2K.encode(image("noise", (501, 333)))
    for skip in (1, 2, 3):
        with pytest.raises(CodecError, match="read more bytes"):
            HTJ2K.decode_reduced(encoded[: HTJ2K.level_sizes(encoded)[skip] - 1], skip)
    with pytest.raises(CodecError, match="cannot skip 6"):
        HTJ2K.decode_reduced(encoded, 6)


def test_says_16_bits_whatever_the_image_uses():
    encoded = HTJ2K.encode(np.ones((8, 8), np.uint16))
    stream = jph.parse(jph.unwrap(encoded))
    siz = next(segment for segment in stream.segments if segment[:2] == b"\xff\x51")
    assert siz[jph.SIZ_PRECISION] == 15


def test_names_no_encoder_version():
    assert b"OpenJPH" not in HTJ2K.encode(image("12-bit", (40, 40)))


def test_openjpeg_reads_the_file_exactly():
    for kind in ("noise", "binary", "12-bit"):
        pixels = image(kind, (120, 77))
        np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(HTJ2K.encode(pixels)), pixels)


def test_dali_reads_every_resolution_exactly():
    types = pytest.importorskip("nvidia.dali.types")
    from nvidia.dali import fn, pipeline_def

    pixels = image("12-bit", (333, 501))
    encoded = HTJ2K.encode(pixels)
    files = [encoded, *(HTJ2K.reduced_image(encoded, skip) for skip in (1, 2, 3))]
    expected = [pixels, *(HTJ2K.decode_reduced(encoded, skip) for skip in (1, 2, 3))]

    @pipeline_def(batch_size=4, num_threads=1, device_id=None)
    def pipeline():
        data = fn.external_source(source=[[np.frombuffer(file, np.uint8) for file in files]], dtype=types.UINT8)
        return fn.decoders.image(data, device="cpu", output_type=types.ANY_DATA, dtype=types.UINT16)

    built = pipeline()
    built.build()
    (output,) = built.run()
    for position, image_pixels in enumerate(expected):
        np.testing.assert_array_equal(np.asarray(output.at(position))[..., 0], image_pixels)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_refuses_an_image_whose_rows_stop_decoding():
    encoded = HTJ2K.encode(image("12-bit", (97, 71)))
    rng, refused, swallowed = np.random.default_rng(1), 0, 0
    for _ in range(200):
        changed = bytearray(encoded)
        changed[int(rng.integers(200, len(encoded)))] ^= 1 << int(rng.integers(8))
        try:
            HTJ2K.decode(bytes(changed))
        except CodecError as error:
            refused += 1
            swallowed += "some rows do not decode" in str(error)
    assert swallowed > 0
    assert refused >= swallowed


@pytest.mark.parametrize("value", [0, 32768, 65535])
def test_a_last_row_of_one_value_is_not_taken_for_damage(value):
    pixels = image("noise", (65, 33))
    pixels[-1] = value
    np.testing.assert_array_equal(HTJ2K.decode(HTJ2K.encode(pixels)), pixels)

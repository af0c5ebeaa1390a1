"""PixelRepresentation that lies although every value fits it, and pictures that only look so."""

import numpy as np
import pytest

from radio_io.dicom.decode import decode_pixels
from unit.dicom import make_dicom as make
from unit.dicom.make_dicom import dataset_of, encode, parsed, picture

KINDS = {"native": make.EXPLICIT, "rle": make.RLE, "jpeg_lossless": make.LOSSLESS_SV1, "jpeg_ls": make.JPEG_LS}


def decoded(pixels, kind="native", **attributes):
    frames = None if kind == "native" else [encode(pixels, kind)]
    return decode_pixels(parsed(dataset_of(pixels, frames=frames, **attributes), KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [12, 16])
def test_reads_unsigned_values_that_are_labelled_signed(kind, bits):
    pixels = picture(200, 180, bits=bits)
    stored = decoded(pixels, kind, bits=bits, PixelRepresentation=1)
    np.testing.assert_array_equal(stored.pixels, pixels)
    assert stored.bits_source == "corrected"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("bits", "claimed"), [(12, 12), (12, 13), (12, 15), (10, 12), (14, 14)])
def test_reads_signed_values_that_are_labelled_unsigned(kind, bits, claimed):
    pixels = picture(200, 180, bits=bits, signed=True)
    stored = decoded(pixels, kind, bits=claimed, PixelRepresentation=0)
    np.testing.assert_array_equal(stored.pixels, pixels)
    assert (stored.signed, stored.bits_source) == (True, "corrected")


def test_reads_8_bit_values_that_are_labelled_signed():
    pixels = picture(200, 180, bits=8)
    np.testing.assert_array_equal(decoded(pixels, PixelRepresentation=1).pixels, pixels)


def with_edges(bits, *, low, high, noise, seed=0):
    """Dark stripes beside bright ones, as collimators and text are, on a smooth picture or on black."""
    random = np.random.default_rng(seed)
    pixels = picture(200, 180, bits=bits).astype(np.int64)
    stripes = np.arange(180) // 9 % 4
    pixels[:, stripes == 1] = low
    pixels[:, stripes == 2] = high
    pixels[100:] = np.where(np.arange(180) // 3 % 2, low, high)
    pixels = pixels + np.rint(random.normal(0, noise, pixels.shape)).astype(np.int64)
    return np.clip(pixels, 0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("noise", [0, 3, 40])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.001, 0.999), (0.02, 0.97)])
def test_believes_the_header_about_edges_between_black_and_white(bits, low, high, noise):
    top = 2**bits - 1
    pixels = with_edges(bits, low=int(low * top), high=int(high * top), noise=min(noise, top // 64))
    stored = decoded(pixels, bits=bits)
    np.testing.assert_array_equal(stored.pixels, pixels)
    assert stored.bits_source == "header"


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("at", [0.3, 0.5])
def test_believes_the_header_about_signed_values_with_edges(bits, at):
    top = 2**bits - 1
    pixels = with_edges(bits, low=int((0.5 - at) * top), high=int((0.5 + at) * top), noise=0)
    pixels = (pixels.astype(np.int64) - 2 ** (bits - 1)).astype(np.int16)
    np.testing.assert_array_equal(decoded(pixels, bits=bits).pixels, pixels)


@pytest.mark.parametrize("claimed", [12, 16])
@pytest.mark.parametrize("noise", [0, 3, 40])
@pytest.mark.parametrize(("dark", "bright"), [(100, 4000), (5, 4090)])
def test_believes_an_unsigned_header_about_bright_lines_on_a_dark_ground(dark, bright, noise, claimed):
    rows, columns = np.mgrid[:200, :180]
    values = np.where((rows % 10 == 0) | (columns % 10 == 0), bright, dark)
    values = np.clip(values + np.rint(np.random.default_rng(0).normal(0, noise, values.shape)), 0, 4095)
    pixels = values.astype(np.uint16) << (claimed - 12)
    np.testing.assert_array_equal(decoded(pixels, bits=claimed).pixels, pixels)


def test_believes_an_unsigned_header_about_cells_of_ones():
    pixels = picture(200, 180, bits=11)
    pixels[50:60, 20:60] = 65535
    assert decoded(pixels, bits=12).pixels.max() == 4095


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("seed", range(5))
def test_believes_the_header_about_noise(bits, seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 2**bits, (64, 48), np.uint16)
    np.testing.assert_array_equal(decoded(pixels, bits=bits).pixels, pixels)

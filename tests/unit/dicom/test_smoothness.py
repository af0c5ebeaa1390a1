"""Byte order: what only looks exchanged stays as it is."""

import numpy as np
import pytest

from radio_io.dicom.decode import decode_pixels
from unit.dicom import make_dicom as make
from unit.dicom.make_dicom import dataset_of, encode, parsed, picture


@pytest.mark.parametrize("kind", ["native", "rle"])
@pytest.mark.parametrize("signed", [False, True])
def test_keeps_values_that_use_their_high_byte_only(kind, signed):
    pixels = picture(bits=8, signed=signed).astype(np.int16 if signed else np.uint16) << 8
    frames = None if kind == "native" else [encode(pixels, kind)]
    stored = decode_pixels(parsed(dataset_of(pixels, frames=frames), make.RLE if frames else make.EXPLICIT))
    np.testing.assert_array_equal(stored.pixels, pixels)
    assert stored.bits_source == "header"


@pytest.mark.parametrize("bits", [8, 12])
def test_exchanges_the_bytes_of_values_that_fit_the_stored_bits_only_then(bits):
    pixels = picture(bits=8).astype(np.uint16)
    dataset = dataset_of(pixels, bits=bits, PixelData=pixels.byteswap().tobytes())
    stored = decode_pixels(parsed(dataset))
    np.testing.assert_array_equal(stored.pixels, pixels)
    assert stored.bits_source == "corrected"

"""Padding that lies outside the bits that the header claims."""

import numpy as np
import pytest

from radio_io.dicom.check import check
from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.render import render, render_parameters
from unit.dicom import make_dicom as make
from unit.dicom.make_dicom import dataset_of, encode, parsed, picture

KINDS = {
    "native": make.EXPLICIT,
    "rle": make.RLE,
    "jpeg_lossless": make.LOSSLESS_SV1,
    "jpeg_ls": make.JPEG_LS,
    "jpeg_2000": make.JPEG_2000,
}


def padded_picture(bits, value, *, signed=False):
    """A picture whose first 30 rows are padding, and the dataset's attribute for it."""
    pixels = picture(bits=bits, signed=signed).copy()
    pixels[:30] = value
    return pixels, {"PixelPaddingValue": value}


def decoded(pixels, bits, kind="native", **attributes):
    frames = None if kind == "native" else [encode(pixels, kind)]
    dataset = dataset_of(pixels, bits=bits, frames=frames, **attributes)
    return decode_pixels(parsed(dataset, KINDS[kind])), dataset


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bits", "value", "signed", "nearest"),
    [
        (12, 63536, False, 4095),
        (12, 65535, False, 4095),
        (14, 32768, False, 16383),
        (10, 63536, False, 1023),
        (12, -32768, True, -2048),
        (10, -2000, True, -512),
    ],
)
def test_masks_padding_outside_the_stored_bits(kind, bits, value, signed, nearest):
    pixels, attributes = padded_picture(bits, value, signed=signed)
    stored, dataset = decoded(pixels, bits, kind, **attributes)
    assert (stored.bits_stored, stored.signed) == (bits, signed)
    np.testing.assert_array_equal(stored.pixels[30:], pixels[30:])
    assert set(stored.pixels[:30].ravel().tolist()) == {nearest}
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        dataset.PhotometricInterpretation = photometric
        radiograph = render(stored, render_parameters(dataset, stored))
        assert radiograph.padding_mask is not None
        assert radiograph.padding_mask[:30].all()
        assert not radiograph.padding_mask[30:].any()
        assert check(radiograph).maximum == radiograph.pixels[30:].max()


def test_masks_a_range_of_padding_within_and_outside_the_stored_bits():
    pixels, attributes = padded_picture(12, 65000)
    pixels[:10] = 4095
    stored, dataset = decoded(pixels, 12, **attributes, PixelPaddingRangeLimit=4090)
    mask = render(stored, render_parameters(dataset, stored)).padding_mask
    np.testing.assert_array_equal(mask, pixels >= 4090)


def test_still_believes_values_that_run_over_the_stored_bits():
    pixels, attributes = padded_picture(14, 65535)
    stored, dataset = decoded(pixels, 12, **attributes)
    np.testing.assert_array_equal(stored.pixels, pixels)
    assert stored.padded is None
    assert render(stored, render_parameters(dataset, stored)).padding_mask[:30].all()


def test_still_drops_garbage_above_the_stored_bits():
    pixels = picture()
    pixels[40:60] |= 0x3000
    stored, _ = decoded(pixels, 12, PixelPaddingValue=63536)
    np.testing.assert_array_equal(stored.pixels, picture())

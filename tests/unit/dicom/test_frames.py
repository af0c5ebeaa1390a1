"""Items of encapsulated pixel data as careless writers leave them."""

import struct

import numpy as np
import pytest

from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.parse import read_file
from unit.dicom import make_dicom as make
from unit.dicom.make_dicom import dataset_of, encode, picture

SYNTAXES = {"jpeg_lossless": make.LOSSLESS_SV1, "jpeg_ls": make.JPEG_LS, "jpeg_2000": make.JPEG_2000, "rle": make.RLE}


def file_with(value, tail, kind):
    """A whole file whose PixelData of undefined length has this value and these bytes behind it."""
    data = make.file_of(dataset_of(picture(), bits=12, frames=[b"\0\0"]), SYNTAXES[kind])
    return data[: data.rindex(b"\xe0\x7f\x10\0") + 12] + value + tail


def item(data, length=None):
    return make.ITEM + struct.pack("<I", len(data) if length is None else length) + data


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("kind", SYNTAXES)
def test_passes_padding_that_an_odd_length_leaves_out(kind, closed):
    data = encode(picture(), kind)
    first = len(data) // 2 | 1
    value = item(b"") + item(data[:first]) + b"\0" + item(data[first:])
    value += b"" if (len(data) - first) % 2 == 0 else b"\0"
    stored = decode_pixels(read_file(file_with(value, make.DELIMITER if closed else b"", kind)))
    np.testing.assert_array_equal(stored.pixels, picture())


@pytest.mark.parametrize("tag", [b"\xfc\xff\xfc\xffOB\0\0", b"\xfa\xff\xfa\xffSQ\0\0"])
@pytest.mark.parametrize("kind", SYNTAXES)
def test_ends_a_sequence_without_delimiter_at_the_next_element(kind, tag):
    data = encode(picture(), kind)
    value = item(b"") + item(data + b"\0" * (len(data) % 2))
    stored = decode_pixels(read_file(file_with(value, tag + struct.pack("<I", 4) + b"abcd", kind)))
    np.testing.assert_array_equal(stored.pixels, picture())

"""Codestreams: facts from their own headers, and what is missing in them."""

import struct

import imagecodecs
import numpy as np
import pytest

from radio_io.dicom.codestream import CodestreamKind
from radio_io.dicom.jpeg import read_jpeg
from radio_io.dicom.jpeg2000 import read_jpeg2000
from radio_io.dicom.jpeg_scan import constant_end_is_coded
from radio_io.dicom.rle import looks_like_rle, read_rle
from radio_io.errors import ImageRejectedError
from unit.dicom.make_dicom import EOI, encode, picture, rle_frame, rle_segments


def reason_of(function, *arguments):
    with pytest.raises(ImageRejectedError) as caught:
        function(*arguments)
    return str(caught.value.reason)


def framed(rows=120, columns=90):
    return np.pad(picture(rows - 60, columns - 40), ((30, 30), (20, 20)))


@pytest.mark.parametrize(
    ("kind", "options", "expected", "precision", "lossy"),
    [
        ("jpeg_lossless", {"bits": 12}, CodestreamKind.JPEG_LOSSLESS, 12, False),
        ("jpeg_lossless", {"bits": 16}, CodestreamKind.JPEG_LOSSLESS, 16, False),
        ("jpeg", {"bits": 12}, CodestreamKind.JPEG_DCT, 12, True),
        ("jpeg_ls", {}, CodestreamKind.JPEG_LS, 16, False),
        ("jpeg_ls", {"near": 2}, CodestreamKind.JPEG_LS, 16, True),
    ],
)
def test_reads_the_headers_of_jpeg(kind, options, expected, precision, lossy):
    data = encode(picture(), kind, **options)
    info = read_jpeg(data + b"\0\0")
    assert (info.kind, info.precision, info.lossy) == (expected, precision, lossy)
    assert (info.rows, info.columns, info.components, info.signed) == (120, 90, 1, None)
    assert info.data == data
    assert not info.end_added


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("box", [False, True])
def test_reads_the_headers_of_jpeg_2000(signed, box):
    pixels = picture(bits=16, signed=signed)
    info = read_jpeg2000(encode(pixels, "jp2" if box else "jpeg_2000"))
    assert (info.kind, info.precision, info.signed, info.lossy) == (CodestreamKind.JPEG_2000, 16, signed, None)
    assert (info.rows, info.columns, info.components) == (120, 90, 1)
    assert info.data.startswith(b"\xff\x4f\xff\x51")
    assert info.data.endswith(EOI)


def test_tells_irreversible_jpeg_2000():
    assert read_jpeg2000(encode(picture(), "jpeg_2000", level=40, reversible=False)).lossy is True


def test_tells_high_throughput_jpeg_2000():
    assert read_jpeg2000(encode(picture(), "htj2k")).kind is CodestreamKind.HTJ2K


@pytest.mark.parametrize("fill", [b"", b"\xff", b"\xff\xff\xff"])
def test_passes_fill_bytes_before_markers(fill):
    data = encode(picture(), "jpeg_lossless", bits=12)
    start = data.index(b"\xff\xc3")
    info = read_jpeg(data[:start] + fill + data[start:-2] + fill + EOI)
    assert (info.rows, info.end_added) == (120, False)


def test_passes_comments_and_application_segments_that_hold_markers():
    data = encode(picture(), "jpeg_ls")
    segment = b"\xff\xfe" + struct.pack(">H", 8) + b"\xff\xd9\xff\xda\xff\xd8"
    assert read_jpeg(data[:2] + segment + data[2:]).rows == 120


def test_passes_restart_markers():
    data = encode(picture(), "jpeg_lossless", bits=12)
    scan = data.index(b"\xff\xda") + 10
    info = read_jpeg(data[: scan + 20] + b"\xff\xd0" + data[scan + 20 :])
    assert not info.end_added


def test_ends_at_the_first_end_marker():
    data = encode(picture(), "jpeg_lossless", bits=12)
    assert read_jpeg(data + data).data == data


@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg", "jpeg_ls"])
def test_adds_a_missing_end_marker_and_says_so(kind):
    data = encode(picture(bits=8), kind)
    info = read_jpeg(data[:-2])
    assert info.end_added
    assert info.data.endswith(EOI)


@pytest.mark.parametrize("length", [2, 3, 4, 20, 60])
def test_calls_jpeg_truncated_that_ends_before_its_scan(length):
    assert reason_of(read_jpeg, encode(picture(), "jpeg_ls")[:length]) == "TRUNCATED"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xc3\x00\x05\x08\x00\x10" + b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00" + EOI,
        b"\xff\xd8\xff\xc3\x00\x02" + b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00" + EOI,
        b"\xff\xd8\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00" + EOI,
        b"\xff\xd8\xff\xc3\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00\xff\xda\x00\x02" + EOI,
        b"\xff\xd8\xff\xc3\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00garbage" + EOI,
    ],
)
def test_calls_jpeg_corrupt_whose_headers_make_no_sense(data):
    assert reason_of(read_jpeg, data) == "CORRUPT_PIXELS"


def test_refuses_two_frame_headers():
    data = encode(picture(), "jpeg_lossless", bits=12)
    start = data.index(b"\xff\xc3")
    header = data[start : start + 13]
    assert reason_of(read_jpeg, data[:start] + header + data[start:]) == "CORRUPT_PIXELS"


def resolutions():
    return encode(picture(), "htj2k", tlm=True, tilepart=imagecodecs.HTJ2K.TILEPART.RESOLUTIONS)


def tile_parts(data):
    position = data.index(b"\xff\x90\x00\x0a")
    while data[position : position + 2] == b"\xff\x90":
        yield position
        position += struct.unpack_from(">I", data, position + 6)[0]


def test_misses_tile_parts_that_were_announced():
    data = resolutions()
    starts = list(tile_parts(data))
    assert len(starts) > 3
    for start in starts[1:]:
        assert reason_of(read_jpeg2000, data[:start]) == "TRUNCATED"
        assert reason_of(read_jpeg2000, data[:start] + EOI) == "TRUNCATED"


def test_misses_a_tile_part_in_the_middle():
    data = resolutions()
    first, second, third, *_ = tile_parts(data)
    assert first < second
    assert reason_of(read_jpeg2000, data[:second] + data[third:]) == "TRUNCATED"


def test_misses_tiles():
    data = bytearray(encode(picture(), "jpeg_2000"))
    size = data.index(b"\xff\x51")
    data[size + 22 : size + 30] = struct.pack(">2I", 50, 50)  # XTsiz, YTsiz: now 6 tiles
    assert reason_of(read_jpeg2000, bytes(data)) == "TRUNCATED"


def test_accepts_a_last_tile_part_of_open_length_with_an_end_marker():
    data = bytearray(encode(picture(), "jpeg_2000"))
    (start,) = tile_parts(data)
    data[start + 6 : start + 10] = b"\0\0\0\0"
    assert read_jpeg2000(bytes(data)).rows == 120
    assert reason_of(read_jpeg2000, bytes(data[:-2])) == "TRUNCATED"


@pytest.mark.parametrize("change", [-40, -3, 40])
def test_refuses_tile_parts_whose_lengths_lie(change):
    data = bytearray(encode(picture(), "jpeg_2000"))
    (start,) = tile_parts(data)
    length = struct.unpack_from(">I", data, start + 6)[0]
    data[start + 6 : start + 10] = struct.pack(">I", length + change)
    assert reason_of(read_jpeg2000, bytes(data)) in ("CORRUPT_PIXELS", "TRUNCATED")


@pytest.mark.parametrize("cut", [8, 20, 40, 60])
def test_calls_jpeg_2000_truncated_that_ends_in_its_header(cut):
    assert reason_of(read_jpeg2000, encode(picture(), "jpeg_2000")[:cut]) == "TRUNCATED"


@pytest.mark.parametrize(
    ("position", "value"),
    [(6, 0), (22, 0), (26, 0)],  # right edge, width and height of a tile
)
def test_refuses_an_impossible_grid(position, value):
    data = bytearray(encode(picture(), "jpeg_2000"))
    size = data.index(b"\xff\x51")
    data[size + position : size + position + 4] = struct.pack(">I", value)
    assert reason_of(read_jpeg2000, bytes(data)) in ("CORRUPT_PIXELS", "TRUNCATED")


def test_refuses_more_tiles_than_possible_without_counting_them():
    data = bytearray(encode(picture(), "jpeg_2000"))
    size = data.index(b"\xff\x51")
    data[size + 6 : size + 14] = struct.pack(">2I", 0xFFFFFFFF, 0xFFFFFFFF)
    data[size + 22 : size + 30] = struct.pack(">2I", 1, 1)
    assert reason_of(read_jpeg2000, bytes(data)) == "CORRUPT_PIXELS"


def test_knows_rle_by_its_table():
    frame = rle_frame(picture())
    assert looks_like_rle(frame, 2)
    assert not looks_like_rle(frame, 1)
    assert not looks_like_rle(frame[:60], 2)
    assert not looks_like_rle(picture().tobytes(), 2)


@pytest.mark.parametrize(
    ("offsets", "reason"),
    [
        ([64], "CORRUPT_PIXELS"),
        ([64, 64], "CORRUPT_PIXELS"),
        ([0, 64], "CORRUPT_PIXELS"),
        ([64, 1 << 30], "TRUNCATED"),
        ([64, 200, 300], "CORRUPT_PIXELS"),
    ],
)
def test_refuses_rle_tables_that_point_nowhere(offsets, reason):
    assert reason_of(read_rle, rle_frame(picture(), offsets=offsets), 2) == reason


def test_refuses_an_rle_frame_without_a_table():
    assert reason_of(read_rle, b"\2\0\0\0", 2) == "TRUNCATED"


def test_puts_rle_segments_into_the_order_of_their_table():
    pixels = picture()
    high, low = rle_segments(pixels)
    shuffled = rle_frame(pixels, segments=[low, high], offsets=[64 + len(low), 64])
    assert read_rle(shuffled, 2).data == rle_frame(pixels)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_proves_that_a_border_was_coded(bits):
    pixels = framed()
    pixels >>= max(12 - bits, 0)
    info = read_jpeg(encode(pixels.astype(np.uint8 if bits == 8 else np.uint16), "jpeg_lossless", bits=bits))
    assert constant_end_is_coded(info, pixels)


def test_proves_nothing_where_a_border_was_filled():
    pixels = framed()
    data = encode(pixels, "jpeg_lossless", bits=12)
    for share in (0.97, 0.9, 0.7, 0.5):
        info = read_jpeg(data[: int(len(data) * share)] + EOI)
        assert not constant_end_is_coded(info, imagecodecs.jpeg8_decode(info.data))


@pytest.mark.parametrize("predictor", [2, 4, 7])
def test_proves_nothing_about_other_predictors(predictor):
    pixels = framed()
    info = read_jpeg(encode(pixels, "jpeg_lossless", bits=12, predictor=predictor))
    assert not constant_end_is_coded(info, pixels)

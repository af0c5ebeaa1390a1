"""JPEG codestreams that are closed although a part of them is missing."""

import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.jpeg import SOS, segments
from radio_io.errors import ImageRejectedError, RejectReason
from unit.dicom import make_dicom as make
from unit.dicom.make_dicom import EOI, dataset_of, parsed, picture

PIXELS = picture(200, 180, bits=8)


def jpeg(**options):
    buffer = BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def decoded(data):
    return decode_pixels(parsed(dataset_of(PIXELS, frames=[data]), make.BASELINE)).pixels


def reason(data):
    with pytest.raises(ImageRejectedError) as caught:
        decoded(data)
    return caught.value.reason


@pytest.mark.parametrize("end", [EOI, b""])
@pytest.mark.parametrize("restarts", [{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 7}])
@pytest.mark.parametrize("progressive", [False, True])
def test_reads_whole_progressive_and_restarted_jpeg(progressive, restarts, end):
    data = jpeg(progressive=progressive, **restarts)
    expected = np.asarray(Image.open(BytesIO(data)))
    np.testing.assert_array_equal(decoded(data[:-2] + end), expected)


def test_refuses_a_progressive_jpeg_that_ends_at_a_scan():
    data = jpeg(progressive=True)
    found = list(segments(data))
    starts = [index for index, segment in enumerate(found) if segment.marker == SOS]
    assert len(starts) > 3
    for index in starts[:-1]:
        cut = data[: found[index + 1].position]
        assert {reason(cut), reason(cut + EOI)} == {RejectReason.TRUNCATED}


@pytest.mark.parametrize("share", [0.2, 0.4, 0.7, 0.9, 0.98])
def test_refuses_a_progressive_jpeg_that_is_cut_and_closed(share):
    data = jpeg(progressive=True)
    assert reason(data[: int(len(data) * share)] + EOI) is RejectReason.TRUNCATED


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([0, 1, 2, 3, 5, 6], RejectReason.CORRUPT_PIXELS),
        ([0, 1, 3, 2, 4, 5], RejectReason.CORRUPT_PIXELS),
        ([0, 1, 2, 2, 3, 4], RejectReason.CORRUPT_PIXELS),
        ([0, 1, 2, 3, 4, 5], RejectReason.TRUNCATED),
    ],
)
def test_refuses_restart_intervals_that_are_lost_or_out_of_order(kept, expected):
    data = jpeg(restart_marker_rows=2)
    marks = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    ends = [*marks[1:], len(data) - 2]
    intervals = [data[start:end] for start, end in zip(marks, ends, strict=True)]
    assert len(intervals) > 8
    rest = intervals[7:] if expected is RejectReason.CORRUPT_PIXELS else []
    broken = data[: marks[0]] + b"".join(intervals[index] for index in kept) + b"".join(rest) + EOI
    assert reason(broken) is expected

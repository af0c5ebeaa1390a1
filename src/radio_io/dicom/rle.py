"""Structure of DICOM RLE frames: a table of up to 15 segments, one for each byte of a pixel, high byte first.

Comes in: the bytes of a frame. Goes out: whether they are RLE, and `CodestreamInfo` with the segments in the order
and places that decoders expect. Refuses tables that point outside the data.
Source: DICOM PS3.5 Annex G.
"""

import struct
from itertools import pairwise
from typing import Final, cast

import imagecodecs

from radio_io.dicom.codestream import CodestreamInfo, CodestreamKind, corrupt, truncated
from radio_io.errors import ImageRejectedError, RejectReason

HEADER_BYTES: Final = 64
MAX_PADDING: Final = 16
"""Zeros behind a segment decode to zeros: so many pixels too much are padding."""


def looks_like_rle(data: bytes, segments: int) -> bool:
    """Tells whether bytes begin with the table of an RLE frame of that many segments."""
    if len(data) < HEADER_BYTES:
        return False
    count, *offsets = struct.unpack("<16I", data[:HEADER_BYTES])
    return count == segments and min(offsets[:count]) == HEADER_BYTES and not any(offsets[count:])


def read_rle(data: bytes, segments: int) -> CodestreamInfo:
    """Reads the table of segments and puts segments that lie out of order into order.

    Raises:
        ImageRejectedError: TRUNCATED where the table points behind the end, CORRUPT_PIXELS where it makes no sense.
    """
    if len(data) < HEADER_BYTES:
        raise truncated(f"an RLE frame of {len(data)} bytes, expected at least {HEADER_BYTES}")
    count, *table = struct.unpack("<16I", data[:HEADER_BYTES])
    if count != segments:
        raise corrupt(f"{count} RLE segments, expected {segments}")
    offsets = table[:count]
    if min(offsets) < HEADER_BYTES or len(set(offsets)) < count:
        raise corrupt("the RLE table points into itself or twice to one place")
    if max(offsets) >= len(data):
        raise truncated(f"an RLE segment at byte {max(offsets)}, but the frame has {len(data)}")
    if offsets != sorted(offsets):
        data = _ordered(data, offsets)
    return CodestreamInfo(kind=CodestreamKind.RLE, data=data, rows=0, columns=0, components=1, precision=0, lossy=False)


def check_rle_size(data: bytes, frame_bytes: int) -> None:
    """Refuses a frame that is too short to decode to so many bytes: two bytes stand for at most 128.

    Raises:
        ImageRejectedError: TRUNCATED.
    """
    if frame_bytes > len(data) * 64:
        raise truncated(f"{len(data)} bytes of RLE cannot hold {frame_bytes} bytes of pixels")


def check_planes(info: CodestreamInfo) -> None:
    """Says why a frame does not decode to one byte of each segment for each pixel; PackBits itself has no errors.

    Raises:
        ImageRejectedError: TRUNCATED where a segment holds less, HEADER_CONTRADICTION where it holds more.
    """
    count, *offsets = struct.unpack("<16I", info.data[:HEADER_BYTES])
    pixels = info.rows * info.columns
    for start, end in pairwise([*offsets[:count], len(info.data)]):
        try:
            plane = cast("bytes", imagecodecs.packbits_decode(info.data[start:end]))
        except RuntimeError:
            raise truncated("an RLE segment ends within a run") from None
        found = len(plane)
        if found < pixels:
            raise truncated(f"an RLE segment holds {found} bytes, {pixels} expected")
        if found > pixels + MAX_PADDING or any(plane[pixels:]):
            detail = f"an RLE segment holds {found} bytes, {pixels} expected for {info.rows} x {info.columns} pixels"
            raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)


def _ordered(data: bytes, offsets: list[int]) -> bytes:
    """Rewrites a frame whose segments lie in another order than the table lists them."""
    ends = sorted([*offsets, len(data)])
    parts = [data[offset : ends[ends.index(offset) + 1]] for offset in offsets]
    starts = [HEADER_BYTES + sum(len(part) for part in parts[:index]) for index in range(len(parts))]
    header = struct.pack("<16I", len(parts), *starts, *[0] * (15 - len(parts)))
    return header + b"".join(parts)

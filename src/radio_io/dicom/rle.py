"""Structure of DICOM RLE frames: a table of up to 15 segments, one for each byte of a pixel, high byte first.

Comes in: the bytes of a frame. Goes out: whether they are RLE, and `CodestreamInfo` with the segments in the order
and places that decoders expect. Refuses tables that point outside the data.
Source: DICOM PS3.5 Annex G.
"""

import struct
from typing import Final

from radio_io.dicom.codestream import CodestreamInfo, CodestreamKind, corrupt, truncated

HEADER_BYTES: Final = 64


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


def _ordered(data: bytes, offsets: list[int]) -> bytes:
    """Rewrites a frame whose segments lie in another order than the table lists them."""
    ends = sorted([*offsets, len(data)])
    parts = [data[offset : ends[ends.index(offset) + 1]] for offset in offsets]
    starts = [HEADER_BYTES + sum(len(part) for part in parts[:index]) for index in range(len(parts))]
    header = struct.pack("<16I", len(parts), *starts, *[0] * (15 - len(parts)))
    return header + b"".join(parts)

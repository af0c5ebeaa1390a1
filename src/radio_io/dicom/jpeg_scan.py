"""Whether the scan of a lossless JPEG really codes the constant pixels at the end of its image.

Comes in: a JPEG lossless codestream and the decoded image. Goes out: a proof, or none. Refuses nothing.

libjpeg fills the part of an image that a cut scan does not code with a constant, and many radiographs end in a constant
border anyway. The difference: a border that was coded has left the code of "no difference" in the scan, once for each
pixel.

What this cannot see: up to 16 missing pixels at the end of a constant border of the very same value.

Source: ITU-T T.81 B.2.4.2 (DHT), C.2 (canonical codes), H.1.2 (lossless coding, predictor selection values).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from radio_io.dicom.codestream import CodestreamInfo, CodestreamKind
from radio_io.dicom.jpeg import SOS, segments

_DHT: Final = 0xC4
_DRI: Final = 0xDD
_LEFT: Final = 1
"""Selection value 1: each pixel is predicted by its left neighbour, the first of a row by the one above."""
_SLACK: Final = 16
"""Codes of the pixel before may end like the code of no difference; the count is exact to the byte period only."""
_SHORTEST_BORDER: Final = 8 * _SLACK
_FIRST_LOOK: Final = 1 << 14


def constant_end_is_coded(info: CodestreamInfo, values: NDArray[np.generic]) -> bool:
    """Tells whether the scan holds a code for each pixel of the constant end of `[rows, columns]` values.

    False means that there is no proof: the codestream is of another kind, or data are missing.
    """
    if info.kind is not CodestreamKind.JPEG_LOSSLESS or info.end_added or info.scans != 1:
        return False
    scan = _only_scan(info.data)
    if scan is None:
        return False
    start, code = scan
    pixels = _unchanged_pixels(values)
    if pixels < _SHORTEST_BORDER:
        return False
    tail = info.data[max(start, len(info.data) - 2 - (pixels + _SLACK) * len(code) // 4 - 64) : -2]
    coded = _repetitions(tail, code)
    return -_SLACK <= coded - pixels <= _SLACK


def _only_scan(data: bytes) -> tuple[int, str] | None:
    """Returns where the only scan's codes begin and the bits that mean "no difference"; None for other scans."""
    tables: dict[int, str] = {}
    for segment in segments(data):
        content = data[segment.start : segment.end]
        if segment.marker == _DRI:
            return None
        if segment.marker == _DHT:
            tables.update(_zero_codes(content))
        elif segment.marker == SOS:
            if len(content) != 6 or content[3] != _LEFT:
                return None
            code = tables.get(content[2] >> 4)
            return (segment.end, code) if code else None
    return None


def _zero_codes(content: bytes) -> dict[int, str]:
    """Returns the bits that stand for the value 0 in each table of a DHT segment."""
    codes: dict[int, str] = {}
    position = 0
    while position + 17 <= len(content):
        counts = content[position + 1 : position + 17]
        symbols = content[position + 17 : position + 17 + sum(counts)]
        code = index = 0
        for length, count in enumerate(counts, start=1):
            if 0 in symbols[index : index + count]:
                codes[content[position] & 0x0F] = f"{code + symbols.index(0) - index:0{length}b}"
                break
            code, index = code + count << 1, index + count
        position += 17 + sum(counts)
    return codes


def _unchanged_pixels(values: NDArray[np.generic]) -> int:
    """Counts the pixels from the end back that equal their left neighbour, or the one above in the first column."""
    flat, columns = values.ravel(), values.shape[1]
    last = _last_different(flat)
    if last < 0:
        return flat.size - 1
    first_unchanged = last + 2
    next_row = (last // columns + 1) * columns
    if next_row < flat.size and (flat[next_row - columns] != flat[-1] or last == next_row - 1):
        first_unchanged = max(first_unchanged, next_row + 1)
    return flat.size - first_unchanged


def _last_different(flat: NDArray[np.generic]) -> int:
    """Returns where the last pixel stands that differs from the very last one, or -1; looks from the end on."""
    size = _FIRST_LOOK
    while True:
        start = max(flat.size - size, 0)
        different = np.flatnonzero(flat[start:] != flat[-1])
        if len(different):
            return start + int(different[-1])
        if start == 0:
            return -1
        size *= 8


def _repetitions(tail: bytes, code: str) -> int:
    """Counts how often the end of a scan repeats a code, exact to a few."""
    data = np.frombuffer(tail.replace(b"\xff\x00", b"\xff"), np.uint8)[:-1]  # the last byte holds padding
    period = len(code)
    if len(data) < 2 * period:
        return 0
    word = "".join(f"{byte:08b}" for byte in data[-period:])[:period]
    if word not in code + code:
        return 0
    broken = np.flatnonzero(data[period:] != data[:-period])
    repeated = len(data) - (int(broken[-1]) + 1 if len(broken) else 0)
    return repeated * 8 // period

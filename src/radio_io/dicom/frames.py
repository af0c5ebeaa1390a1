"""The bytes of one frame out of PixelData, native or encapsulated.

Comes in: the value of PixelData and what the header claims. Goes out: the bytes of one frame's codestream or
pixels. Refuses item structures that are cut or cannot be divided into frames.
Source: DICOM PS3.5 A.4 (items, Basic Offset Table, fragments).
"""

import struct
from typing import Final

import numpy as np

from radio_io.errors import ImageRejectedError, RejectReason

ITEM: Final = b"\xfe\xff\x00\xe0"
DELIMITER: Final = b"\xfe\xff\xdd\xe0"
AFTER_PIXELS: Final = (b"\xfa\xff\xfa\xff", b"\xfc\xff\xfc\xff")
"""Digital signatures and trailing padding, which stand behind pixel data whose delimiter may be missing."""
CODESTREAM_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")


def is_encapsulated(value: memoryview) -> bool:
    """Tells whether a PixelData value is a sequence of items: it starts with an item tag whose length fits."""
    if len(value) < 8 or bytes(value[:4]) != ITEM:
        return False
    length = struct.unpack_from("<I", value, 4)[0]
    return length % 2 == 0 and length + 8 <= len(value)


def check_native_length(value: bytes | memoryview, frame_bytes: int, frames: int) -> None:
    """Refuses uncompressed pixel data that are too short, or longer than by padding.

    Padding is one byte, or any number of equal bytes below a frame: more would mean that Rows, Columns, BitsAllocated
    or NumberOfFrames lies.

    Raises:
        ImageRejectedError: TRUNCATED or HEADER_CONTRADICTION.
    """
    expected = frame_bytes * frames
    excess = len(value) - expected
    found = f"{len(value)} bytes of pixel data, {expected} expected for {frames} frames of {frame_bytes}"
    if excess < 0:
        whole, rest = divmod(len(value), frame_bytes)
        lies = frames > 1 and whole > 0 and rest <= 1
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION if lies else RejectReason.TRUNCATED, found)
    if excess >= frame_bytes > 1 or (excess > 1 and len(set(value[expected:])) > 1):
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, found)


def swapped_pairs(value: bytes | memoryview) -> bytes:
    """Returns 8-bit pixels that were written as big endian words in their own order.

    Source: DICOM PS3.5 A.3 (OW with 8 bits allocated under explicit VR big endian).
    """
    return np.frombuffer(value, np.uint16, len(value) // 2).byteswap().tobytes() + bytes(value[len(value) // 2 * 2 :])


def read_frame(value: memoryview, frame: int, frames: int) -> bytes:
    """Joins the fragments of one frame.

    Args:
        value: PixelData, from the first item on.
        frame: which frame, from 0.
        frames: how many frames the header claims.

    Raises:
        ImageRejectedError: TRUNCATED, CORRUPT_PIXELS, NO_PIXEL_DATA or HEADER_CONTRADICTION.
    """
    table, fragments, offsets = _items(value)
    if not fragments:
        raise ImageRejectedError(RejectReason.NO_PIXEL_DATA, "the encapsulated pixel data holds no fragment")
    starts = _frame_starts(table, fragments, offsets, frames)
    if len(starts) != frames:
        detail = f"NumberOfFrames {frames}, but the fragments hold {len(starts)}"
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)
    first = starts[frame]
    last = starts[frame + 1] if frame + 1 < frames else len(fragments)
    return fragments[first] if last == first + 1 else b"".join(fragments[first:last])


def _items(value: memoryview) -> tuple[tuple[int, ...], list[bytes], list[int]]:
    """Splits into Basic Offset Table, fragments and the fragments' offsets from the first fragment's item tag."""
    items: list[bytes] = []
    offsets: list[int] = []
    position = 0
    while position + 8 <= len(value) and bytes(value[position : position + 4]) == ITEM:
        length = struct.unpack_from("<I", value, position + 4)[0]
        end = position + 8 + length
        if end > len(value):
            detail = f"a fragment of {length} bytes, but only {len(value) - position - 8} are left"
            raise ImageRejectedError(RejectReason.TRUNCATED, detail)
        items.append(bytes(value[position + 8 : end]))
        offsets.append(position)
        position = end
        # An odd length, against the standard, that leaves the padding out which was written all the same.
        if length % 2 and bytes(value[position : position + 5]) in (b"\0" + ITEM, b"\0" + DELIMITER):
            position += 1
    rest = bytes(value[position:])
    if rest.strip(b"\0") and not rest.startswith((DELIMITER, *AFTER_PIXELS)):
        detail = f"no item tag after fragment {len(items)}: the lengths of the fragments are wrong"
        raise ImageRejectedError(RejectReason.CORRUPT_PIXELS, detail)
    if items and items[0].startswith(CODESTREAM_STARTS):  # no Basic Offset Table, against the standard
        return (), items, offsets
    if not items:
        return (), [], []
    table = struct.unpack(f"<{len(items[0]) // 4}I", items[0][: len(items[0]) // 4 * 4])
    base = offsets[1] if len(offsets) > 1 else 0
    return table, items[1:], [offset - base for offset in offsets[1:]]


def _frame_starts(table: tuple[int, ...], fragments: list[bytes], offsets: list[int], frames: int) -> list[int]:
    """Indices of the fragments that begin a frame, from the most to the least trustworthy sign."""
    begins = [index for index, fragment in enumerate(fragments) if fragment.startswith(CODESTREAM_STARTS)]
    if begins and begins[0] == 0:
        if len(begins) == frames:
            return begins
        if frames == 1:
            return begins
    where = {offset: index for index, offset in enumerate(offsets)}
    if len(table) == frames and all(offset in where for offset in table):
        return [where[offset] for offset in table]
    if frames == 1:
        return [0]
    return list(range(len(fragments)))

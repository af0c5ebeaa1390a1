"""CRC-32 of large blocks, an order of magnitude faster than the `zlib` of Python.

Comes in: bytes. Goes out: the CRC-32 of ISO 3309, as `zlib.crc32` gives it. Refuses nothing.

Every encoded image is summed three times on its way into a shard and once on its way out: libdeflate uses carry-less
multiplication for it, 0.04 ms instead of 0.7 ms for 2.4 MB. Small blocks stay with `zlib`: importing imagecodecs takes
longer than they do.
"""

import zlib

SMALL_BYTES = 1 << 16


def crc32_of(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """The CRC-32 of `data`, going on from `value`.

    Example:
        >>> crc32_of(b"123456789") == 0xCBF43926
        True
    """
    if len(data) < SMALL_BYTES:
        return zlib.crc32(data, value)
    from imagecodecs import deflate_crc32

    return int(deflate_crc32(data, value))  # pyright: ignore[reportArgumentType]  it takes any buffer

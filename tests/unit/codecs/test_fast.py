"""The frame of codec `fast`, byte by byte."""

import zlib

import imagecodecs
import numpy as np
import pytest

from radio_io.codecs.fast import FAST, HEADER
from radio_io.errors import CodecError


def test_writes_the_documented_frame():
    pixels = np.array([[5, 65535], [4, 0]], np.uint16)
    encoded = FAST.encode(pixels)
    payload = encoded[20:]
    assert encoded[:20] == b"RVDZ\x01\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00" + zlib.crc32(payload).to_bytes(
        4, "little"
    )
    # 5 + 128, 65535 + 128 - 65536, 4 - 5 + 128, 0 - 65535 + 128 + 65536: high bytes, then low bytes
    assert imagecodecs.zstd_decode(payload) == bytes([0, 0, 0, 0, 133, 127, 127, 129])


def test_finds_every_flipped_bit():
    encoded = FAST.encode(np.random.default_rng(0).integers(0, 4096, (9, 7), dtype=np.uint16))
    for position in range(len(encoded)):
        for bit in range(8):
            changed = bytearray(encoded)
            changed[position] ^= 1 << bit
            with pytest.raises(CodecError):
                FAST.decode(bytes(changed))


@pytest.mark.parametrize("size", [0, 97, 99, 50_000_000])
def test_refuses_a_payload_of_another_size(size):
    payload = imagecodecs.zstd_encode(bytes(size), 1)
    with pytest.raises(CodecError, match=r"payload"):
        FAST.decode(HEADER.pack(b"RVDZ", 1, 0, 7, 7, zlib.crc32(payload)) + payload)


def test_refuses_a_version_it_does_not_know():
    payload = imagecodecs.zstd_encode(bytes(2), 1)
    with pytest.raises(CodecError, match="version 2, expected 1; update radio"):
        FAST.decode(HEADER.pack(b"RVDZ", 2, 0, 1, 1, zlib.crc32(payload)) + payload)

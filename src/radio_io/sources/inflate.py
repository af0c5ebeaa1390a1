"""Deflated bytes as `Content`: the beginning without the rest, or all with every check.

Comes in: `Content` that holds a raw deflate stream of known size, or a gzip file. Goes out: `DeflatedContent`,
`GzipContent`. Refuses streams that are damaged, end early, or grow beyond what was declared or may be read.

Source: RFC 1951 and RFC 1952.
"""

import zlib
from typing import Final

from radio_io.dicom.source import WINDOW_BYTES
from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.sources.content import MAX_FILE_BYTES, Content, refuse_large

GZIP_MAGIC: Final = b"\x1f\x8b\x08"
RAW_DEFLATE: Final = -zlib.MAX_WBITS
GZIP_STREAM: Final = zlib.MAX_WBITS + 16
_KEPT_BYTES: Final = 1 << 20
_STEP_BYTES: Final = 64 << 10
_TRAILER_BYTES: Final = 8


class _Forward:
    """Inflates from the beginning on, step by step, and keeps the last bytes; going back begins anew."""

    def __init__(self, packed: Content, window_bits: int) -> None:
        self._packed, self._window_bits = packed, window_bits
        self._restart()

    def _restart(self) -> None:
        self._inflater = zlib.decompressobj(self._window_bits)
        self._taken, self._kept, self._start = 0, b"", 0
        self.ended = False

    @property
    def produced(self) -> int:
        """The number of bytes so far."""
        return self._start + len(self._kept)

    def read(self, position: int, count: int) -> bytes:
        """The `count` bytes from `position` on, fewer where the stream ends before."""
        if position < self._start:
            self._restart()
        while self.produced < position + count and not self.ended:
            self._step(position)
        index = position - self._start
        return self._kept[index : index + count] if index >= 0 else b""

    def _step(self, wanted_from: int) -> None:
        waiting = self._inflater.unconsumed_tail
        if not waiting:
            count = min(WINDOW_BYTES, self._packed.size - self._taken)
            waiting = self._packed.read(self._taken, count) if count else b""
            self._taken += count
        try:
            data = self._inflater.decompress(waiting, _STEP_BYTES)
        except zlib.error as error:
            raise _damaged() from error
        kept = self._kept + data
        self.ended = not (waiting or data) or (self._inflater.eof and not self._next_stream())
        surplus = min(max(len(kept) - _KEPT_BYTES, 0), max(wanted_from - self._start, 0))
        self._kept, self._start = kept[surplus:], self._start + surplus

    def _next_stream(self) -> bool:
        """Whether another gzip stream follows, which then is the one that is inflated."""
        rest = self._inflater.unused_data
        if self._window_bits != GZIP_STREAM or not rest.startswith(GZIP_MAGIC[:2]):
            return False
        self._taken -= len(rest)
        self._inflater = zlib.decompressobj(self._window_bits)
        return True


class DeflatedContent:
    """A raw deflate stream that was declared to hold `size` bytes with this CRC-32."""

    def __init__(self, packed: Content, *, size: int, crc32: int) -> None:
        self._packed, self._size, self._crc32 = packed, size, crc32
        self._forward = _Forward(packed, RAW_DEFLATE)

    @property
    def size(self) -> int:
        """The declared number of bytes."""
        return self._size

    @property
    def modified_ns(self) -> int:
        """When the packed bytes last changed."""
        return self._packed.modified_ns

    def read(self, position: int, count: int) -> bytes:
        """Exactly `count` bytes from `position` on."""
        return _exactly(self._forward.read(position, count), count)

    def read_all(self) -> bytes:
        """All bytes, compared with what was declared."""
        refuse_large(self._size)
        data, ended = _inflate(self._packed.read_all(), RAW_DEFLATE, self._size)
        if len(data) > self._size:
            detail = f"inflates to more than the {self._size} bytes that the archive declares"
            raise ImageRejectedError(RejectReason.DECOMPRESSION_BOMB, detail)
        if len(data) < self._size or not ended:
            raise _damaged()
        require_crc32(data, self._crc32)
        return data

    def require_unchanged(self) -> None:
        """Raise where the packed bytes have changed."""
        self._packed.require_unchanged()


class GzipContent:
    """A gzip file, of one stream or several.

    Its size is that of its trailer until all is inflated. The trailer of several streams names the last one only; where
    it cannot be right all is inflated at once.
    """

    def __init__(self, packed: Content) -> None:
        self._packed = packed
        self._forward = _Forward(packed, GZIP_STREAM)
        self._all: bytes | None = None
        self._forward.read(0, WINDOW_BYTES)
        claimed = 0
        if packed.size >= _TRAILER_BYTES:
            claimed = int.from_bytes(packed.read(packed.size - 4, 4), "little")
        if not self._forward.ended and claimed <= self._forward.produced:
            self._all = self.read_all()
        self._size = self._forward.produced if self._forward.ended else claimed

    @property
    def size(self) -> int:
        """The number of bytes inside."""
        return len(self._all) if self._all is not None else self._size

    @property
    def modified_ns(self) -> int:
        """When the file last changed."""
        return self._packed.modified_ns

    def read(self, position: int, count: int) -> bytes:
        """Exactly `count` bytes from `position` on."""
        if self._all is not None:
            return _exactly(self._all[position : position + count], count)
        return _exactly(self._forward.read(position, count), count)

    def read_all(self) -> bytes:
        """All bytes, see `gunzip`."""
        if self._all is not None:
            return self._all
        return gunzip(self._packed.read_all())

    def require_unchanged(self) -> None:
        """Raise where the file has changed."""
        self._packed.require_unchanged()


def require_crc32(data: bytes, expected: int) -> None:
    """Refuse bytes with another checksum.

    Raises:
        ImageRejectedError: BAD_ARCHIVE.
    """
    if zlib.crc32(data) != expected:
        raise ImageRejectedError(RejectReason.BAD_ARCHIVE, "the CRC-32 of the archive is not that of the bytes")


def gunzip(packed: bytes) -> bytes:
    """What is in a gzip file; zlib compares each stream with its trailer.

    Raises:
        ImageRejectedError: DECOMPRESSION_BOMB or BAD_ARCHIVE.
    """
    data, ended = _inflate(packed, GZIP_STREAM, MAX_FILE_BYTES)
    if len(data) > MAX_FILE_BYTES:
        detail = f"inflates to more than {MAX_FILE_BYTES} bytes"
        raise ImageRejectedError(RejectReason.DECOMPRESSION_BOMB, detail)
    if not ended:
        raise _damaged()
    return data


def _inflate(packed: bytes, window_bits: int, limit: int) -> tuple[bytes, bool]:
    """All streams, but no more than a byte above `limit`, and whether the last one came to its end."""
    waiting = packed
    parts: list[bytes] = []
    left = limit + 1
    while True:
        inflater = zlib.decompressobj(window_bits)
        try:
            parts.append(inflater.decompress(waiting, left))
        except zlib.error as error:
            raise _damaged() from error
        left -= len(parts[-1])
        waiting = inflater.unused_data
        if left <= 0 or not inflater.eof or window_bits != GZIP_STREAM or not waiting.startswith(GZIP_MAGIC[:2]):
            return (b"".join(parts) if len(parts) > 1 else parts[0]), inflater.eof


def _exactly(data: bytes, count: int) -> bytes:
    if len(data) != count:
        raise _damaged()
    return data


def _damaged() -> ImageRejectedError:
    return ImageRejectedError(RejectReason.BAD_ARCHIVE, "the compressed data is damaged or ends early")
